"""A cloud's metadata server on loopback, as far as it says whether the machine is preempted; can be flipped, and down.

As the real one: a question that waits for a change and carries the etag of an older state is answered at once; without
an etag it waits for the next change, and so misses the one before it.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PATH = "/computeMetadata/v1/instance/preempted"


class MetadataServer:
    """A context manager. asked: the query of every request, in order; flips_after_answers: flips when so many were."""

    def __init__(self) -> None:
        self.is_preempted, self.etag = False, 1
        self.asked: list[dict[str, str]] = []
        self.answered, self.flips_after_answers = 0, 0
        self.is_genuine = True
        self.changed = threading.Condition()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._port}"

    def __enter__(self) -> MetadataServer:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> None:
        """Listen, on the same port as before."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with suppress(ConnectionError):  # whoever asked is gone: its job ended, or its machine went off
                    outer.answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # the base class names it so
                """Nobody reads it."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self) -> tuple[socket.socket, Any]:
                connection, address = super().get_request()
                outer.connections.append(connection)
                return connection, address

        self.connections: list[socket.socket] = []
        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def down(self) -> None:
        """Stop listening, and cut off who waits for an answer."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def flip(self, *, to: bool = True) -> None:
        with self.changed:
            self.is_preempted, self.etag = to, self.etag + 1
            self.changed.notify_all()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path != PATH or handler.headers.get("Metadata-Flavor") != "Google":
            handler.send_error(403)
            return
        with self.changed:
            self.asked.append(query)
            now = self.etag
            if query.get("wait_for_change") == "true" and query.get("last_etag", str(now)) == str(now):
                self.changed.wait_for(lambda: self.etag != now, timeout=float(query["timeout_sec"]))
            body, etag = (b"TRUE" if self.is_preempted else b"FALSE"), str(self.etag)
        handler.send_response(200)
        if self.is_genuine:
            handler.send_header("Metadata-Flavor", "Google")
        for name, value in (("ETag", etag), ("Content-Length", str(len(body)))):
            handler.send_header(name, value)
        handler.end_headers()
        self.answered += 1
        if self.answered == self.flips_after_answers:  # before the asker can ask again
            self.flip()
        handler.wfile.write(body)
