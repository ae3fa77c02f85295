import contextlib
import hashlib
import os
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from synthlib.machine import download as machine_download
from synthlib.machine.download import CHUNK, DownloadError, fetch
from synthlib.offline import download as command
from synthlib.offline.datasets import load
from synthlib.offline.download import OFFICIAL, download, mirrors, missing_files, prepare
from synthlib.offline.hdf5 import DataFileError
from synthlib.offline.official import OFFICIAL_FILES, OfficialFile, file_name, gigabytes
from synthlib.tasks import D4RL_DATASETS, DATASETS
from tests.common import SHARED, toy_file

NAME = "hopper-medium"
FILE = "hopper_medium-v2.hdf5"
REFERENCE = SHARED / "reference/d4rl_v2_official_checksums.tsv"
QUICK = {"tries": 3, "timeout": 0.5, "first_wait": 0.01}


class Server(ThreadingHTTPServer):
    """Serves ``content`` at every path, misbehaving as ``behave(number of the request, handler)`` says."""

    daemon_threads = True

    def __init__(self, content, behave=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.behave, self.requests = content, behave, []
        self.version = '"1"'
        self.released = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/files"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        start = 0
        if self.headers.get("Range") and self.headers.get("If-Range") == server.version:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        body = server.content[start:]
        if server.behave and server.behave(len(server.requests), self, body):
            return
        self.start(206 if start else 200, len(body))
        self.wfile.write(body)

    def start(self, status, length):
        is_rest = status == 200 and length < len(self.server.content)
        self.send_response(206 if is_rest else status)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", self.server.version)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def serve():
    servers = []

    def start(content, behave=None):
        server = Server(content, behave)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    yield start
    for server in servers:
        server.released.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def toy_content(tmp_path_factory):
    path = tmp_path_factory.mktemp("official") / FILE
    toy_file(path, rows=20_000)
    return path.read_bytes()


@pytest.fixture
def content(toy_content, monkeypatch):
    """What stands for D4RL's file in these tests: size and SHA-256 of the real one are replaced."""
    known = OfficialFile(len(toy_content), hashlib.sha256(toy_content).hexdigest())
    monkeypatch.setitem(OFFICIAL_FILES, FILE, known)
    return toy_content


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "d4rl"))
    return tmp_path / "d4rl"


def test_what_is_missing_is_fetched_from_the_mirror_and_then_loads(folder, serve, content, monkeypatch):
    server = serve(content)
    monkeypatch.setenv("D4RL_MIRRORS", server.url + "/")
    assert missing_files([NAME], "d4rl") == [NAME]
    prepare([NAME], "d4rl")
    assert server.requests == [(f"/files/{FILE}", None)]
    assert (folder / FILE).read_bytes() == content
    assert len(load(NAME, "d4rl")) == 20_000
    prepare([NAME], "d4rl")
    assert len(server.requests) == 1, "a file that is there is not fetched again"
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert missing_files([NAME], "d4rl") == []


def test_mirrors_are_asked_in_order_and_every_failure_is_said(folder, serve, content, monkeypatch, capsys):
    bad, other, good, unused = serve(content, forbid), serve(b"<html>moved</html>"), serve(content), serve(content)
    addresses = [server.url for server in (bad, other, good, unused)]
    monkeypatch.setenv("D4RL_MIRRORS", " ".join(addresses))
    assert mirrors() == [*addresses, OFFICIAL]
    prepare([NAME], "d4rl", **QUICK)
    assert (folder / FILE).read_bytes() == content
    assert [len(server.requests) for server in (bad, other, good, unused)] == [1, 1, 1, 0]
    first, second = capsys.readouterr().err.strip().splitlines()
    assert first == f"{bad.url}/{FILE}: the server answered 403 Forbidden; trying the next server"
    assert second.startswith(f"{other.url}/{FILE}: the server has 18 bytes of it, not {len(content):,}")


def test_when_no_server_has_the_file_the_error_names_them_all(folder, serve, content, toy_content):
    other = bytes(len(content))
    servers = [serve(content, forbid), serve(other), serve(content, break_down)]
    with pytest.raises(DownloadError) as error:
        prepare([NAME], "d4rl", folders=[server.url for server in servers], **QUICK)
    for server, reason in zip(
        servers, ("answered 403", "not D4RL's file of hopper-medium", "answered: 503"), strict=True
    ):
        assert f"{server.url}/{FILE}: " in str(error.value) and reason in str(error.value)
    assert list(folder.iterdir()) == []


def test_what_is_no_address_is_refused_at_once(folder, monkeypatch):
    monkeypatch.setenv("D4RL_MIRRORS", "http://one.example/d4rl two.example")
    with pytest.raises(ValueError, match=r"D4RL_MIRRORS: 'two.example' is no address: .*https://"):
        prepare([NAME], "d4rl")


def test_no_byte_more_than_the_size_is_taken(folder, serve, content):
    def endless(number, handler, body):
        handler.send_response(200)
        handler.end_headers()  # without a length
        for _ in range(1000):
            handler.wfile.write(bytes(CHUNK))
        handler.server.released.set()
        return True

    server = serve(content, endless)
    with pytest.raises(DownloadError, match=rf"sends more than the {len(content):,} bytes"):
        download(NAME, folder / FILE, [server.url], **QUICK)
    assert not server.released.is_set(), "the transfer was not stopped"
    assert list(folder.iterdir()) == []


def test_without_a_known_size_no_more_is_taken_than_is_allowed(tmp_path, serve, content):
    def endless(number, handler, body):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(bytes(CHUNK))
        handler.server.released.set()
        return True

    for server, said in ((serve(content, endless), "sends more than"), (serve(bytes(200_000)), "has 200,000 bytes")):
        with pytest.raises(DownloadError, match=said):
            fetch([server.url], tmp_path / "file", lambda path: None, "advice", most=100_000, **QUICK)
        assert not server.released.is_set() and list(tmp_path.iterdir()) == []


def test_a_transfer_that_only_drips_ends(folder, serve, content, monkeypatch):
    monkeypatch.setattr(machine_download, "SLOW_SECONDS", 0.3)

    def drip(number, handler, body):
        handler.start(200, len(body))
        with contextlib.suppress(OSError):
            for place in range(len(body)):
                handler.wfile.write(body[place : place + 1])
                handler.wfile.flush()
                if handler.server.released.wait(0.05):
                    break
        return True

    server, began = serve(content, drip), time.monotonic()
    with pytest.raises(DownloadError, match=r"the server sent less than 1,000 bytes a second \(\d+ bytes came"):
        download(NAME, folder / FILE, [server.url], **QUICK)
    assert len(server.requests) == QUICK["tries"] and time.monotonic() - began < 30
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", [f"{FILE}.partial", f"{FILE}.partial.version"])
def test_a_planted_link_is_not_followed(name, folder, serve, content, tmp_path):
    folder.mkdir()
    (tmp_path / "precious.txt").write_text("precious")
    (folder / name).symlink_to(tmp_path / "precious.txt")
    with pytest.raises(DownloadError, match=r"is a link, and nothing is written through links; remove it"):
        download(NAME, folder / FILE, [serve(content).url], **QUICK)
    assert (tmp_path / "precious.txt").read_text() == "precious"


def test_a_download_without_a_length_onto_a_full_disk_says_so(small_disk, serve):
    """Its size is not known before, so the space cannot be compared with it."""

    def without_length(number, handler, body):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(body)
        return True

    server = serve(bytes(500_000), without_length)
    with pytest.raises(DownloadError, match=r"no space left for .*file\.partial: .* MB are free on its disk"):
        fetch([server.url], small_disk / "file", lambda path: None, "advice", **QUICK)
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_processes_that_want_one_file_fetch_it_once(folder, serve, content, capsys):
    def slowly(number, handler, body):
        handler.start(200, len(body))
        handler.wfile.write(body[:1000])
        handler.wfile.flush()
        time.sleep(0.3)
        handler.wfile.write(body[1000:])
        return True

    server = serve(content, slowly)
    threads = [threading.Thread(target=download, args=(NAME, folder / FILE, [server.url])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1
    assert capsys.readouterr().err.count(f"waiting for another process that downloads {FILE}") == 2
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert (folder / FILE).read_bytes() == content


def test_a_truncated_file_is_never_ready_and_the_good_file_is_taken_afterwards(folder, serve, content, outputs):
    folder.mkdir()
    (folder / FILE).write_bytes(content[:-1000])
    for _ in range(2):
        with pytest.raises(DataFileError, match=rf"{FILE}: it has .* bytes, not .*delete it, and `make data"):
            prepare([NAME], "d4rl", outputs / "cache")
    (folder / FILE).unlink()  # as advised
    prepare([NAME], "d4rl", outputs / "cache", folders=[serve(content).url])
    assert len(load(NAME, "d4rl")) == 20_000


def test_other_data_of_the_right_name_are_refused_and_offered_their_own_label(folder, serve, content):
    prepare([NAME], "d4rl", folders=[serve(content).url])
    swapped = bytearray(content)
    swapped[len(content) // 2] ^= 1
    (folder / FILE).write_bytes(swapped)
    for use in (load, lambda name, data: prepare([name], data)):
        with pytest.raises(DataFileError, match=rf"is not D4RL's {FILE}: its SHA-256 is .*DATA=path:{folder}$"):
            use(NAME, "d4rl")
    toy_file(folder / FILE, seed=5)
    with pytest.raises(DataFileError, match=r"it has .* bytes, not "):
        load(NAME, "d4rl")
    assert len(load(NAME, f"path:{folder}")) == 30


def test_a_manifest_of_an_earlier_version_changes_nothing(folder, content):
    folder.mkdir()
    (folder / FILE).write_bytes(content)
    (folder / "synthlib-manifest.json").write_text("{not even JSON")
    prepare([NAME], "d4rl")
    assert (folder / "synthlib-manifest.json").read_text() == "{not even JSON"


def test_nothing_is_written_beside_the_files(folder, content, outputs):
    """So a folder that is read-only, as that of a course or a cluster, can be used."""
    folder.mkdir()
    (folder / FILE).write_bytes(content)
    os.utime(folder, ns=(0, 0))
    folder.chmod(0o555)
    try:
        prepare([NAME], "d4rl", outputs / "cache")
        assert len(load(NAME, "d4rl", outputs / "cache")) == 20_000
        assert [path.name for path in folder.iterdir()] == [FILE]
        assert folder.stat().st_mtime_ns == 0, (
            "root may write into a read-only folder: nothing may have been made there"
        )
    finally:
        folder.chmod(0o755)


def test_a_folder_that_cannot_take_the_file_is_said_and_no_server_is_asked(folder, serve, content, monkeypatch):
    server = serve(content)
    folder.mkdir()
    monkeypatch.setattr("synthlib.machine.download.os.access", lambda path, mode: path != folder)  # root may always
    with pytest.raises(DownloadError, match=rf"{folder} lacks {FILE} and cannot be written to. .*D4RL_DATASET_DIR"):
        prepare([NAME], "d4rl", folders=[server.url])
    monkeypatch.setenv("D4RL_DATASET_DIR", "/proc/nowhere")
    with pytest.raises(DownloadError, match=rf"/proc/nowhere, where {FILE} is wanted, cannot be made: "):
        prepare([NAME], "d4rl", folders=[server.url])
    assert server.requests == []


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(folder, serve, content):
    third = len(content) // 3

    def truncate(number, handler, body):
        if number <= 2:
            handler.start(200 if number == 1 else 206, len(body))
            handler.wfile.write(body[:third])
            return True

    server = serve(content, truncate)
    download(NAME, folder / FILE, [server.url], **QUICK)
    assert (folder / FILE).read_bytes() == content
    starts = [int(wanted.removeprefix("bytes=").rstrip("-")) for _, wanted in server.requests[1:]]
    assert len(starts) == 2
    for start, sent in zip(starts, (third, starts[0] + third), strict=True):
        assert sent - CHUNK < start <= sent


def test_a_file_that_changed_on_the_server_is_not_joined_to_the_old_one(folder, serve, content):
    def replace(number, handler, body):
        if number == 1:
            handler.start(200, len(body))
            handler.wfile.write(bytes(1000))
            handler.server.version = '"2"'
            return True

    download(NAME, folder / FILE, [serve(content, replace).url], **QUICK)
    assert (folder / FILE).read_bytes() == content


def test_an_interrupted_process_leaves_a_part_that_the_next_one_uses(folder, serve, content):
    folder.mkdir()
    (folder / f"{FILE}.partial").write_bytes(content[:5000])
    (folder / f"{FILE}.partial.version").write_text('"1"')
    server = serve(content)
    download(NAME, folder / FILE, [server.url], **QUICK)
    assert server.requests[0][1] == "bytes=5000-"
    assert (folder / FILE).read_bytes() == content
    assert [path.name for path in folder.iterdir()] == [FILE]


def truncate_always(number, handler, body):
    handler.start(200, len(body))
    if number == 1:
        handler.wfile.write(body[:1000])
    return True


def stall(number, handler, body):
    handler.start(200, len(body))
    handler.wfile.write(body[:1000])
    handler.wfile.flush()
    handler.server.released.wait(20)
    return True


def forbid(number, handler, body):
    handler.send_error(403)
    return True


def break_down(number, handler, body):
    handler.send_error(503)
    return True


@pytest.mark.parametrize(
    ("behave", "message", "requests"),
    [
        (truncate_always, "the transfer broke off before the end, 3 times in a row", None),
        (stall, r"the server was silent for 0.5 s, 3 times in a row", None),
        (forbid, r"answered 403 Forbidden", 1),
        (break_down, r"the server answered: 503 .*, 3 times in a row", 3),
    ],
)
def test_a_bad_server_gets_a_clear_error_and_leaves_nothing(folder, serve, content, behave, message, requests):
    server = serve(content, behave)
    began = time.monotonic()
    with pytest.raises(DownloadError, match=message) as error:
        prepare([NAME], "d4rl", folders=[server.url], **QUICK)
    assert time.monotonic() - began < 15
    assert FILE in str(error.value) and "D4RL_MIRRORS" in str(error.value)
    assert list(folder.iterdir()) == []
    assert requests is None or len(server.requests) == requests


def test_no_server_at_all_is_a_clear_error(folder, serve, content):
    server = serve(content)
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="no connection"):
        prepare([NAME], "d4rl", folders=[url], **QUICK)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("wrong", ["page", "other", "cut"])
def test_a_wrong_file_is_refused_and_not_kept(folder, serve, content, wrong):
    bodies = {
        "page": (b"<html>moved</html>", "the server has 18 bytes of it"),
        "other": (content[::-1], "not D4RL's file of hopper-medium: its SHA-256"),
        "cut": (content[: len(content) // 2], "another file"),  # whole for HTTP: the server's own copy is broken
    }
    body, message = bodies[wrong]
    with pytest.raises(DownloadError, match=rf"{FILE}: .*{message}"):
        prepare([NAME], "d4rl", folders=[serve(body).url], **QUICK)
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_said_before_anything_is_written(folder, serve, content, monkeypatch):
    monkeypatch.setattr("synthlib.machine.download.shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(DownloadError, match=r"0.0 GB free, .*D4RL_DATASET_DIR"):
        prepare([NAME], "d4rl", folders=[serve(content).url], **QUICK)
    assert list(folder.iterdir()) == []


def test_other_sources_are_only_looked_at(tmp_path):
    with pytest.raises(FileNotFoundError, match="hopper_medium"):
        prepare([NAME], f"path:{tmp_path}")
    assert missing_files([NAME], f"path:{tmp_path}") == []


def test_the_command_says_what_was_checked(folder, content, tmp_path, outputs, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["download", *arguments])
        command.main()
        return capsys.readouterr().out

    folder.mkdir()
    (folder / FILE).write_bytes(content)
    assert run(NAME) == f"1 data set ready in {folder}: D4RL's by their SHA-256\n"
    assert run(NAME, "--data", f"path:{folder}").endswith(": each read and checked\n")
    toy_file(folder / "hopper_own.h5")
    assert run("--data", f"path:{folder}") == f"2 data sets ready in {folder}: each read and checked\n"
    assert run("--data", "replica", "--", f" hopper-expert;{NAME}, ").startswith("2 data sets ready")
    assert run("--data", "replica", "--", "").startswith("12 data sets ready")
    assert run("hopper-expert", NAME, "--data", "replica").endswith(": as in its manifest\n")
    (folder / FILE).write_bytes(content[:-1000])
    with pytest.raises(SystemExit, match="cannot be read as HDF5"):
        run(NAME, "--data", f"path:{folder}")


def test_the_table_has_every_file_and_the_papers_twelve_take_3_gigabytes():
    assert sorted(OFFICIAL_FILES) == sorted(map(file_name, D4RL_DATASETS))
    assert len({known.sha256 for known in OFFICIAL_FILES.values()}) == len(D4RL_DATASETS) == 24
    assert all(re.fullmatch("[0-9a-f]{64}", known.sha256) for known in OFFICIAL_FILES.values())
    assert f"{gigabytes(DATASETS):.2f}" == "3.35"
    assert file_name("ant-medium-replay") == "ant_medium_replay-v2.hdf5"


@pytest.mark.skipif(not REFERENCE.exists(), reason="the table of checksums is not beside this checkout")
def test_the_table_is_the_reference():
    rows = [line.split("\t") for line in REFERENCE.read_text().splitlines()]
    assert {name for name, _, _ in rows} == set(map(file_name, DATASETS))
    assert all(OFFICIAL_FILES[name] == (int(size), sha256) for name, size, sha256 in rows)
