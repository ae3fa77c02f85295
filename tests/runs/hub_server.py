"""A small server of the Hugging Face hub's protocol, as far as huggingface_hub uses it to push and pull a repository.

    with hub_server() as (address, repositories): ...       # HF_ENDPOINT=address

It keeps everything in memory. As on the hub, writing needs a token, and large files go through Git LFS and come from
another host. Xet, the hub's newer storage of large files, is left out: HF_HUB_DISABLE_XET=1.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_test"
Repositories = dict[tuple[str, str], dict[str, bytes]]
_LARGE = (".safetensors", ".hdf5")
_API = re.compile(r"/api/(model|dataset)s/([^/]+/[^/]+)/(preupload|commit|revision|tree)/[^/]+")
_BATCH = re.compile(r"/(?:datasets/)?[^/]+/[^/]+\.git/info/lfs/objects/batch")
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)")


@contextmanager
def hub_server() -> Iterator[tuple[str, Repositories]]:
    """Context: (its address, {(model or dataset, user/name): {path: content}})."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.repositories, server.blobs = {}, {}  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.repositories  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    @property
    def _here(self):
        return f"http://{self.headers['Host']}"

    @property
    def _elsewhere(self):
        """This server by another name, as the hub's large files lie on another host."""
        return self._here.replace("127.0.0.1", "localhost")

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if asked := _API.fullmatch(path):
            kind, name, wanted = asked.groups()
            if (files := self.server.repositories.get((kind, name))) is None:
                return self._refuse(404, "RepoNotFound")
            entries = [_entry(path, content) for path, content in sorted(files.items())]
            return self._say(entries if wanted == "tree" else {"id": name, "sha": _commit(files), "siblings": []})
        if asked := _FILE.fullmatch(path):
            files = self.server.repositories.get(("dataset" if asked[1] else "model", asked[2]))
            if files is None or asked[3] not in files:
                return self._refuse(404, "RepoNotFound" if files is None else "EntryNotFound")
            content = files[asked[3]]
            head = {"X-Repo-Commit": _commit(files), "ETag": f'"{_git_id(content)}"'}
            if not asked[3].endswith(_LARGE):
                return self._answer(200, content, head)
            digest = hashlib.sha256(content).hexdigest()
            head |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            return self._answer(302, b"", head | {"Location": f"{self._elsewhere}/large/{digest}"})
        if (content := self.server.blobs.get(path.removeprefix("/large/"))) is None:
            return self._refuse(404, "")
        return self._answer(200, content, {"ETag": f'"{path.removeprefix("/large/")}"'})

    def do_PUT(self):
        digest, content = self.path.removeprefix("/large/"), self._body()
        if hashlib.sha256(content).hexdigest() != digest:
            return self._refuse(400, "BadDigest")
        self.server.blobs[digest] = content
        return self._answer(200, b"", {"ETag": f'"{digest}"'})

    def do_POST(self):
        path, body = unquote(urlsplit(self.path).path), self._body()
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return self._refuse(401, "")
        if path == "/api/repos/create":
            asked = json.loads(body)
            name, kind = f"{asked['organization']}/{asked['name']}", asked.get("type", "model")
            made = {"url": f"{self._here}/{'datasets/' * (kind == 'dataset')}{name}", "id": name}
            if (kind, name) in self.server.repositories:
                return self._say(made | {"error": "You already created this repo"}, 409)
            self.server.repositories[kind, name] = {".gitattributes": b"*.safetensors filter=lfs\n"}
            return self._say(made)
        if path == "/api/validate-yaml":
            front = json.loads(body)["content"].startswith("---\n")
            return self._say({"errors": [] if front else [{"message": "no front matter"}], "warnings": []})
        if _BATCH.fullmatch(path):
            objects = [self._place(one) for one in json.loads(body)["objects"]]
            return self._say({"transfer": "basic", "objects": objects})
        kind, name, wanted = _API.fullmatch(path).groups()
        files = self.server.repositories[kind, name]
        if wanted == "preupload":
            asked = [one["path"] for one in json.loads(body)["files"]]
            modes = {one: "lfs" if one.endswith(_LARGE) else "regular" for one in asked}
            return self._say(
                {"files": [{"path": one, "uploadMode": mode, "shouldIgnore": False} for one, mode in modes.items()]}
            )
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        return self._say({"commitUrl": f"{self._here}/{name}/commit/{_commit(files)}", "commitOid": _commit(files)})

    def _place(self, one):
        if one["oid"] in self.server.blobs:
            return one
        return one | {"actions": {"upload": {"href": f"{self._here}/large/{one['oid']}"}}}

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _say(self, value, status=200):
        self._answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status, code):
        self._answer(status, b"{}", {"X-Error-Code": code} if code else {})

    def _answer(self, status, content, headers):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _commit(files):
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


def _git_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(path, content):
    entry = {"type": "file", "path": path, "size": len(content), "oid": _git_id(content)}
    if path.endswith(_LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return entry
