"""`t2v web`: the page in a browser, with the work here or on another machine."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remote.hosts.settings import LOCAL, read_hosts
from t2v_core.disk.opening import read_bytes
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace
from t2v_tui.cli.main import Common
from t2v_tui.find_workspace import find_workspace

if TYPE_CHECKING:
    from t2v_tui.web.server import Settings

PORT = 7860
AUTH_VARIABLE = "T2V_WEB_AUTH"

HostOption = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="NAME",
        help="Show the page here and run the work there, as jobs; videos come back verified.",
        show_default=False,
    ),
]
ForwardOption = Annotated[
    str | None,
    typer.Option(
        "--forward",
        metavar="NAME",
        help="Run both page and work there; its port is forwarded here over SSH.",
        show_default=False,
    ),
]
PortOption = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes any free one.")]
AddressOption = Annotated[
    str, typer.Option("--address", help="Address to listen on; any but this machine's own needs --auth.")
]
AuthOption = Annotated[
    str | None,
    typer.Option(
        "--auth",
        metavar="USER:PASSWORD",
        help="Login to ask for. Other users here can read a command line: T2V_WEB_AUTH or --auth-file hide it.",
        show_default=False,
    ),
]
AuthFileOption = Annotated[
    Path | None,
    typer.Option("--auth-file", metavar="FILE", help="The same, from the first line of a file.", show_default=False),
]
MaxUploadOption = Annotated[int, typer.Option("--max-upload-mb", min=1, help="The largest video it accepts.")]
DeviceOption = Annotated[
    str | None,
    typer.Option("--device", metavar="TEXT", help="auto, cpu, cuda, mps (default: t2v.toml's)", show_default=False),
]
IdleOption = Annotated[
    float, typer.Option("--idle-min", min=0.1, help="Minutes without work after which the model is unloaded.")
]
UnusedOption = Annotated[
    float | None,
    typer.Option(
        "--unused-min",
        min=0.1,
        help="Close the page once no browser has been connected for this long.",
        show_default=False,
    ),
]


def web(
    ctx: typer.Context,
    host: HostOption = None,
    forward: ForwardOption = None,
    port: PortOption = PORT,
    address: AddressOption = "127.0.0.1",
    auth: AuthOption = None,
    auth_file: AuthFileOption = None,
    max_upload_mb: MaxUploadOption = 200,
    device: DeviceOption = None,
    idle_min: IdleOption = 10.0,
    unused_min: UnusedOption = None,
) -> int:
    """Open a page for a browser: generate, refine and look at videos. It works offline.

    \b
    Examples:
      t2v web                              http://127.0.0.1:7860
      t2v web --host a100-golden           the page here, the work there
      t2v web --forward a100-golden        the page there, shown here at the same address
      T2V_WEB_AUTH=me:secret t2v web --address 0.0.0.0

    The page's address goes to stdout. Ctrl-C closes the page, and the engine behind it.
    """
    common: Common = ctx.obj
    workspace = find_workspace(common.workspace, os.environ)
    _require_sense(host, forward, workspace)
    if forward is not None:
        from t2v_tui.cli.web.web_forward import forward_page  # SSH, which nothing else here needs

        flags = ["--max-upload-mb", str(max_upload_mb), "--idle-min", f"{idle_min:g}"]
        return forward_page(forward, port, workspace, [*flags, *(["--device", device] if device else [])])
    credentials = credentials_of(auth, os.environ.get(AUTH_VARIABLE), auth_file)
    _require_gradio()
    from t2v_tui.web.server import Settings

    unused_s = unused_min and unused_min * 60
    settings = Settings(host or LOCAL, credentials, device, max_upload_mb * 1_000_000, idle_min * 60, unused_s)
    return _serve(workspace, address, port, settings)


def _serve(workspace: Workspace, address: str, port: int, settings: Settings) -> int:
    """The page of this machine, until somebody ends it. Raises InvalidRequest for one that everybody could use."""
    from t2v_tui.web.gate import is_loopback
    from t2v_tui.web.server import listen, serve

    if settings.credentials is None and not is_loopback(address):
        raise InvalidRequest(
            f"--address {address}: anyone who can reach it could use this machine",
            hint="ask for a login: --auth USER:PASSWORD, T2V_WEB_AUTH or --auth-file",
        )
    listening = listen(address, port)
    shown = f"[{address}]" if ":" in address else address
    print("loading the page; Ctrl-C ends it", file=sys.stderr)
    url = f"http://{shown}:{listening.getsockname()[1]}"
    serve(workspace, settings, listening, when_ready=lambda: print(url, flush=True))
    return 0


def _require_sense(host: str | None, forward: str | None, workspace: Workspace) -> None:
    """Raises InvalidRequest for both ways at once, and for a host that t2v.toml does not name."""
    if host is not None and forward is not None:
        raise InvalidRequest(
            "--host keeps the page here, --forward runs it there: give one of them", hint="see t2v web --help"
        )
    hosts = read_hosts(workspace)
    for flag, name in (("--host", host), ("--forward", forward)):
        if name is not None and name not in hosts and not (name == LOCAL and flag == "--host"):
            raise InvalidRequest(
                f"{flag} {name}: {workspace.settings_file} names no such host",
                hint=f"there is: {', '.join(hosts)}" if hosts else f"add [host.{name}] with its address",
            )


def _require_gradio() -> None:
    if importlib.util.find_spec("gradio") is None:
        raise InvalidRequest("the web page needs Gradio, which is not installed here", hint="pip install 't2v[web]'")


def credentials_of(flag: str | None, variable: str | None, file: Path | None) -> str | None:
    """Return `user:password` by whatever way; None when nobody said. Raises InvalidRequest when it is no such pair."""
    said, origin = flag or variable or None, "--auth" if flag else AUTH_VARIABLE
    if file is not None and flag is None:
        try:
            lines = read_bytes(file).decode().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequest(
                f"--auth-file {file} cannot be read", hint="its first line is USER:PASSWORD"
            ) from error
        said, origin = (lines or [""])[0].strip(), f"--auth-file {file}"
    if said is None:
        return None
    user, _, password = said.partition(":")
    if not user or not password:
        raise InvalidRequest(f"{origin}: this is not USER:PASSWORD", hint="write it as me:secret; neither may be empty")
    return said
