"""The app: wires threads to the state and the state to the screen that is up. It decides nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from textual import on, work
from textual.app import App
from textual.binding import BindingType
from textual.screen import Screen

from t2v_core.errors import EngineError
from t2v_core.workspace import Workspace
from t2v_tui import keys
from t2v_tui.keys import Key, bindings_for, keys_for, with_keymap
from t2v_tui.messages import Failed, FollowJob, GoTo, Heard, ShowJob, StartWork, StopWork
from t2v_tui.news import HostChosen, HostsKnown, JobShown, News, Remembered, RunEnded
from t2v_tui.reduce import reduce
from t2v_tui.screens import SCREENS, entry_of, load
from t2v_tui.screens.base import Cockpit
from t2v_tui.services import Services
from t2v_tui.settings import Tui
from t2v_tui.state import JobKey, State
from t2v_tui.streams import HostPoll, MachineWatch, RunFollow, Stream
from t2v_tui.theme import DARK, LIGHT

# Drawn at most so often, however much is heard.
DRAW_INTERVAL_S = 0.1


class CockpitApp(App[None]):
    """services: what talks to hosts; None shows the state and asks nobody, as tests of what is drawn do

    now: the clock, Unix seconds
    """

    TITLE = "t2v"
    CSS_PATH = "screens/app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for(keys.EVERYWHERE)]

    def __init__(
        self,
        workspace: Workspace,
        *,
        services: Services | None,
        settings: Tui | None = None,
        state: State | None = None,
        now: Callable[[], float] = time.time,
        first: str = "",
    ) -> None:
        super().__init__()
        # Classes that style sheets ask for: what a terminal of that width and height has room for.
        self.HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-narrow"), (110, "-wide")]
        self.VERTICAL_BREAKPOINTS = [(0, "-flat"), (15, "-short"), (30, "-tall")]
        self.workspace, self.services, self.settings, self.now = workspace, services, settings or Tui(), now
        self.state = state or State(workspace.root)
        self._first = first
        self._polls: dict[str, HostPoll] = {}
        self._follows: dict[JobKey, RunFollow] = {}
        self._machine: MachineWatch | None = None
        self._pieces: list[RunFollow] = []
        self._drawn_t, self._is_drawing_due = 0.0, False
        for entry in SCREENS:
            self.add_mode(entry.name, partial(load, entry))

    def on_mount(self) -> None:
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = self.settings.theme if self.settings.theme in self.available_themes else DARK.name
        self.set_keymap(dict(self.settings.keys))
        self.switch_mode(self._first or ("train" if self.state.shown else "welcome"))
        self.set_interval(1.0, self._draw)
        if self.services is not None:
            self.call_after_refresh(self._read_hosts)

    # What is heard, and drawn

    def tell(self, news: News) -> None:
        """Take up what happened; threads post `Heard` instead."""
        before, self.state = self.state, reduce(self.state, news)
        if self.state is not before:
            self._draw_soon()

    def _tell_from_thread(self, news: News) -> None:
        self.post_message(Heard(news))

    @on(Heard)
    def _heard(self, message: Heard) -> None:
        self.tell(message.news)
        if isinstance(message.news, HostsKnown):
            self._listen()
        elif isinstance(message.news, RunEnded):
            self._follows.pop(message.news.job, None)

    def _draw_soon(self) -> None:
        if not self._is_drawing_due:
            self._is_drawing_due = True
            self.set_timer(max(0.01, DRAW_INTERVAL_S - (time.monotonic() - self._drawn_t)), self._draw)

    def _draw(self) -> None:
        self._is_drawing_due, self._drawn_t = False, time.monotonic()
        ready, self._pieces = self._pieces, []
        for follow in ready:
            self.state = reduce(self.state, follow.take())
        if isinstance(self.screen, Cockpit):
            self.screen.refresh_all(self.state, self.now())

    # Who listens

    @work(thread=True, exclusive=True, group="hosts", exit_on_error=False)
    def _read_hosts(self) -> None:
        assert self.services is not None  # noqa: S101 - for the type checker
        try:
            self._tell_from_thread(HostsKnown(self.services.hosts()))
            self._tell_from_thread(Remembered({}, self.services.remembered(), self.state.host, self.state.shown))
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))

    def _listen(self) -> None:
        """A poll for each host, and the gauges of the chosen one."""
        if self.services is None:
            return
        for name in self.state.hosts:
            if name not in self._polls:
                self._polls[name] = HostPoll(name, self.services, self._tell_from_thread)
                self._polls[name].start()
        for name in [name for name in self._polls if name not in self.state.hosts]:
            self._polls.pop(name).close()
        self._watch_machine()

    def _watch_machine(self) -> None:
        if self.services is None or (self._machine is not None and self._machine.host == self.state.host):
            return
        if self._machine is not None:
            self._machine.close()
        self._machine = MachineWatch(self.state.host, self.services, self._tell_from_thread)
        self._machine.start()

    def follow(self, job: JobKey) -> None:
        """Listen to a job until it has ended."""
        if self.services is not None and job not in self._follows:
            self._follows[job] = RunFollow(job, self.services, self._tell_from_thread, self._run_is_ready)
            self._follows[job].start()

    def _run_is_ready(self, follow: RunFollow) -> None:
        self.call_next(self._take_later, follow)

    def _take_later(self, follow: RunFollow) -> None:
        self._pieces.append(follow)
        self._draw_soon()

    @property
    def streams(self) -> list[Stream]:
        return [*self._polls.values(), *self._follows.values(), *([self._machine] if self._machine else [])]

    def on_unmount(self) -> None:
        for stream in self.streams:
            stream.close()

    # What screens ask

    @on(GoTo)
    async def _go_to(self, message: GoTo) -> None:
        await self.action_go(message.screen)
        if message.arrival is not None and isinstance(self.screen, Cockpit):
            self.screen.arrive(message.arrival)

    @on(ShowJob)
    def _show_job(self, message: ShowJob) -> None:
        self.tell(JobShown(message.job))
        self.follow(message.job)

    @on(FollowJob)
    def _follow_job(self, message: FollowJob) -> None:
        self.follow(message.job)

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        self.notify(message.hint or " ", title=message.message, severity="error", timeout=12, markup=False)

    @on(StartWork)
    def _start_work(self, message: StartWork) -> None:
        self._submit(message.verb, dict(message.values), message.host or self.state.host, message.then)

    @work(thread=True, group="submit", exit_on_error=False)
    def _submit(self, verb: str, values: dict[str, Any], host: str, then: str) -> None:
        assert self.services is not None  # noqa: S101
        try:
            made = self.services.submit(host, verb, self.services.spec(verb, values))
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))
            return
        self.post_message(ShowJob(JobKey(host, made.job)))
        if then:
            self.post_message(GoTo(then))

    @on(StopWork)
    def _stop_work(self, message: StopWork) -> None:
        self._stop(message.job)

    @work(thread=True, group="stop", exit_on_error=False)
    def _stop(self, job: JobKey) -> None:
        assert self.services is not None  # noqa: S101
        try:
            self.services.stop(job)
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))

    # Keys

    def keys_for(self, where: str) -> list[Key]:
        """The keys of a pane, as the user has set them."""
        return with_keymap(keys_for(where, is_read_only=self.state.is_read_only), self.settings.keys)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """`--read-only` leaves out what starts, ends, changes or costs something."""
        if action == "go":
            return bool(parameters) and entry_of(str(parameters[0])) is not None
        if self.state.is_read_only and any(key.writes and key.action == action for key in keys.KEYS):
            return False
        return super().check_action(action, parameters)

    async def action_go(self, screen: str) -> None:
        await self.switch_mode(screen)

    async def action_back(self) -> None:
        """Up one level: a panel away, else to Train; never out of the app."""
        if len(self.screen_stack) > 1:
            self.screen.dismiss(None)
        elif self.current_mode not in ("train", "welcome"):
            await self.switch_mode("train")

    def action_next_theme(self) -> None:
        names = [DARK.name, LIGHT.name, "ansi-dark", "ansi-light"]
        names = [name for name in names if name in self.available_themes]
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]

    def action_reconnect(self) -> None:
        if (poll := self._polls.get(self.state.host)) is not None:
            poll.wake()

    def choose_host(self, host: str) -> None:
        """Work goes there from now on."""
        self.tell(HostChosen(host))
        self._watch_machine()

    def get_default_screen(self) -> Screen[Any]:
        return Screen(id="_default")
