"""The half of the app that hears: threads to the state, and the state to the screen that is up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.command import Provider
from textual.events import DescendantFocus, Event, Key, Paste
from textual.filter import LineFilter
from textual.message import Message
from textual.notifications import SeverityLevel
from textual.widget import Widget
from textual.widgets import Input

from remote.steps import Status
from t2v_core.errors import EngineError
from t2v_core.events import AlarmEvent
from t2v_core.workspace import Workspace
from t2v_tui import pasted
from t2v_tui.blinking import Blinking
from t2v_tui.library import trash
from t2v_tui.messages import EventReceived, Failed
from t2v_tui.palette import Actions
from t2v_tui.registry import SCREENS, load
from t2v_tui.screens.bases.base import Cockpit
from t2v_tui.settings import Tui
from t2v_tui.store.events import (
    HostsKnown,
    JobShown,
    LaunchClosed,
    LaunchLeft,
    LaunchSaid,
    LaunchTurned,
    MachineReceived,
    News,
    Remembered,
    RowsReceived,
    RunEnded,
)
from t2v_tui.store.reducer import reduce, shows_left
from t2v_tui.store.session import SessionMemory, remember
from t2v_tui.store.state import JobKey, JobView, LaunchPhase, LaunchView, State
from t2v_tui.text import notifications as notices
from t2v_tui.theme import DARK, LIGHT
from t2v_tui.typed_ahead import TypedAhead
from t2v_tui.widgets.video.asking import PictureApp
from t2v_tui.workers.crash_report import kept_in
from t2v_tui.workers.launch_controller import TAKE_BACK_S, Launcher
from t2v_tui.workers.services import Services
from t2v_tui.workers.streams import RunFollow
from t2v_tui.workers.subscriptions import Subscriptions

# Drawn at most so often, however much is heard; and so often though nothing is, while nothing is counted in seconds.
DRAW_INTERVAL_S, AT_REST_S = 0.1, 10.0
# So long the last step of a start can be read.
DONE_SHOWN_S = 2.0
REMEMBER_INTERVAL_S = 60.0


@dataclass
class RunReady(Message):
    """A followed job has said something; it is taken with the next drawing."""

    follow: RunFollow


def identity_of(folder: Path) -> tuple[int, int] | None:
    """Return which folder it is (device, inode), whatever its name; None when it is not there."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


class StateApp(PictureApp):
    """services: what talks to hosts; None shows the state and asks nobody, as tests of what is drawn do

    now: the clock, Unix seconds
    """

    TITLE = "t2v"
    CSS_PATH = Path(__file__).with_name("screens") / "app.tcss"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {Actions}

    def __init__(
        self,
        workspace: Workspace,
        *,
        services: Services | None,
        settings: Tui | None = None,
        state: State | None = None,
        memory: SessionMemory | None = None,
        now: Callable[[], float] = time.time,
        first: str = "",
    ) -> None:
        super().__init__()
        # Classes that style sheets ask for: what a terminal of that width and height has room for.
        self.HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-narrow"), (110, "-wide"), (170, "-vast")]
        self.VERTICAL_BREAKPOINTS = [(0, "-flat"), (15, "-short"), (30, "-tall")]
        self.workspace, self.services, self.settings, self.now = workspace, services, settings or Tui(), now
        memory = memory or SessionMemory()
        self.state = reduce(state or State(workspace.root), Remembered(memory.hosts, (), memory.host, memory.shown))
        if services is not None and not self.state.hosts:
            here = services.here()  # the others come with t2v.toml, and the chosen one may be among them
            self.state = replace(self.state, hosts={here.name: here})
        # Settings that were chosen for a verb, over those of t2v.toml.
        self.chosen: dict[str, Mapping[str, Any]] = dict(memory.chosen)
        self._first_screen = first
        self._workspace_was = identity_of(workspace.root)
        self.is_gone = False  # the workspace, moved or deleted while the app was open
        self.subscriptions = Subscriptions(services, self.from_thread, self._run_is_ready) if services else None
        self.closing = threading.Event()
        self.being_started: set[str] = set()  # VMs, asked of their provider, which has not said yet that they run
        self.launcher = Launcher(services, self.tell, self.from_thread)
        self._ready_runs: list[RunFollow] = []
        self._typed_ahead, self._blinking = TypedAhead(self), Blinking(may_blink=self.settings.animation)
        self._drawn_t, self._is_drawing_due, self._remembered_t = 0.0, False, time.monotonic()
        for entry in SCREENS:
            self.add_mode(entry.name, partial(load, entry))

    async def on_mount(self) -> None:
        """Set theme and keys, show the first screen, and begin to listen."""
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = self.settings.theme if self.settings.theme in self.available_themes else DARK.name
        if not self.settings.animation:
            self.animation_level = "none"
        self.set_keymap(dict(self.settings.keys))
        await self.switch_mode(self._first_screen or self._where_work_is())
        self.call_after_refresh(self.ask_for_pictures, "blocks" if self.settings.ascii else self.settings.pictures)
        self.set_interval(1.0, self._tick)
        if self.services is not None:
            threading.excepthook = kept_in(self.workspace, self.post_message)
            self.call_after_refresh(self.read_hosts)
            self.call_after_refresh(self.empty_trash)

    def _where_work_is(self) -> str:
        """The first page is for who has not trained anything yet."""
        has_trained = self.state.shown is not None or any(self.workspace.jobs.glob("*-train-*"))
        return "train" if has_trained else "welcome"

    @on(DescendantFocus)
    def _let_cursor_blink(self, event: DescendantFocus) -> None:
        self._blinking.stir(event.widget)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return the filters; with `--ascii` the last of them leaves no other sign."""
        filters = super().get_line_filters()
        if not self.settings.ascii:
            return filters
        from t2v_tui.text.ascii import Ascii  # only then

        return [*filters, Ascii()]

    # What is typed and pasted

    async def on_event(self, event: Event) -> None:
        """Hold back keys until it is their turn, and pastes that no entry takes."""
        if isinstance(event, Key | Paste) and not event.is_forwarded and not self._typed_ahead.passes(event):
            return
        if isinstance(event, Key | Paste):
            self._blinking.stir(self._in_hand)
        if not isinstance(event, Paste) or event.is_forwarded or self._takes(event):
            await super().on_event(event)

    def _takes(self, event: Paste) -> bool:
        """Make text of it, and say what was changed; False when there is no entry for it."""
        entry = self.focused
        if not isinstance(entry, Input):
            self.notify("pasted text goes into an entry, and none has the focus", timeout=4)
            return False
        event.text, said = pasted.as_text(event.text, keeps_lines=getattr(entry, "TAKES_LINES", False))
        if said:
            self.notify(said, timeout=4)
        return bool(event.text)

    # What is heard, and drawn

    def tell(self, news: News) -> None:
        """Take up what happened, and draw it soon; how a machine does is drawn alone, and only where it is shown."""
        if not self._advance(news):
            return
        if isinstance(news, MachineReceived):
            if (screen := self._cockpit_in_sight) is not None:
                screen.refresh_machine(self.state, self.now())
        elif not self._is_drawing_due:
            self._is_drawing_due = True
            self.set_timer(max(0.01, DRAW_INTERVAL_S - (time.monotonic() - self._drawn_t)), self._draw)

    def _advance(self, news: News) -> bool:
        """The next state, and what it brings with it; False when nothing changed."""
        before, self.state = self.state, reduce(self.state, news)
        if self.state is before:
            return False
        for job in notices.ended_between(before, self.state):
            self._say_ended(job)
        for job, alarm in notices.alarms_between(before, self.state):
            self._say_alarm(job, alarm)
        if (before.shown, before.host) != (self.state.shown, self.state.host):
            self.remember()
        phases = [state.launch.phase if state.launch else None for state in (before, self.state)]
        if phases[0] is not phases[1] and phases[1] is LaunchPhase.DONE:
            self.set_timer(DONE_SHOWN_S, self._close_launch)
        return True

    def _close_launch(self) -> None:
        """The curve takes its place again."""
        if self.state.launch is not None and self.state.launch.phase is LaunchPhase.DONE:
            self.tell(LaunchClosed())

    def from_thread(self, news: News) -> None:
        """Take up what happened, from any thread."""
        self.post_message(EventReceived(news))

    @on(EventReceived)
    def _heard(self, message: EventReceived) -> None:
        self.tell(message.news)
        match message.news:
            case HostsKnown() if self.subscriptions is not None:
                self.subscriptions.listen(self.state)
            case RunEnded(job) if self.subscriptions is not None:
                self.subscriptions.has_ended(job)
            case RowsReceived() | Remembered():
                self._show_something()
            case LaunchTurned(LaunchPhase.WORKING, job) if job is not None:
                self._has_job(job)
            case LaunchTurned(LaunchPhase.FAILED):
                self._say_failed_start()
            case LaunchSaid(step) if step.name == "VM" and self.state.launch is not None:
                self.wake(self.state.launch.host)
            case LaunchLeft(host, step):
                self.wake(host)
                if step.status is not Status.OK and not shows_left(self.state, host):
                    self.notify(step.hint, title=step.detail, severity="warning", timeout=12, markup=False)

    @property
    def launch_in_sight(self) -> LaunchView | None:
        """Return the start of work that the screen that is up shows; None when there is none."""
        launch = self.state.launch
        return launch if launch is not None and launch.screen == self.current_mode else None

    def _has_job(self, job: JobKey) -> None:
        """The screen that started it takes it up, wherever the user is by now, and the next start is begun."""
        launch = self.state.launch
        if launch is None:
            return
        for screen in self.get_screen_stack(launch.screen):
            if isinstance(screen, Cockpit):
                screen.has_started(job)
        if launch.verb != "train":  # nobody waits for its first loss
            self.set_timer(TAKE_BACK_S, partial(self._close_begun, job))
        self.launcher.go_on(self.state, self.now())
        now = self.state.launch
        if now is not None and now.phase is LaunchPhase.ASKING and self.launch_in_sight is None:
            self.notify(f"{now.verb} on {now.host} will cost: its screen asks for a yes", timeout=8, markup=False)

    def _close_begun(self, job: JobKey) -> None:
        """The panel has nothing more to say of a job that cannot be taken back."""
        launch = self.state.launch
        if launch is not None and launch.job == job and launch.phase is LaunchPhase.WORKING:
            self.tell(LaunchClosed())

    def _say_failed_start(self) -> None:
        """Where its panel is not in sight."""
        launch = self.state.launch
        step = launch.failed_step if launch is not None and self.launch_in_sight is None else None
        if step is not None:
            self.post_message(Failed(step.detail, step.hint))

    def _run_is_ready(self, follow: RunFollow) -> None:
        self.post_message(RunReady(follow))

    @on(RunReady)
    def _take_soon(self, message: RunReady) -> None:
        self._ready_runs.append(message.follow)
        if not self._is_drawing_due:
            self._is_drawing_due = True
            self.set_timer(DRAW_INTERVAL_S, self._draw)

    def _draw(self) -> None:
        self._is_drawing_due, self._drawn_t = False, time.monotonic()
        ready, self._ready_runs = self._ready_runs, []
        for follow in ready:
            self._advance(follow.take())
        if self.subscriptions is not None:
            self.subscriptions.state = self.state
        if (screen := self._cockpit_in_sight) is not None:
            screen.refresh_all(self.state, self.now())

    @property
    def _in_hand(self) -> Widget | None:
        """What has the focus; nothing before the first screen and after the last."""
        return self.screen_stack[-1].focused if self.screen_stack else None

    @property
    def _cockpit_in_sight(self) -> Cockpit | None:
        """The screen that is up, whatever panel lies over it."""
        return next((one for one in reversed(self.screen_stack) if isinstance(one, Cockpit)), None)

    def _tick(self) -> None:
        """Draw what reads differently with time: each second, or every ten where nothing is counted in seconds."""
        now = time.monotonic()
        if not self.state.is_at_rest or now - self._drawn_t >= AT_REST_S:
            self._draw()
        self._blinking.rest(self._in_hand)
        self._look_at_workspace()
        if now - self._remembered_t > REMEMBER_INTERVAL_S:
            self.remember()

    def _look_at_workspace(self) -> None:
        """Where it was deleted, nobody listens any more: what is heard would make half of it again without a word."""
        is_now = identity_of(self.workspace.root)
        if self._workspace_was is None:
            self._workspace_was = is_now
        elif is_now != self._workspace_was and not self.is_gone and self.services is not None:
            self.is_gone = True
            if self.subscriptions is not None:
                self.subscriptions.close()
                self.subscriptions = None
            self.say_gone()

    def say_gone(self) -> None:
        """Show a notice that the workspace was moved or deleted, and what can be done."""
        self.post_message(
            Failed(
                f"the workspace {self.workspace.root} is no longer there",
                "it was moved or deleted while this app was open: nothing is saved, started or listened to any more. "
                "Put it back, or press q and open another; jobs on hosts go on",
            )
        )

    def remember(self) -> None:
        """Save the state for the next first paint, unless the workspace is gone."""
        self._remembered_t = time.monotonic()
        if self.services is not None and self.state.hosts and not self.is_gone:
            remember(self.workspace, self.state, self.chosen)

    def _show_something(self) -> None:
        """The job that was shown, else the training that runs, else the newest."""
        if self.state.shown is None:
            trainings = [job for job in self.state.jobs.values() if job.row.verb == "train"]
            if trainings:
                newest = max(trainings, key=lambda job: (not job.row.has_ended, job.row.began_t))
                self.tell(JobShown(newest.key))
        if self.state.shown is not None and self.state.shown in self.state.jobs and self.subscriptions is not None:
            self.subscriptions.follow(self.state.shown)

    def _say_ended(self, job: JobView) -> None:
        title, text = notices.notification_of(job)
        severity: SeverityLevel = "error" if job.row.state in ("failed", "lost") else "information"
        self.notify(text or " ", title=title, severity=severity, timeout=8, markup=False)
        if self.settings.bell:
            self.bell()
        if self._driver is not None and not self._driver.is_headless:
            self._driver.write(notices.as_window_title(title))
        self._run_hook("on_job_end", self.settings.on_job_end, job)

    def _say_alarm(self, job: JobView, alarm: AlarmEvent) -> None:
        title, text = notices.words_of_alarm(job, alarm)
        self.notify(text or " ", title=title, severity="warning", timeout=12, markup=False)
        if self.settings.bell:
            self.bell()
        self._run_hook("on_alarm", self.settings.on_alarm, job, alarm)

    def _run_hook(self, name: str, command: str, job: JobView, alarm: AlarmEvent | None = None) -> None:
        if not command or self.services is None:
            return
        try:
            notices.run_hook(command, job, alarm)
        except (OSError, ValueError) as error:
            self.post_message(Failed(f"[tui] {name} cannot be run: {error}", "write it as one command line"))

    # Who listens

    @work(thread=True, exclusive=True, group="hosts", exit_on_error=False)
    def read_hosts(self) -> None:
        """Read the hosts of t2v.toml, and what is remembered of their jobs."""
        assert self.services is not None
        try:
            self.from_thread(HostsKnown(self.services.hosts()))
            self.from_thread(Remembered({}, self.services.remembered(), self.state.host, self.state.shown))
        except EngineError as error:
            self.from_thread(HostsKnown((self.services.here(),)))
            self.post_message(Failed(error.message, error.hint))

    @work(thread=True, group="trash", exit_on_error=False)
    def empty_trash(self) -> None:
        """Delete for good what was deleted more than a day ago; with `--read-only` nothing."""
        if self.state.is_read_only:
            return
        try:
            trash.empty(self.workspace, before_t=time.time() - trash.KEPT_S)
        except OSError as error:
            self.post_message(Failed(f"the trash cannot be emptied: {error}", "see who owns .t2v/trash"))

    def wake(self, host: str) -> None:
        """Ask it now; any thread may."""
        if self.subscriptions is not None:
            self.subscriptions.wake(host)

    def on_unmount(self) -> None:
        """Stop listening, and tell threads that the app closes."""
        self.closing.set()
        if self.subscriptions is not None:
            self.subscriptions.close()
