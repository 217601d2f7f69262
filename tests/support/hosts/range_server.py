"""A web server over a folder that answers ranges, as a bucket's does, and misbehaves on demand."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass
class RangeServer:
    """asked: GETs as (name, first byte); sent: bytes by name

    refuses: a status for every GET; spoils: its answers have another first byte; fails_at: a GET of a file that begins
    there, or after it, has its connection cut
    seen: called at each GET
    """

    folder: Path
    url: str = ""
    asked: list[tuple[str, int]] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    refuses: int = 0
    spoils: str = ""
    fails_at: int | None = None
    seen: Callable[[], object] = lambda: None


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, server: RangeServer, *arguments: object) -> None:
        self.of = server
        super().__init__(*arguments)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer(is_whole=False)

    def do_GET(self) -> None:
        self._answer(is_whole=True)

    def _answer(self, *, is_whole: bool) -> None:
        name = self.path.lstrip("/")
        path = self.of.folder / name
        if self.of.refuses or not path.is_file():
            self.send_error(self.of.refuses or 404)
            return
        data, found = path.read_bytes(), RANGE.fullmatch(self.headers.get("Range", ""))
        begin, end = (int(found[1]), min(int(found[2]) + 1, len(data))) if found else (0, len(data))
        if is_whole:
            self.of.seen()
            self.of.asked.append((name, begin))
            if self.of.fails_at is not None and begin >= self.of.fails_at and name.endswith(".safetensors"):
                self.connection.close()
                return
        part = data[begin:end]
        if self.of.spoils and self.of.spoils in name:
            part = bytes([part[0] ^ 1]) + part[1:]
        self.send_response(206 if found else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Accept-Ranges", "bytes")
        if found:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
        self.end_headers()
        if is_whole:
            self.wfile.write(part)
            self.of.sent[name] += len(part)


@contextmanager
def range_server(folder: Path) -> Iterator[RangeServer]:
    said = RangeServer(folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, said)) as server:
        said.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield said
        server.shutdown()
        thread.join()
