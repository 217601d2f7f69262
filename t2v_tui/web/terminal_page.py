"""`t2v-tui --web`: the terminal UI in a browser on this machine, by textual-serve; nobody else's page can drive it."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from t2v_core.errors import InvalidRequest

HERE = "127.0.0.1"
# What the page shows comes from this server; textual-serve's own would also ask a font of another.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self' ws:; frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}  # fmt: skip
# Tabs that are open get so long to end when the server does.
PATIENCE_S = 3.0

Handler = Callable[[Any], Awaitable[Any]]


def serve(arguments: Sequence[str], port: int) -> int:
    """Serve until Ctrl-C; prints the address, which has a key in it. Each tab is an app of its own.

    arguments: of t2v-tui; port: 0 takes a free one
    Raises InvalidRequest when textual-serve is not installed or the port is taken.
    """
    try:
        from textual_serve.server import Server  # an extra
    except ImportError as error:
        raise InvalidRequest(
            "t2v-tui --web needs textual-serve, which is not installed here", hint="pip install 't2v[browser]'"
        ) from error
    listening = _listen(port)
    address = f"{HERE}:{listening.getsockname()[1]}"
    command = shlex.join([sys.executable, "-m", "t2v_tui.main", *arguments])
    server = Server(command, host=HERE, port=listening.getsockname()[1], title="t2v")
    server.console.quiet = True  # its banner names no key
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(server, listening, address))
    return 0


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HERE, port))
    except OSError as error:
        listening.close()
        raise InvalidRequest(
            f"port {port} of this machine cannot be used: {os.strerror(error.errno or 0)}",
            hint="leave --port out: a free one is taken",
        ) from error
    return listening


async def _serve(server: Any, listening: socket.socket, address: str) -> None:
    from aiohttp import web

    key, ended = secrets.token_urlsafe(24), asyncio.Event()
    app = await server._make_app()
    app.middlewares.append(web.middleware(gate(address, key)))
    runner = web.AppRunner(app, shutdown_timeout=PATIENCE_S)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    print(f"http://{address}/?key={key}", flush=True)
    print("open it in a browser of this machine; each tab is a t2v-tui of its own. Ctrl-C ends it.", file=sys.stderr)
    try:
        await ended.wait()
    finally:
        await runner.cleanup()


def gate(address: str, key: str) -> Callable[[Any, Handler], Awaitable[Any]]:
    """Return what stands before every request: it lets in who asks this address, from its own page, with the key.

    A page of another site can send requests here, and with a name of its own that leads here it could read answers:
    Origin tells the one, Host the other. The key is for other users of this machine. It comes once in the address,
    and stays in a cookie that no other site sends.
    """
    from aiohttp import web

    name = f"t2v-tui-{address.rpartition(':')[2]}"  # cookies do not tell ports apart

    async def let_in(request: Any, handler: Handler) -> Any:
        if request.headers.get("Host") != address:
            raise web.HTTPForbidden(text=f"this is http://{address} and no other name\n", headers=HEADERS)
        origin = request.headers.get("Origin")
        is_own = origin == f"http://{address}" or (origin is None and request.path != "/ws")
        if not is_own or request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise web.HTTPForbidden(text="another page may not drive it\n", headers=HEADERS)
        if request.path == "/" and _is_same(request.query.get("key", ""), key):
            answer = web.HTTPSeeOther("/", headers=HEADERS)
            answer.set_cookie(name, key, httponly=True, samesite="Strict", path="/")
            raise answer
        if not _is_same(request.cookies.get(name, ""), key):
            raise web.HTTPForbidden(text="open the address that t2v-tui --web has printed\n", headers=HEADERS)
        answer = await handler(request)
        if not answer.prepared:
            answer.headers.update(HEADERS)
        return answer

    return let_in


def _is_same(said: str, key: str) -> bool:
    return hmac.compare_digest(said.encode(), key.encode())
