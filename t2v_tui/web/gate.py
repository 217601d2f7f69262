"""What stands before every request to the page: who may ask, from where, how much, and what the browser may load."""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# A form around the file, and what Gradio sends beside it.
FORM_BYTES = 2**20
# So that a password cannot be tried a thousand times a second.
WRONG_PASSWORD_PAUSE_S = 1.0
# The browser itself refuses what is not of this page; Gradio builds its components from inline code.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Gate:
    """ASGI middleware around everything, Gradio's own routes included.

    credentials: `user:password`; None lets in everybody who can reach the port
    most_bytes:  of an upload
    """

    def __init__(self, app: App, *, credentials: str | None, most_bytes: int) -> None:
        self.app, self.most_bytes = app, most_bytes + FORM_BYTES
        self._token = None if credentials is None else base64.b64encode(credentials.encode())
        self._open, self._used_t = 0, time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        refusal = await self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(scope, send, *refusal)
            return
        self._open += 1
        try:
            await self.app(scope, self._bounded(receive), _with_headers(send))
        finally:
            self._open -= 1
            self._used_t = time.monotonic()

    def unused_s(self) -> float:
        """Return for how many seconds no browser has been connected; an open tab always is."""
        return 0.0 if self._open else time.monotonic() - self._used_t

    async def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Status and sentence; None for what may pass."""
        host = headers.get(b"host", b"").decode("latin-1")
        if self._token is None and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            # A page elsewhere may give its own name this address, and would then be allowed to read ours.
            return 421, "open this page by its own address: http://127.0.0.1"
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and urlsplit(origin).netloc != host:
            return 403, "a page from elsewhere may not use this one"
        if self._token is not None and not self._is_known(headers):
            if b"authorization" in headers:
                await asyncio.sleep(WRONG_PASSWORD_PAUSE_S)
            return 401, "wrong user or password"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self.most_bytes:
            return 413, f"the file is larger than {self.most_bytes - FORM_BYTES:,} bytes: t2v web --max-upload-mb"
        return None if scope["type"] == "http" else (403, "this page uses no web sockets")

    def _is_known(self, headers: dict[bytes, bytes]) -> bool:
        kind, _, token = headers.get(b"authorization", b"").partition(b" ")
        return kind.lower() == b"basic" and hmac.compare_digest(token.strip(), self._token or b"")

    def _bounded(self, receive: Receive) -> Receive:
        """The body, as far as it may go: one that does not say its length is cut off as a lost client would be."""
        left = self.most_bytes

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            return message if left >= 0 else {"type": "http.disconnect"}

        return bounded


def is_loopback(name: str) -> bool:
    """Tell whether an address or name is this machine's own."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def _refuse(scope: Scope, send: Send, status: int, sentence: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [*HEADERS, (b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="t2v web", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *HEADERS]
        await send(message)

    return sending
