"""Where compiled functions are kept, and that each is compiled again when one of its sources has changed."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from synthlib.kernels import compiled

NOWHERE = Path("/dev/null/nowhere")  # no user can make this folder, not even root
DECORATORS = {
    "synthlib.kernels.compiled": {"exact", "jit", "compile_step"},
    "synthlib.kernels.twins": {"step"},
}


def test_what_is_kept_on_disk_depends_on_every_file_that_it_is_made_of(monkeypatch, tmp_path):
    """Numba looks at the file of a function alone; a constant or a function of another file would be that of old."""
    decorated = []
    for path in compiled.HERE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        ours = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "synthlib" in node.module]
        names = {node.module: {alias.name for alias in node.names} for node in ours}
        if any(names.get(module, set()) & decorators for module, decorators in DECORATORS.items()):
            decorated.append(str(path.relative_to(compiled.HERE).with_suffix("")))
            read = {f"{module}.{name}" for module, taken in names.items() for name in taken} | names.keys()
            files = {module.removeprefix("synthlib.").replace(".", "/") for module in read}
            files = {name for name in files if (compiled.HERE / f"{name}.py").exists()}
            assert files <= set(compiled.SOURCES), path
    assert len(decorated) >= 4 and set(decorated) <= set(compiled.SOURCES)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert compiled.cache_folder(["a", "b"]) != compiled.cache_folder(["a", "c"])


def test_machine_code_goes_where_the_user_says_or_where_it_may(monkeypatch, tmp_path, outputs):
    monkeypatch.setattr(compiled, "HERE", tmp_path / "package")
    assert compiled.cache_folder(["a"]).parent == tmp_path / "package" / "__pycache__"
    monkeypatch.setattr(compiled, "HERE", NOWHERE)
    assert compiled.cache_folder(["a"]).parent == outputs / "cache"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert compiled.cache_folder(["a"]).parent == tmp_path
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(NOWHERE))
    assert compiled.cache_folder(["a"]) is None


@pytest.mark.slow
def test_without_a_folder_that_can_be_written_everything_runs_and_the_doctor_is_content(tmp_path):
    """As in a container whose user has neither a home nor the package's folder."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(NOWHERE), "HOME": str(NOWHERE), "OMP_NUM_THREADS": "1"}
    code = "from synthlib.kernels import pcg64; import synthlib.cql.agent_fast; print(pcg64.doubles.stats.cache_path)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=compiled.HERE.parent)
    assert (done.returncode, done.stdout.split()) == (0, ["None"]), done.stderr
    command = [sys.executable, "-m", "synthlib", "doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=compiled.HERE.parent)
    assert "  ok       device:" in done.stdout and "Traceback" not in done.stderr


@pytest.mark.slow
def test_only_our_functions_are_kept_in_our_folder(tmp_path):
    """Another package's cached functions in the same process stay where that package expects them."""
    theirs = tmp_path / "theirs.py"
    theirs.write_text(
        """
import numba
from synthlib.kernels import compiled, pcg64
import synthlib.cql.agent_fast

@numba.njit(cache=True)
def twice(x):
    return 2 * x

assert twice(2) == 4
print(pcg64.doubles.stats.cache_path)
print(twice.stats.cache_path)
"""
    )
    code = [sys.executable, str(theirs)]
    folders = subprocess.run(code, check=True, capture_output=True, text=True).stdout.split()
    assert folders[0].startswith(str(compiled._own_folder()))
    assert folders[1] == str(tmp_path / "__pycache__")


@pytest.mark.slow
def test_the_process_that_compiles_computes_the_same_bits_as_those_that_load(tmp_path):
    code = """
import hashlib, torch
from tests.kernels.test_steps import ARGUMENTS, run
for name in ARGUMENTS:
    print(name, [hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in run("compiled", name, torch.float32)])
"""
    command = [sys.executable, "-c", code]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=compiled.HERE.parent)
        for _ in range(2)
    )
    assert first.stdout == second.stdout and "sample" in first.stdout
