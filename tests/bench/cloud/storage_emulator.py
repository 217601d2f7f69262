"""Cloud Storage's JSON API on loopback, as far as the real `gcloud storage cp` asks: objects go up and come down.

Small ones go up in one request, larger ones as resumable uploads, with the question after a break how much has come. An
answer carries the MD5 of what lies there, which gcloud compares with what it sent or got.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from bench.cloud.compute_faults import Fault, Refused, fault_for
from bench.cloud.gcloud_env import gcloud_env
from bench.loopback import OnLoopback

BUCKET = re.compile(r"(/download|(?:/resumable)?/upload)?/storage/v1/b/([^/]+)(?:/o(?:/(.+))?)?")
PIECE_BYTES = 1 << 16


@dataclass
class Upload:
    """One that is under way. total: bytes; None: not said yet"""

    name: str
    got: bytearray = field(default_factory=bytearray)
    total: int | None = None


@dataclass
class StorageEmulator(OnLoopback):
    """A context manager; `url` while it is open.

    objects:    by their name in the one bucket there is
    faults:     requests that go wrong
    cut_upload: break the connection once, after so many bytes of one upload; None: never
    piece_s:    time that 64 KiB of a download take
    """

    bucket: str = "films"
    objects: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    cut_upload: int | None = None
    piece_s: float = 0.0

    def __post_init__(self) -> None:
        self.uploads: dict[str, Upload] = {}
        self.bind(type("Handler", (_Handler,), {"emulator": self}))

    def environment(self, home: Path) -> dict[str, str]:
        """For a gcloud whose buckets are here."""
        return gcloud_env(home) | {"CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{self.url}/"}

    def seen(self, pattern: str) -> list[str]:
        return [request for request in self.requests if re.search(pattern, request)]

    def fail(self, fits: str, status: int, **how: Any) -> Fault:
        fault = Fault(fits, status, **how)
        self.faults.append(fault)
        return fault

    def about(self, name: str) -> dict[str, Any]:
        """What the API says of an object. Raises Refused when there is none."""
        if name not in self.objects:
            raise Refused(404, f"No such object: {self.bucket}/{name}")
        content = self.objects[name]
        md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        below, at = f"storage/v1/b/{self.bucket}/o/{name}", "2026-11-25T12:00:00.000Z"
        return {
            "kind": "storage#object", "id": f"{self.bucket}/{name}/1", "name": name, "bucket": self.bucket,
            "generation": "1", "metageneration": "1", "contentType": "application/octet-stream", "md5Hash": md5,
            "etag": md5, "size": str(len(content)), "storageClass": "STANDARD", "updated": at, "timeCreated": at,
            "selfLink": f"{self.url}/{below}", "mediaLink": f"{self.url}/download/{below}?alt=media",
        }  # fmt: skip

    def names(self, prefix: str, delimiter: str) -> dict[str, Any]:
        """The objects below a prefix, and the folders."""
        below = sorted(name for name in self.objects if name.startswith(prefix))
        cut = {name: name[len(prefix) :].find(delimiter) if delimiter else -1 for name in below}
        folders = sorted({name[: len(prefix) + at + 1] for name, at in cut.items() if at >= 0})
        items = [self.about(name) for name, at in cut.items() if at < 0]
        return {"kind": "storage#objects", "prefixes": folders, "items": items}


def _in_parts(body: bytes, kind: str) -> tuple[str, bytes]:
    """Name and content of an upload in one request: multipart/related, of JSON and then bytes."""
    boundary = re.search(r"boundary=['\"]?([^'\";]+)", kind)
    assert boundary is not None, kind
    _, meta, content, _ = re.split(rb"\r?\n?--" + re.escape(boundary[1].encode()) + rb"(?:--)?(?:\r?\n)?", body)
    said, sent = (re.split(rb"\r?\n\r?\n", part, maxsplit=1)[1] for part in (meta, content))
    return json.loads(said)["name"], sent


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    emulator: StorageEmulator

    def log_message(self, *_: object) -> None:
        """The requests are in `requests`."""

    def _handle(self) -> None:
        split = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        said = f"{self.command} {split.path}"
        self.emulator.requests.append(said)
        try:
            if (fault := fault_for(self.emulator.faults, said)) is not None:
                raise Refused(fault.status, fault.message, fault.reason)
            found = BUCKET.fullmatch(split.path)
            if found is None or found[2] != self.emulator.bucket:
                raise Refused(404, "The specified bucket does not exist.")
            self._answer(found[1] or "", unquote(found[3] or ""), query)
        except Refused as refused:
            self._say(refused.status, refused.body)

    do_GET = do_POST = do_PUT = _handle  # noqa: N815 - http.server's names

    def _answer(self, kind: str, name: str, query: Mapping[str, str]) -> None:
        if self.command == "PUT":
            self._take(self.emulator.uploads[query["upload_id"]])
        elif self.command == "POST":
            self._begin(kind, query)
        elif query.get("alt") == "media":
            self._give(self.emulator.objects[self.emulator.about(name)["name"]])
        elif name:
            self._say(200, self.emulator.about(name))
        elif urlsplit(self.path).path.endswith("/o"):
            self._say(200, self.emulator.names(query.get("prefix", ""), query.get("delimiter", "")))
        else:
            self._say(200, {"kind": "storage#bucket", "id": self.emulator.bucket, "name": self.emulator.bucket,
                            "location": "US", "storageClass": "STANDARD"})  # fmt: skip

    def _begin(self, kind: str, query: Mapping[str, str]) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if query["uploadType"] == "multipart":
            name, content = _in_parts(body, self.headers["Content-Type"])
            self.emulator.objects[name] = content
            self._say(200, self.emulator.about(name))
            return
        meta = json.loads(body or b"{}")
        key = f"{len(self.emulator.uploads)}"
        self.emulator.uploads[key] = Upload(query.get("name") or meta["name"])
        where = f"{self.emulator.url}{kind}/storage/v1/b/{self.emulator.bucket}/o?uploadType=resumable&upload_id={key}"
        self._say(200, {}, {"Location": where})

    def _take(self, upload: Upload) -> None:
        """A piece, or the question how much of it is here, as `Content-Range` says."""
        said = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", self.headers["Content-Range"])
        assert said is not None, self.headers["Content-Range"]
        first, total = said.groups()
        left = int(self.headers.get("Content-Length") or 0)
        assert first is None or int(first) == len(upload.got), (first, len(upload.got))
        while left:
            piece = self.rfile.read(min(left, PIECE_BYTES))
            upload.got += piece
            left -= len(piece)
            if self.emulator.cut_upload is not None and len(upload.got) >= self.emulator.cut_upload:
                self.emulator.cut_upload = None
                self.close_connection = True
                self.connection.close()
                return
        if total != "*" and len(upload.got) == int(total):
            self.emulator.objects[upload.name] = bytes(upload.got)
            self._say(200, self.emulator.about(upload.name))
        else:
            self._say(308, None, {"Range": f"bytes=0-{len(upload.got) - 1}"} if upload.got else {})

    def _give(self, content: bytes) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "bytes=0-")
        assert wanted is not None, self.headers["Range"]
        first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
        part = content[first : last + 1]
        self.send_response(206 if self.headers.get("Range") else 200)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        self._send(part, "application/octet-stream", self.emulator.piece_s)

    def _say(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self._send(b"" if body is None else json.dumps(body).encode(), "application/json")

    def _send(self, body: bytes, kind: str, piece_s: float = 0.0) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for first in range(0, len(body), PIECE_BYTES):
            time.sleep(piece_s)
            self.wfile.write(body[first : first + PIECE_BYTES])
