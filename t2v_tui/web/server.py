"""The page as a server: nothing leaves the machine, and nothing but the videos of `outputs/` is served."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2v_core.disk.private import make_folder
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace
from t2v_tui.library.views import VIDEO_SUFFIXES
from t2v_tui.web.gate import Gate
from t2v_tui.web.html import ROUTE, STYLE
from t2v_tui.web.uploads import SUFFIXES
from t2v_tui.web.work import Work
from t2v_tui.workers.services import Services

SERVED = {*VIDEO_SUFFIXES, *SUFFIXES}
# Before Gradio is imported: it reads them then. Its own folder for uploads lies in the workspace, as all else.
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_MCP_SERVER": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
TEMPORARY = ".t2v/web"


@dataclass(frozen=True)
class Settings:
    """What a page is told.

    host:        where the work runs
    credentials: `user:password`, or None on loopback
    idle_s:      after so long without work the model is let go
    unused_s:    after so long without a browser the page ends
    """

    host: str
    credentials: str | None
    device: str | None
    most_upload_bytes: int
    idle_s: float
    unused_s: float | None = None


def listen(address: str, port: int) -> socket.socket:
    """Open the page's socket; port 0 is any that is free.

    Raises InvalidRequest when it is taken or no address of ours.
    """
    try:
        family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
    except OSError as error:
        raise InvalidRequest(
            f"cannot listen on {address}:{port}: {error.strerror}", hint="choose another one: --port"
        ) from error
    return listening


def app_of(workspace: Workspace, settings: Settings, work: Work) -> Gate:
    """Build everything that answers a request, behind the gate."""
    temporary = workspace.root / TEMPORARY
    make_folder(temporary)
    os.environ.update(QUIET | {"GRADIO_TEMP_DIR": str(temporary)})
    import gradio as gr  # two seconds, and only the page needs it
    from fastapi import FastAPI, HTTPException
    from fastapi.responses import FileResponse

    from t2v_tui.web.page import Page, build

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def video(path: str) -> Any:
        found = served_file(workspace, path)
        if found is None:
            raise HTTPException(404, "there is no such video")
        return FileResponse(found, content_disposition_type="inline")

    app.add_api_route(ROUTE + "/{path:path}", video, methods=["GET", "HEAD"])
    page = Page(work, device=settings.device, most_upload_bytes=settings.most_upload_bytes)
    where = "on this machine" if settings.host == "local" else f"on {settings.host}"
    font = ["ui-sans-serif", "system-ui", "sans-serif"]
    gr.mount_gradio_app(
        app, build(page, f"{workspace.root.name}: the work runs {where}"), path="/", css=STYLE, ssr_mode=False,
        theme=gr.themes.Default(font=font, font_mono=["ui-monospace", "monospace"]), pwa=False, mcp_server=False,
        max_file_size=settings.most_upload_bytes, footer_links=[], enable_monitoring=False,
    )  # fmt: skip
    return Gate(app, credentials=settings.credentials, most_bytes=settings.most_upload_bytes)


def served_file(workspace: Workspace, path: str) -> Path | None:
    """Return a video below `outputs/` by its path in the workspace, links followed; None for everything else."""
    if "\0" in path:
        return None
    outputs = workspace.outputs.resolve()
    try:
        found = (workspace.root / path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return None
    if not found.is_relative_to(outputs) or found.suffix.lower() not in SERVED or not found.is_file():
        return None
    return found


def serve(
    workspace: Workspace, settings: Settings, listening: socket.socket, *, when_ready: Callable[[], None]
) -> None:
    """Answer requests until Ctrl-C or SIGTERM; then the engine that was kept for the page ends as well."""
    services = Services(workspace)
    work = Work(services, settings.host, idle_s=settings.idle_s)
    try:
        import uvicorn

        app = app_of(workspace, settings, work)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=2, server_header=False
        )
        listening.listen(128)  # from here on nobody is turned away
        when_ready()
        server = uvicorn.Server(config)
        if settings.unused_s is not None:
            threading.Thread(target=_end_unused, args=(server, app, settings.unused_s), daemon=True).start()
        server.run(sockets=[listening])
    finally:
        work.close()
        services.close()


def _end_unused(server: Any, gate: Gate, unused_s: float) -> None:
    while not server.should_exit:
        time.sleep(min(1.0, unused_s))
        server.should_exit = gate.unused_s() > unused_s
