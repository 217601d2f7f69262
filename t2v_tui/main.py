"""`t2v-tui`: the terminal UI."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import select
import shlex
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from t2v_core import __version__
from t2v_core.errors import EngineError, InvalidRequest
from t2v_core.workspace import Workspace, followed
from t2v_tui.find_workspace import find_workspace
from t2v_tui.text.exit_summary import farewell

if TYPE_CHECKING:
    from t2v_tui.app import CockpitApp
    from t2v_tui.workers.services import Services

MOST_PORT = 65535
ABOUT = """The terminal UI of t2v: what runs, what it costs, and everything that can be done with it.

With nothing configured it opens on a page that helps you begin. Closing it stops no job; opening it finds them
all again.
The same in plain text: t2v status, t2v jobs, t2v logs -f."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("t2v-tui", description=ABOUT, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workspace", metavar="DIR", type=Path, help="where data, checkpoints and outputs lie")
    parser.add_argument("--demo", action="store_true", help="everything on a simulated VM, with the built-in world")
    parser.add_argument("--read-only", action="store_true", help="only look: nothing is started, stopped or changed")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII only")
    parser.add_argument("--no-animation", action="store_true", help="nothing moves by itself")
    parser.add_argument("--web", action="store_true", help="in a browser of this machine, at an address it prints")
    parser.add_argument("--port", metavar="N", type=_port, help="with --web: the port to use (default: a free one)")
    parser.add_argument("--version", action="version", version=f"t2v {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Open the app; returns the exit code. What goes on afterwards is said on the terminal as it was before."""
    asked = _parser().parse_args(arguments)
    try:
        if asked.web:
            from t2v_tui.web.terminal_page import serve  # an extra's

            return serve(_flags(asked), asked.port or 0)
        if asked.port is not None:
            raise InvalidRequest("--port is for --web", hint="t2v-tui --web --port 8022")
        _require_terminal(os.environ)
        return run(asked)
    except EngineError as error:
        print(f"error: {error.message}" + (f"\nhint:  {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PORT:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port: 1 … {MOST_PORT}")
    return int(text)


def _require_terminal(environ: Mapping[str, str]) -> None:
    if environ.get("TEXTUAL_DRIVER"):  # another one draws, as `--web`'s
        return
    if environ.get("TERM", "dumb") in ("dumb", "") or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidRequest(
            "this is not a terminal that can be drawn on (TERM=dumb, or output that goes elsewhere)",
            hint="the same in plain text: t2v status, t2v jobs, t2v logs -f",
        )


def run(asked: argparse.Namespace) -> int:
    """Run the app, and print what is said after it; the demo's follows when that was chosen in it. Ends the process."""
    from t2v_tui.app import DEMO  # --help and a refusal need no Textual

    end_with_terminal(sys.stdin.fileno())
    app = _open(asked)  # before the loop: what is refused here would leave it unclosed, and Python says so
    logging.getLogger("t2v").addHandler(logging.NullHandler())  # the screen says how each host stands
    loop = asyncio.new_event_loop()  # asyncio.run would wait for threads that wait for hosts which do not answer
    if app.run(loop=loop) == DEMO:
        asked.demo = True
        app = _open(asked)
        app.run(loop=loop)
    app.remember()
    is_seen = not os.environ.get("TEXTUAL_DRIVER")
    for line in () if not is_seen else farewell(app.state, time.time(), _command(asked), app.being_started):
        print(line)
    sys.stdout.flush()
    os._exit(app.return_code or 0)


def end_with_terminal(descriptor: int) -> None:
    """Send this process the SIGHUP of a terminal that is gone, also where the system sends none, as with `docker exec`.

    Without that, reading from what is no more would keep a core busy for ever. It takes a thread that sleeps.
    """
    threading.Thread(target=_wait_for_hang_up, args=(descriptor,), name="hang-up", daemon=True).start()


def _wait_for_hang_up(descriptor: int) -> None:
    poller = select.poll()
    poller.register(descriptor, 0)  # asked for nothing, it still tells of this
    if any(said & select.POLLHUP for _, said in poller.poll()):
        os.kill(os.getpid(), signal.SIGHUP)


def _open(asked: argparse.Namespace) -> CockpitApp:
    from t2v_tui.app import CockpitApp
    from t2v_tui.settings import read_tui
    from t2v_tui.store.session import recall
    from t2v_tui.store.state import State
    from t2v_tui.workers.services import Services

    workspace = demo_workspace(asked.workspace) if asked.demo else find_workspace(asked.workspace, os.environ)
    settings = read_tui(workspace)
    settings.animation = settings.animation and not asked.no_animation and not os.environ.get("SSH_TTY")
    settings.ascii = settings.ascii or asked.ascii
    services: Services
    memory = recall(workspace)
    if asked.demo:
        from t2v_tui.workers.demo_vm import DEMO_MEMORY, DemoServices

        services, memory = DemoServices(workspace), memory if memory.hosts else DEMO_MEMORY
    else:
        services = Services(workspace)
    state = State(workspace.root, is_read_only=asked.read_only, is_demo=asked.demo)
    first = "train" if asked.demo else ""
    return CockpitApp(workspace, services=services, settings=settings, state=state, memory=memory, first=first)


def demo_workspace(asked: Path | None) -> Workspace:
    """Make the folder that `t2v demo` makes as well: what one has made, the other finds."""
    from t2v_tui.new_workspace import make_workspace

    workspace = Workspace(followed(asked or Path("demo")))
    make_workspace(workspace, shapes=True)
    return workspace


def _command(asked: argparse.Namespace) -> str:
    flags = [f"--workspace {shlex.quote(str(asked.workspace))}"] if asked.workspace else []
    return " ".join(["t2v-tui", *flags, *(["--demo"] if asked.demo else [])])


def _flags(asked: argparse.Namespace) -> list[str]:
    """Those of the app that each tab opens, from the same folder."""
    switches = {"--demo": asked.demo, "--read-only": asked.read_only, "--ascii": asked.ascii}
    switches["--no-animation"] = asked.no_animation
    workspace = ["--workspace", str(asked.workspace)] if asked.workspace else []
    return [*workspace, *(flag for flag, is_given in switches.items() if is_given)]


if __name__ == "__main__":
    sys.exit(main())
