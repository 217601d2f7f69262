"""The machine that works: is it on, what it costs, when it stops by itself, and how it is doing."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message

from remote.errors import StartLeft
from remote.power.state import Power
from remote.steps import Status, StepState
from t2v_core.errors import EngineError
from t2v_core.format import ago, span, usd
from t2v_tui.keys import bindings_for
from t2v_tui.library.vm_history import Day, days_of
from t2v_tui.messages import CommandRan, Failed, Notice
from t2v_tui.screens.bases.base import Cockpit
from t2v_tui.screens.panels.dialogs import Confirm
from t2v_tui.store.state import HostKind, HostView, Reach, State, VmView
from t2v_tui.text import command_lines
from t2v_tui.text.confirmations import about_starting_vm, about_stopping_vm
from t2v_tui.text.headline import stops_in, truth
from t2v_tui.text.unreachable import asked, is_lost, waits
from t2v_tui.widgets.checks import CheckList
from t2v_tui.widgets.chrome import STYLES, Block
from t2v_tui.widgets.gauges import Gauges

KEEP_S = 2 * 3600.0
BAR, MOST_DAYS = 20, 5
NOT_A_VM = """
To have a VM of Google Cloud do the
work, add to t2v.toml:

    [host.my-vm]
    provider = "gcloud"
    zone = "us-central1-a"

h chooses it then. Nothing costs
anything before you say yes to it."""
NOT_OURS = """
Reached over SSH; t2v neither starts nor stops it."""


@dataclass
class DaysRead(Message):
    """What each day cost on one host."""

    host: str
    days: tuple[Day, ...]


class VmScreen(Cockpit):
    NAME = "vm"
    CSS_PATH = "vm.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("vm")]

    def __init__(self) -> None:
        super().__init__()
        self.days: dict[str, tuple[Day, ...]] = {}
        self._left = threading.Event()  # set for a start that nobody waits for any more

    def body(self) -> ComposeResult:
        """Lay out machine, cost and gauges over the checks."""
        with Horizontal(id="upper"):
            yield Block(id="standing", classes="pane")
            with Vertical(id="right"):
                yield Block(id="money", classes="pane")
                yield Gauges(id="gauges", classes="pane")
        with VerticalScroll(id="checks", classes="pane"):
            yield CheckList()

    def on_mount(self) -> None:
        """Title the panes; nothing is checked before it is asked for."""
        self.query_one("#standing").border_title = "host"
        self.query_one("#money").border_title = "cost"
        self.query_one("#checks").border_title = "doctor"
        self.query_one(CheckList).say("c checks everything on this machine: Python, packages, settings, disk, data.")

    def show(self, state: State, now_t: float) -> None:
        """Draw machine, cost and gauges of the chosen host; its days are read from the ledger the first time."""
        host = state.chosen
        self.query_one("#standing", Block).show(standing(host, now_t))
        if host.name not in self.days:
            self.days[host.name] = ()
            self._read_days(host.name)
        self.query_one("#money", Block).show(money(host, self.days[host.name], now_t))
        self.show_machine(state, now_t)

    def show_machine(self, state: State, now_t: float) -> None:
        """Draw how the machine does."""
        self.query_one(Gauges).show_host(state.chosen, now_t)

    # Keys

    def action_start_vm(self) -> None:
        """Ask, since it costs, and start the VM; say so when it runs already."""
        host = self._machine()
        if host is not None and host.vm is not None and host.vm.power is Power.RUNNING:
            self.notify(f"{host.name} runs", timeout=3, markup=False)
        elif host is not None:
            self.app.push_screen(Confirm(about_starting_vm(self.cockpit.state, host.name)), self._start_if)

    def _start_if(self, is_yes: bool | None) -> None:
        if is_yes:
            self._left = threading.Event()
            self._turn(self.cockpit.state.host, is_up=True)

    def action_stop_vm(self) -> None:
        """Ask, and stop the VM; say so when it is stopped already."""
        host = self._machine()
        if host is not None and host.vm is not None and host.vm.power is Power.STOPPED:
            self.notify(f"{host.name} is stopped", timeout=3, markup=False)
        elif host is not None:
            question = about_stopping_vm(self.cockpit.state, host.name, self.cockpit.now())
            self.app.push_screen(Confirm(question), self._stop_if)

    def _stop_if(self, is_yes: bool | None) -> None:
        if is_yes:
            self._left.set()
            self._turn(self.cockpit.state.host, is_up=False)

    def on_unmount(self) -> None:
        """Stop waiting for a VM that is being started."""
        self._left.set()

    def _machine(self) -> HostView | None:
        host = self.cockpit.state.chosen
        if host.kind is HostKind.VM:
            return host
        self.notify(
            f"{host.name} is not a VM that t2v starts and stops; h chooses another host", timeout=4, markup=False
        )
        return None

    def action_keep(self) -> None:
        """Keep the VM on for two hours although idle, or let go of one that is kept."""
        host = self._machine()
        if host is not None:
            kept_t = host.guard.kept_until_t if host.guard else None
            self._keep(host.name, 0.0 if kept_t and kept_t > self.cockpit.now() else KEEP_S)

    def action_doctor(self) -> None:
        """Check everything on this machine."""
        self.query_one(CheckList).run(self.cockpit.workspace)
        self.post_message(CommandRan(command_lines.doctor()))

    @work(thread=True, exclusive=True, group="vm", exit_on_error=False)
    def _turn(self, name: str, *, is_up: bool) -> None:
        services = self.cockpit.services
        provider = services.provider(name) if services else None
        if provider is None:
            return
        self.cockpit.listening.wake(name)
        self.post_message(CommandRan(command_lines.vm("start" if is_up else "stop", name)))
        try:
            if is_up:
                self.cockpit.being_started.add(name)
                provider.start(partial(self._told, name), self._left)
                self.cockpit.being_started.discard(name)
            else:
                provider.stop()
        except StartLeft:
            if not self.cockpit.closing.is_set():  # else the app says what may go on, after its end
                self.cockpit.being_started.discard(name)
        except EngineError as error:
            self.cockpit.being_started.discard(name)
            self.post_message(Failed(error.message, error.hint))
        self.cockpit.listening.wake(name)

    def _told(self, name: str, step: StepState) -> None:
        self.cockpit.listening.wake(name)
        if step.status in (Status.DOING, Status.NOTE) or step.name == "resume":
            self.post_message(Notice(step.detail))

    @work(thread=True, exclusive=True, group="keep", exit_on_error=False)
    def _keep(self, name: str, seconds: float) -> None:
        services = self.cockpit.services
        provider = services.provider(name) if services else None
        if services is None or provider is None:
            return
        try:
            provider.keep(services.host(name), seconds)
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))
            return
        self.cockpit.listening.wake(name)
        self.post_message(CommandRan(command_lines.vm(f"keep {seconds / 3600:g}h" if seconds else "keep 0", name)))
        self.post_message(
            Notice(f"{name} is kept for {span(seconds)}" if seconds else f"{name} may stop when it is idle")
        )

    @work(thread=True, exclusive=True, group="days", exit_on_error=False)
    def _read_days(self, name: str) -> None:
        try:
            self.post_message(DaysRead(name, days_of(self.cockpit.workspace, name)))
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))

    @on(DaysRead)
    def _take_days(self, message: DaysRead) -> None:
        self.days[message.host] = message.days
        self._draw()


def standing(host: HostView, now_t: float) -> Content:
    """Return what is known of it, and how long ago; a line each, what matters most first."""
    is_so = truth(host, now_t)
    lines: list[tuple[str, str]] = [
        (f"{is_so.glyph} {is_so.word}", f"bold {STYLES[is_so.tone]}"),
        (f"  {host.name}\n", "bold"), (f"  {is_so.detail}\n", "$text-muted"),
    ]  # fmt: skip
    if host.vm is not None and host.vm.problem:
        lines.append((f"✗ {host.vm.asked}: {host.vm.problem}\n", "$error"))
        lines.append((f"  → {host.vm.hint}\n" if host.vm.hint else "", ""))
    else:
        lines.append(("\n", ""))
    rows = [*_link_rows(host, now_t), *_vm_rows(host, now_t)]
    rows += [("address", host.address if host.kind is not HostKind.LOCAL else ""), ("workspace", host.workdir)]
    lines += [(f"{name:<12}{text}\n", "") for name, text in rows if text]
    if host.vm is None:
        lines.append((NOT_A_VM if host.kind is HostKind.LOCAL else NOT_OURS, "$text-muted"))
    return Content.assemble(*lines)


def _link_rows(host: HostView, now_t: float) -> list[tuple[str, str]]:
    link = host.link
    if host.kind is HostKind.LOCAL:
        return []
    if waits(host):
        return [("link", asked(host, now_t).replace(f" {host.name}", ""))]
    if is_lost(host):
        is_said = not link.why or (host.vm is not None and link.why == host.vm.problem)
        return [("link", "not heard; R tries now" if is_said else f"{link.why}; R tries now")]
    latency_s = link.latency_s if link.reach is Reach.UP else None
    return [("link", f"answers in {latency_s * 1000:.0f} ms" if latency_s else "–")]


def _vm_rows(host: HostView, now_t: float) -> list[tuple[str, str]]:
    """What only a VM has."""
    vm, guard = host.vm, host.guard
    if vm is None:
        return []
    cap = f", in {span(guard.cap_t - now_t)} at most" if guard and guard.cap_t is not None else ""
    return [
        (f"by {vm.asked}", f"{vm.power.value}, {ago(now_t - vm.seen_t)} ago" if vm.seen_t else _not_said(vm)),
        ("up", span(now_t - vm.started_t) if vm.started_t and vm.power is Power.RUNNING else "–"),
        ("stops", stops_in(host, now_t).removeprefix("stops ") + cap if guard else "–"),
        ("guard", guard.why if guard and guard.why else "–"),
        ("machine", vm.machine), ("GPU", vm.gpus), ("zone", vm.zone),
    ]  # fmt: skip


def _not_said(vm: VmView) -> str:
    return "not known" if vm.problem else "◌ asked, no answer yet"


def money(host: HostView, days: Sequence[Day], now_t: float) -> Content:
    """Return what it costs: now, today, this session, and the last days as bars."""
    cost = host.cost
    if cost is None:
        return Content(_no_price(host)).stylize("$text-muted")
    about = "~" if cost.is_estimate else " "
    lines = [
        (f"now       {about + usd(cost.usd_per_hour):>8}/h\n", "bold $accent"),
        (f"while on  {about + usd(cost.up_usd_per_hour):>8}/h\n", "$text-muted"),
        (f"while off {about + usd(cost.disk_usd_per_hour):>8}/h, its disk\n", "$text-muted"),
        (f"session   {usd(cost.session(now_t)):>8}\n", ""),
        (f"today     {usd(cost.today(now_t)):>8}\n", ""),
    ]
    most = max((day.usd for day in days), default=0.0) or 1.0
    for day in days[:MOST_DAYS]:
        full = round(day.usd / most * BAR)
        lines += [(f"{day.label:<9} {usd(day.usd):>8} ", "$text-muted"), ("█" * full + "\n", "$accent")]
    return Content.assemble(*lines)


def _no_price(host: HostView) -> str:
    """A VM always costs something; nobody has said yet how much."""
    if host.vm is None:
        return "This host costs nothing that t2v knows of."
    return (
        f"Not known: {host.vm.problem}"
        if host.vm.problem
        else f"◌ {host.vm.asked} was asked for its price, no answer yet"
    )
