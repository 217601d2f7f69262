"""The first page: three ways to begin, what is here already, and what is not as it should be."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content

from t2v_tui.keys import bindings_for
from t2v_tui.messages import GoTo
from t2v_tui.screens.bases.base import Cockpit
from t2v_tui.store.state import LOCAL, HostKind, State
from t2v_tui.text.headline import truth
from t2v_tui.widgets.checks import CheckList
from t2v_tui.widgets.chrome import STYLES, Block

CHECKS_AFTER_S = 0.3
MOST_HOSTS = 3
HOW_ON = "? shows the keys, ^p every action by name."
ABOUT = "Train, run and look after your own text-to-video model."
CONNECT = """To connect a VM of Google Cloud, add this to {file}:

    [host.my-vm]
    provider = "gcloud"
    project = "my-project"
    zone = "us-central1-a"

Any machine that SSH reaches:

    [host.gpu-box]
    address = "gpu-box.example.org"

Save it, then press R: it appears with h. Log in once with gcloud auth login, and compare its key once with
t2v host trust NAME. Nothing is started, and nothing costs, before you say yes to it."""


class WelcomeScreen(Cockpit):
    NAME = "welcome"
    CSS_PATH = "welcome.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("welcome")]

    def __init__(self) -> None:
        super().__init__()
        self.is_connecting = False

    def body(self) -> ComposeResult:
        """Lay out the ways to begin over how to connect a VM and the checks."""
        with Vertical(id="welcome"):
            yield Block(id="ways")
            yield Block(id="connect", classes="pane")
            with VerticalScroll(id="checks", classes="pane"):
                yield CheckList()

    def on_mount(self) -> None:
        """Title the panes, and begin the checks once the page is there."""
        self.query_one("#checks").border_title = "is everything here?"
        self.query_one(CheckList).say("◌ looking at Python, packages, settings, disk, models and data …")
        self.query_one("#connect").border_title = "a VM, or any machine over SSH"
        if self.cockpit.services is not None:  # the page is there first, then what checks it
            self.set_timer(CHECKS_AFTER_S, lambda: self.query_one(CheckList).run(self.cockpit.workspace))

    def show(self, state: State, now_t: float) -> None:
        """Draw the ways to begin, and how to connect a VM when that was asked for."""
        self.query_one("#ways", Block).show(ways(state, now_t))
        connect = self.query_one("#connect", Block)
        connect.display = self.is_connecting
        connect.show(Content(CONNECT.format(file=self.cockpit.workspace.settings_file)))

    def action_demo(self) -> None:
        """Leave this app for the same one on a simulated VM."""
        if self.cockpit.state.is_demo:
            self.post_message(GoTo("train"))
        else:
            self.cockpit.exit_to_demo()

    async def action_local(self) -> None:
        """Choose the engine here; make a workspace of the built-in world where there is none."""
        from t2v_tui.new_workspace import make_workspace  # only here

        if not self.cockpit.workspace.settings_file.exists():
            make_workspace(self.cockpit.workspace, shapes=True)
            self.notify(f"wrote {self.cockpit.workspace.settings_file}: the built-in world, with nothing to download",
                        timeout=6, markup=False)  # fmt: skip
        self.cockpit.choose_host(LOCAL)
        await self.cockpit.action_go("train")

    def action_connect(self) -> None:
        """Show how to connect a VM, or hide it again; t2v.toml is read anew for its hosts."""
        self.is_connecting = not self.is_connecting
        self.cockpit.listening.read_hosts()
        self._draw()


def ways(state: State, now_t: float) -> Content:
    """Return three rows, and what is here already."""
    jobs = len(state.jobs)
    rows = (
        ("d", "demo", "a simulated VM: no cloud, no GPU; trains in minutes"),
        ("l", "local engine", "this machine; the built-in world, or your own clips"),
        ("c", "connect a VM", "Google Cloud, or any machine over SSH"),
    )  # fmt: skip
    parts: list[tuple[str, str]] = [("t2v", "bold $accent"), (f"   {ABOUT}\n\n", "")]
    for key, name, what in rows:
        parts += [(f"   {key}  ", "bold $accent"), (f"{name:<14}", "bold"), (f"{what}\n", "$text-muted")]
    words = "1 job is" if jobs == 1 else f"{jobs} jobs are"
    known = f"{words} known here; 7 lists them, 1 shows training." if jobs else ""
    return Content.assemble(*parts, ("\n", ""), *_others(state, now_t), (known or HOW_ON, "$text-muted"))


def _others(state: State, now_t: float) -> list[tuple[str, str]]:
    """The hosts there are already, each with its state: `● a100-golden running · h chooses one`; a line of its own."""
    parts: list[tuple[str, str]] = []
    for host in [host for host in state.hosts.values() if host.kind is not HostKind.LOCAL][:MOST_HOSTS]:
        is_so = truth(host, now_t)
        parts += [(f"{is_so.glyph} {host.name} ", STYLES[is_so.tone]), (f"{is_so.word.lower()} · ", "$text-muted")]
    return [*parts, ("h chooses one.\n", "$text-muted")] if parts else []
