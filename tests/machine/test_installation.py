"""Which build of PyTorch is installed from where, by the real pip, out of an index on this machine."""

import functools
import hashlib
import http.server
import shutil
import sys
import threading
import zipfile

import pytest

from synthlib.errors import Failed
from synthlib.machine import installation
from synthlib.machine.installation import Environment, install_torch, main
from synthlib.machine.requirements import entries, pinned, read_lock

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has several builds of PyTorch"),
]


def make_wheel(folder, name, version):
    """An empty package in ``folder``; returns the wheel's SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def indexes(tmp_path_factory):
    """A folder of package indexes and its address: ``pypi``, and PyTorch's ``whl/cpu`` and ``whl/cu126``."""
    root = tmp_path_factory.mktemp("indexes")
    plain = make_wheel(root / "pypi/torch", "torch", "2.13.0")
    without = make_wheel(root / "whl/cpu/torch", "torch", "2.13.0+cpu")
    make_wheel(root / "whl/cu126/torch", "torch", "2.13.0+cu126")
    cuda = make_wheel(root / "pypi/triton", "triton", "3.0")
    lock = {
        "torch": f"torch==2.13.0 \\\n    --hash=sha256:{plain} \\\n    --hash=sha256:{without}\n",
        "cuda": f"triton==3.0 ; sys_platform == 'linux' \\\n    --hash=sha256:{cuda}\n",
    }

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield lock, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("environment") / "venv")


@pytest.fixture
def torch_of(environment, indexes, monkeypatch):
    """A function: install a build with this driver; returns the versions of torch and triton then installed."""
    lock, address = indexes
    monkeypatch.setattr(installation, "read_lock", lambda: lock)
    for name, value in {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_FIND_LINKS": "",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_INDEX_URL": f"{address}/pypi",
        "TORCH_INDEX": f"{address}/whl",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)

    def install(asked="", driver=""):
        program = environment.folder / "programs" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho '{driver}'\n" if driver else "#!/bin/sh\nexit 9\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=":")
        install_torch(environment, asked)
        return environment.version("torch"), environment.version("triton")

    yield install
    environment.pip("uninstall", "--yes", "torch", "triton")


def test_without_a_driver_no_cuda_is_downloaded(torch_of):
    assert torch_of() == ("2.13.0+cpu", "")


def test_pypi_alone_is_enough(torch_of, monkeypatch, capfd):
    monkeypatch.setenv("TORCH_INDEX", "http://127.0.0.1:9/whl")
    assert torch_of() == ("2.13.0", "3.0")
    assert "http://127.0.0.1:9/whl/cpu does not answer" in capfd.readouterr().out


def test_what_is_asked_for_and_not_there_is_an_error(torch_of, monkeypatch):
    monkeypatch.setenv("TORCH_INDEX", "http://127.0.0.1:9/whl")
    with pytest.raises(Failed, match=r"PyTorch 2.13.0\+cpu could not be installed: .* TORCH=cu130 takes PyPI's build"):
        torch_of("cpu")


def test_the_driver_decides_and_what_is_asked_for_replaces_it(torch_of):
    assert torch_of(driver="580.95.05, H100, 9.0") == ("2.13.0", "3.0")
    assert torch_of(driver="") == ("2.13.0", "3.0")  # unasked, what is there stays
    assert torch_of("cpu")[0] == "2.13.0+cpu"
    assert torch_of("cu126")[0] == "2.13.0+cu126"
    assert torch_of("cu130")[0] == "2.13.0"


def test_an_older_driver_gets_an_older_cuda(torch_of):
    assert torch_of(driver="550.54.14, A100, 8.0") == ("2.13.0+cu126", "")


def test_a_file_with_another_hash_is_refused(torch_of, indexes, monkeypatch):
    lock = indexes[0] | {"torch": f"torch==2.13.0 --hash=sha256:{'0' * 64}\n"}
    monkeypatch.setattr(installation, "read_lock", lambda: lock)
    with pytest.raises(Failed, match="HASHES"):
        torch_of("cpu")


def test_a_copied_environment_is_made_anew(environment, tmp_path, capfd):
    Environment(environment.folder)
    assert "making" not in capfd.readouterr().out
    shutil.copytree(environment.folder, tmp_path / "copy", symlinks=True)
    (tmp_path / "copy" / "left").touch()
    Environment(tmp_path / "copy")
    assert "making" in capfd.readouterr().out and not (tmp_path / "copy" / "left").exists()


def test_a_folder_of_other_things_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.tex").touch()
    assert main([str(tmp_path)]) == 1
    assert "is no virtual environment" in capsys.readouterr().err and (tmp_path / "thesis.tex").exists()


def test_the_sections_are_read_back_as_they_were_written():
    lock = read_lock("# about\n# --- readers\na==1 \\\n    --hash=sha256:00\nb-c==2 ; x\n# --- torch\ntorch==3\n")
    assert list(lock) == ["readers", "torch"] and list(entries(lock["readers"])) == ["a", "b-c"]
    assert pinned(entries(lock["readers"])["b-c"]) == "2" and entries(lock["torch"]) == {"torch": "torch==3\n"}
