"""A start of work as it goes: what it will take, its steps, and what can be done about it now."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input

from remote.steps import Status, StepState
from t2v_core.format import usd
from t2v_tui.keys import bindings_for
from t2v_tui.store.state import HostKind, LaunchPhase, LaunchView, State
from t2v_tui.text.dependency import at_work_for, how_far
from t2v_tui.text.job_words import job_in_words
from t2v_tui.widgets.chrome import Block
from t2v_tui.workers.launch_controller import OVER, can_take_back

if TYPE_CHECKING:
    from t2v_tui.app import CockpitApp

GLYPHS = {Status.OK: "✓", Status.DONE: "✓", Status.DOING: "◔", Status.NOTE: "!", Status.FAILED: "✗"}
STYLES = {
    Status.OK: "$success", Status.DONE: "$success", Status.DOING: "$accent", Status.NOTE: "$warning",
    Status.FAILED: "$error",
}  # fmt: skip
# What comes next, dim, so that one sees how far it is.
HERE: tuple[str, ...] = ("checkpoints", "data", "disk", "launch", "first loss")
SSH: tuple[str, ...] = ("SSH", "data", "code", "environment", "disk", "launch", "first loss")
# Steps of a training only.
TRAININGS = ("checkpoints", "data", "first loss")
NAME_WIDTH = 13
LAST_LINES = 20


class LaunchKeys:
    """What the keys of a start do, on whatever shows one."""

    app: Any

    @property
    def _cockpit(self) -> CockpitApp:
        return cast("CockpitApp", self.app)  # nothing else shows a start

    def action_agree(self) -> None:
        """Say yes to the start that asks, and start what costs."""
        self._cockpit.launches.agree()

    def action_again(self) -> None:
        """Try a start again that failed or was cancelled."""
        self._again()

    def action_go_on(self) -> None:
        """Try a training again from the last checkpoint."""
        self._again(is_training=True, resume=True)

    def action_begin_anew(self) -> None:
        """Try a training again as another run, in a folder of its own."""
        folder = f"checkpoints/{time.strftime('%Y%m%d-%H%M', time.localtime(self._cockpit.now()))}"
        self._again(is_training=True, checkpoints=folder, resume=False)

    def _again(self, *, is_training: bool = False, **otherwise: Any) -> None:
        app = self._cockpit
        if app.state.launch is not None and (app.state.launch.verb == "train" or not is_training):
            app.launches.again(**otherwise)


class LaunchPanel(LaunchKeys, Vertical):
    """Takes the curve's place while something is started; what can be done now is always in sight."""

    PANE = "launch"
    _phase: LaunchPhase | None = None

    def compose(self) -> ComposeResult:
        """Lay out the steps, which scroll, over what can be done now."""
        with VerticalScroll(id="launch-steps"):
            yield Block(id="launch-text")
        yield Block(id="launch-now")

    def show(self, state: State, now_t: float) -> None:
        """Draw the start of work as it is now; without one nothing changes."""
        if state.launch is None:
            return
        width = max(40, self.width - 2)
        self.query_one("#launch-text", Block).show(text_of(state, state.launch, width), layout=True)
        if state.launch.phase is not self._phase:
            self._phase = state.launch.phase
            if state.launch.tail:  # its end says why
                self.call_after_refresh(self.query_one("#launch-steps").scroll_end, animate=False)
        now = Content.assemble(*_what_now(state, state.launch, now_t))
        self.query_one("#launch-now", Block).show(now, layout=True)

    @property
    def width(self) -> int:
        """Return the cells of a line, as it is laid out now."""
        return self.size.width


class LaunchDrawer(LaunchPanel):
    """The same at the foot of another screen, as long as something that was started there is on its way.

    It takes the focus when one of its keys is wanted, and gives it back then; an entry that somebody may write in keeps
    it, but for the question of what costs, which only a press on that screen asks.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("launch")]

    def __init__(self, screen: str) -> None:
        super().__init__(classes="pane")
        self._of = screen
        self._seen: tuple[float, LaunchPhase] | None = None  # when it began, and how far it was
        self._had_focus: Widget | None = None

    @property
    def width(self) -> int:
        """Return the cells of a line: it is drawn before it is laid out."""
        return self.screen.size.width - 4

    def show(self, state: State, now_t: float) -> None:
        """Draw the start of work that is this screen's; else be away."""
        launch = state.launch if state.launch is not None and state.launch.screen == self._of else None
        if launch is None:
            self._give_focus_back()
            self._seen = None
            self.remove_class("-open")
            return
        self.add_class("-open")
        self.border_title = f"start · {launch.waiting} more wait" if launch.waiting else "start"
        super().show(state, now_t)
        if self._seen != (launch.began_t, launch.phase):
            self._seen = launch.began_t, launch.phase
            self._move_focus(launch.phase)

    def _move_focus(self, phase: LaunchPhase) -> None:
        is_written = isinstance(self.screen.focused, Input)
        if phase is LaunchPhase.ASKING or (phase in OVER and phase is not LaunchPhase.DONE and not is_written):
            if not self.has_focus_within:
                self._had_focus = self.screen.focused
                self.take_focus()
        else:
            self._give_focus_back()

    def take_focus(self) -> None:
        """Let its keys be heard."""
        self.query_one("#launch-steps").focus()

    def _give_focus_back(self) -> None:
        if self.has_focus_within:
            self.screen.set_focus(self._had_focus)


def text_of(state: State, launch: LaunchView, width: int) -> Content:
    """Return all of it, a line each, wrapped beside the names."""
    head, _, chosen = launch.title.partition("\n")
    parts: list[tuple[str, str]] = [(f"{head}\n", "bold"), (f"{chosen}\n" if chosen else "", "$text-muted")]
    if launch.verb == "train":
        parts += [(f"{line}\n", "$text-muted") for line in launch.estimate or ("estimating what it will take …",)]
    parts.append(("\n", ""))
    for step in launch.steps:
        parts += _step(_with_what_goes_before(step, state, launch), width)
    said = {step.name for step in launch.steps}
    if launch.phase in (LaunchPhase.ASKING, LaunchPhase.WORKING):
        parts += [(f"  {name}\n", "$text-muted") for name in steps_of(state, launch) if name not in said]
    if launch.tail:
        parts.append(("\n", ""))
        parts += [(f"│ {line}\n", "$text-muted") for line in launch.tail[-LAST_LINES:]]
    return Content.assemble(*parts)


def steps_of(state: State, launch: LaunchView) -> tuple[str, ...]:
    """Return what a launch goes through, on that kind of host."""
    host = state.hosts.get(launch.host)
    is_here = host is None or host.kind is HostKind.LOCAL or (host.vm is not None and host.vm.is_simulated)
    vm = ("VM",) if host is not None and host.vm is not None else ()
    steps = vm + (HERE if is_here else SSH)
    return steps if launch.verb == "train" else tuple(step for step in steps if step not in TRAININGS)


def _with_what_goes_before(step: StepState, state: State, launch: LaunchView) -> StepState:
    """A job that waits says for which one."""
    job = state.jobs.get(launch.job) if launch.job else None
    if step.status is not Status.DOING or job is None or job.row.state != "queued":
        return step
    before = state.jobs.get(at_work_for(state, job.key))
    words = how_far(before, state) if before is not None and before.key != job.key else job_in_words(job.row)
    return StepState(step.name, step.status, words)


def _step(step: StepState, width: int) -> list[tuple[str, str]]:
    indent = " " * (NAME_WIDTH + 2)
    detail = textwrap.wrap(step.detail, width - len(indent), break_on_hyphens=False) or [""]
    is_bad, has_hint = step.status is Status.FAILED, step.status in (Status.FAILED, Status.NOTE)
    lines = [
        (f"{GLYPHS[step.status]} ", STYLES[step.status]),
        (f"{step.name:<{NAME_WIDTH}}", ""),
        (f"\n{indent}".join(detail) + "\n", "$error" if is_bad else "$text-muted"),
    ]
    if has_hint and step.hint:
        hint = textwrap.wrap(step.hint, width - len(indent) - 2, break_on_hyphens=False)
        lines.append((f"{indent}→ " + f"\n{indent}  ".join(hint) + "\n", ""))
    return lines


def _what_now(state: State, launch: LaunchView, now_t: float) -> list[tuple[str, str]]:
    """The keys that do something now, each with what it does."""
    match launch.phase:
        case LaunchPhase.ASKING:
            cost = state.hosts[launch.host].cost if launch.host in state.hosts else None
            price = f"{usd(cost.up_usd_per_hour)}/h" if cost and cost.up_usd_per_hour else "by the hour"
            return [("y", "bold $accent"), (f" starts {launch.host}, which then costs {price}   ", ""),
                    ("esc", "bold $accent"), (" cancels", "")]  # fmt: skip
        case LaunchPhase.WORKING if can_take_back(state, now_t):
            return [("esc", "bold $accent"), (" cancels", "")]
        case LaunchPhase.WORKING:
            return [("it runs; ", ""), ("esc", "bold $accent"), (" closes this, ", ""), ("x", "bold $accent"),
                    (" stops it", "")]  # fmt: skip
        case LaunchPhase.FAILED:
            others = [("u", "bold $accent"), (" resumes the last   ", ""), ("n", "bold $accent"),
                      (" another run   ", "")]  # fmt: skip
            return [("r", "bold $accent"), (" tries again   ", ""), *(others if launch.verb == "train" else []),
                    ("esc", "bold $accent"), (" closes this", "")]  # fmt: skip
        case LaunchPhase.CANCELLED:
            return [("cancelled; ", ""), ("r", "bold $accent"), (" begins again, ", ""), ("esc", "bold $accent"),
                    (" closes this", "")]  # fmt: skip
    return [("esc", "bold $accent"), (" closes this", "")]
