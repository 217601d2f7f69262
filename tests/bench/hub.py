"""A model hub on loopback that speaks the hub's API, for its real client: looking up, ranges, logins, uploads.

As far as huggingface_hub 2.4 asks for it over plain HTTP; the hub's other way of moving bytes, xet, is switched off in
tests by HF_HUB_DISABLE_XET. What it can do wrong: cut a download, wait in one, not know ranges, send other
bytes, need a login, refuse uploads or hang up on them, be down.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

LARGE = 64 * 1024
TOKEN = "hf_of_the_bench"


@dataclass
class Repo:
    """files: by name; is_gated: only for those who are logged in"""

    files: dict[str, bytes]
    is_gated: bool = False
    is_private: bool = False

    @property
    def revision(self) -> str:
        every = sorted((name, hashlib.sha256(data).hexdigest()) for name, data in self.files.items())
        return hashlib.sha1(json.dumps(every).encode(), usedforsecurity=False).hexdigest()


@dataclass
class Hub:
    """A context manager. asked: each request, `GET PATH`, in order; sent_bytes: of files, in all

    cut_after: bytes after which the connection of a longer file is cut, one after the other; waits_after: where a
    download waits until `go` is set, and sets `is_waiting`; damaged: names whose bytes arrive otherwise
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    sent_bytes: int = 0
    cut_after: list[int] = field(default_factory=list)
    waits_after: int | None = None
    refuses_uploads_after: int | None = None
    drops_uploads: bool = False
    knows_ranges: bool = True
    damaged: set[str] = field(default_factory=set)
    stored: dict[str, bytes] = field(default_factory=dict)
    received: list[str] = field(default_factory=list)
    is_waiting: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Hub:
        outer = self

        class Handler(_Handler):
            hub = outer

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self, home: Path, *, token: str = "") -> dict[str, str]:
        """The variables with which the hub's client, and so t2v, asks this one."""
        login = {"HF_TOKEN": token} if token else {}
        return {
            "HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", **login,
        }  # fmt: skip

    def add(self, name: str, folder: Path, **how: Any) -> Repo:
        """Put a folder's files on it."""
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.repos[name] = Repo(files, **how)
        return self.repos[name]


@contextmanager
def asked_here(hub: Hub, home: Path, *, token: str = "") -> Iterator[None]:
    """Have the client in this process ask `hub`, and keep what it gets in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
        patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        patch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            patch.delenv(name, raising=False)
        if token:
            patch.setenv("HF_TOKEN", token)
        yield


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked was killed, as tests do it: that is no error of the hub."""


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # the base class names it so
        """Nobody reads it."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        with suppress(ConnectionError):
            for pattern, method in ROUTES:
                if match := re.fullmatch(pattern, f"{self.command} {path}"):
                    getattr(self, method)(body, *match.groups())
                    return
            self._say(404, {"error": f"the bench has no {self.command} {path}"})

    def _say(self, code: int, value: Any, **headers: str) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        for name, text in ({"Content-Type": "application/json", "Content-Length": str(len(data))} | headers).items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def _is_logged_in(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _repo(self, name: str) -> Repo | None:
        """The repository, where whoever asks may have it; else the refusal is said."""
        repo = self.hub.repos.get(name)
        if repo is None or (repo.is_private and not self._is_logged_in):
            code, said = (404, "Repository not found") if self._is_logged_in else (401, "Invalid username or password.")
            self._say(code, {"error": said}, X_Error_Code="RepoNotFound", X_Error_Message=said)
            return None
        return repo

    def look_up(self, _body: bytes, name: str, *_revision: str) -> None:
        if (repo := self._repo(name)) is not None:
            siblings = [_sibling(file, data) for file, data in repo.files.items()]
            gated = "manual" if repo.is_gated else False
            self._say(
                200,
                {"_id": "1", "id": name, "modelId": name, "sha": repo.revision, "private": repo.is_private,
                 "gated": gated, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0},
            )  # fmt: skip

    def tree(self, _body: bytes, name: str, _revision: str) -> None:
        if (repo := self._repo(name)) is not None:
            rows = [
                {"type": "file", "path": one["rfilename"], "oid": one["blobId"], **one}
                for one in (_sibling(file, data) for file, data in repo.files.items())
            ]
            for row in rows:
                if "lfs" in row:
                    row["lfs"] = {"oid": row["lfs"]["sha256"], **row["lfs"]}
            self._say(200, rows)

    def resolve(self, _body: bytes, name: str, _revision: str, file: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        if repo.is_gated and not self._is_logged_in:
            said = f"Access to model {name} is restricted. You must be authenticated to access it."
            self._say(401, {"error": said}, X_Error_Code="GatedRepo", X_Error_Message=said)
            return
        if file not in repo.files:
            self._say(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
            return
        self._send(repo, file)

    def _send(self, repo: Repo, file: str) -> None:
        whole = repo.files[file]
        begin = 0
        asked = self.headers.get("Range")
        if asked:
            self.hub.ranges.append(f"{file} {asked}")
        if asked and self.hub.knows_ranges and (match := re.fullmatch(r"bytes=(\d+)-", asked)):
            begin = int(match[1])
        data = whole[begin:]
        row = _sibling(file, whole)
        self.send_response(206 if begin else 200)
        tag = row["lfs"]["sha256"] if "lfs" in row else row["blobId"]
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": repo.revision, "Content-Length": str(len(data))}
        headers |= {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": str(len(whole))} if "lfs" in row else {}
        headers |= {"Content-Range": f"bytes {begin}-{len(whole) - 1}/{len(whole)}"} if begin else {}
        for key, text in headers.items():
            self.send_header(key, text)
        self.end_headers()
        if self.command == "HEAD":
            return
        self._stream(bytes(len(data)) if file in self.hub.damaged else data, is_large="lfs" in row)

    def _stream(self, data: bytes, *, is_large: bool) -> None:
        is_cut = is_large and self.hub.cut_after and self.hub.cut_after[0] < len(data)
        cut = self.hub.cut_after.pop(0) if is_cut else None
        waits = self.hub.waits_after if is_large else None
        at = 0
        for end in sorted({one for one in (cut, waits, len(data)) if one is not None and one <= len(data)}):
            self.wfile.write(data[at:end])
            self.hub.sent_bytes += end - at
            at = end
            if end == waits:
                self.hub.is_waiting.set()
                self.hub.go.wait(60)
            if end == cut:
                self._hang_up()

    def _hang_up(self) -> NoReturn:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError

    # Uploads.

    def create(self, body: bytes) -> None:
        said = json.loads(body)
        if not self._is_logged_in:
            self._say(401, {"error": "Invalid username or password."})
            return
        name = f"{said.get('organization') or 'me'}/{said['name']}"
        if name in self.hub.repos:
            self._say(409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"})
            return
        is_private = said.get("visibility") == "private" or bool(said.get("private"))
        self.hub.repos[name] = Repo({}, is_private=is_private)
        self._say(200, {"url": f"{self.hub.url}/{name}", "name": name, "id": "1"})

    def preupload(self, body: bytes, name: str, _revision: str) -> None:
        if self._repo(name) is not None:
            rows = [
                {"path": one["path"], "uploadMode": "lfs" if one["size"] > LARGE else "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self._say(200, {"files": rows})

    def batch(self, body: bytes, _name: str) -> None:
        rows = []
        for one in json.loads(body)["objects"]:
            row: dict[str, Any] = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.stored:
                row["actions"] = {"upload": {"href": f"{self.hub.url}/upload/{one['oid']}", "header": {}}}
            rows.append(row)
        self._say(200, {"transfer": "basic", "objects": rows})

    def upload(self, body: bytes, oid: str) -> None:
        if self.hub.drops_uploads:
            self._hang_up()
        limit = self.hub.refuses_uploads_after
        if limit is not None and len(self.hub.received) >= limit:
            self._say(403, {"error": "the bench takes no more"})
            return
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.stored[oid] = body
        self.hub.received.append(oid)
        self._say(200, {})

    def commit(self, body: bytes, name: str, _revision: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        for line in body.splitlines():
            said = json.loads(line)
            value = said["value"]
            if said["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif said["key"] == "lfsFile":
                repo.files[value["path"]] = self.hub.stored[value["oid"]]
        url = f"{self.hub.url}/{name}/commit/{repo.revision}"
        self._say(200, {"success": True, "commitOid": repo.revision, "commitUrl": url, "hookOutput": ""})

    def is_valid(self, _body: bytes) -> None:
        self._say(200, {"errors": [], "warnings": []})

    def who(self, _body: bytes) -> None:
        if self._is_logged_in:
            self._say(200, {"name": "me", "type": "user", "orgs": []})
        else:
            self._say(401, {"error": "Invalid username or password."})


NAME = r"([^/]+/[^/]+)"
ROUTES = (
    (rf"GET /api/models/{NAME}", "look_up"),
    (rf"GET /api/models/{NAME}/revision/([^/]+)", "look_up"),
    (rf"GET /api/models/{NAME}/tree/([^/]+)", "tree"),
    (rf"(?:GET|HEAD) /{NAME}/resolve/([^/]+)/(.+)", "resolve"),
    (r"POST /api/repos/create", "create"),
    (rf"POST /api/models/{NAME}/preupload/([^/]+)", "preupload"),
    (rf"POST /{NAME}\.git/info/lfs/objects/batch", "batch"),
    (r"PUT /upload/([0-9a-f]+)", "upload"),
    (rf"POST /api/models/{NAME}/commit/([^/]+)", "commit"),
    (r"POST /api/validate-yaml", "is_valid"),
    (r"GET /api/whoami-v2", "who"),
)


def _sibling(name: str, data: bytes) -> dict[str, Any]:
    """A file as the hub lists it: with git's own hash, and if it is large, with that of its bytes."""
    oid = hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()
    row: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": oid}
    if len(data) > LARGE:
        row["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return row
