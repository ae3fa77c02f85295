import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from synthlib.machine.download import CHUNK, DownloadError
from synthlib.offline.datasets import load
from synthlib.offline.download import download, file_name, prepare
from synthlib.offline.hdf5 import DataFileError
from tests.common import toy_file

NAME = "hopper-medium"
FILE = "hopper_medium-v2.hdf5"
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
        self.send_response(status)
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
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("official") / FILE
    toy_file(path, rows=20_000)
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "d4rl"))
    return tmp_path / "d4rl"


def test_what_is_missing_is_fetched_from_the_mirror_and_then_loads(folder, serve, content, monkeypatch):
    server = serve(content)
    monkeypatch.setenv("D4RL_MIRROR", server.url + "/")
    prepare([NAME], "d4rl")
    assert server.requests == [(f"/files/{FILE}", None)]
    assert (folder / FILE).read_bytes() == content
    assert len(load(NAME, "d4rl")) == 20_000
    prepare([NAME], "d4rl")
    assert len(server.requests) == 1, "a file that is there is not fetched again"
    assert sorted(path.name for path in folder.iterdir()) == [FILE, "synthlib-manifest.json"]


def test_a_file_that_changed_since_its_first_use_is_refused(folder, serve, content):
    prepare([NAME], "d4rl", mirror=serve(content).url)
    toy_file(folder / FILE, seed=5)
    with pytest.raises(DataFileError, match=r"hopper_medium-v2.hdf5 has SHA-256 .*changed or damaged"):
        load(NAME, "d4rl")


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(folder, serve, content):
    third = len(content) // 3

    def truncate(number, handler, body):
        if number <= 2:
            handler.start(200 if number == 1 else 206, len(body))
            handler.wfile.write(body[:third])
            return True

    server = serve(content, truncate)
    download(NAME, folder / FILE, mirror=server.url, **QUICK)
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

    download(NAME, folder / FILE, mirror=serve(content, replace).url, **QUICK)
    assert (folder / FILE).read_bytes() == content


def test_an_interrupted_process_leaves_a_part_that_the_next_one_uses(folder, serve, content):
    folder.mkdir()
    (folder / f"{FILE}.partial").write_bytes(content[:5000])
    (folder / f"{FILE}.partial.version").write_text('"1"')
    server = serve(content)
    download(NAME, folder / FILE, mirror=server.url, **QUICK)
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
        prepare([NAME], "d4rl", mirror=server.url, **QUICK)
    assert time.monotonic() - began < 15
    assert FILE in str(error.value) and "D4RL_MIRROR" in str(error.value)
    assert list(folder.iterdir()) == []
    assert requests is None or len(server.requests) == requests


def test_no_server_at_all_is_a_clear_error(folder, serve, content):
    server = serve(content)
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="no connection"):
        prepare([NAME], "d4rl", mirror=url, **QUICK)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("wrong", ["page", "walker2d", "cut"])
def test_a_wrong_file_is_refused_and_not_kept(folder, serve, content, tmp_path, wrong):
    toy_file(tmp_path / "walker.hdf5", widths=(17, 6))
    bodies = {
        "page": b"<html>moved</html>",
        "walker2d": (tmp_path / "walker.hdf5").read_bytes(),
        "cut": content[: len(content) // 2],  # whole for HTTP: the server's own copy is broken
    }
    with pytest.raises(DownloadError, match=rf"{FILE} is not the file of hopper-medium: .*(HDF5|width 17)"):
        prepare([NAME], "d4rl", mirror=serve(bodies[wrong]).url, **QUICK)
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_said_before_anything_is_written(folder, serve, content, monkeypatch):
    monkeypatch.setattr("synthlib.machine.download.shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(DownloadError, match=r"0.0 GB free, .*D4RL_DATASET_DIR"):
        prepare([NAME], "d4rl", mirror=serve(content).url, **QUICK)
    assert list(folder.iterdir()) == []


def test_a_file_that_was_there_before_is_noted_at_first_use(folder):
    folder.mkdir()
    toy_file(folder / FILE)
    prepare([NAME], "d4rl")
    noted = json.loads((folder / "synthlib-manifest.json").read_text())["files"][FILE]
    assert noted["sha256"] == load(NAME, "d4rl").checksum
    assert np.isfinite(load(NAME, "d4rl").rewards).all()


def test_other_sources_are_only_looked_at(tmp_path):
    with pytest.raises(FileNotFoundError, match="hopper_medium"):
        prepare([NAME], f"path:{tmp_path}")
    assert file_name("ant-medium-replay") == "ant_medium_replay-v2.hdf5"
