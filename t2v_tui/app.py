"""The app: passes on what screens ask and what keys say; controllers/ does it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on, work
from textual.binding import BindingType
from textual.command import Provider
from textual.events import DescendantFocus, Event, Paste
from textual.filter import LineFilter
from textual.screen import Screen
from textual.widget import Widget

from t2v_core.errors import EngineError
from t2v_core.workspace import Workspace
from t2v_tui import keys, pasted
from t2v_tui.blinking import Blinking
from t2v_tui.controllers.command_log import CommandLog
from t2v_tui.controllers.job_files import JobFiles
from t2v_tui.controllers.job_notices import JobNotices
from t2v_tui.controllers.job_requests import JobRequests
from t2v_tui.controllers.launches import Launches
from t2v_tui.controllers.listening import Listening
from t2v_tui.controllers.live_state import LiveState, RunReady, first_state
from t2v_tui.controllers.settings_form import SettingsForm
from t2v_tui.controllers.write_guard import WriteGuard
from t2v_tui.keys import Key, bindings_for, keys_for, with_keymap
from t2v_tui.library import trash
from t2v_tui.messages import CommandRan, EventReceived, Failed, FollowJob, GoTo, Notice, ShowJob, StartWork, StopWork
from t2v_tui.palette import Actions
from t2v_tui.registry import SCREENS, Entry, entry_of, load
from t2v_tui.screens.bases.base import Cockpit
from t2v_tui.settings import Tui
from t2v_tui.store.events import HostChosen, JobShown
from t2v_tui.store.session import SessionMemory, remember
from t2v_tui.store.state import HostKind, Reach, State
from t2v_tui.theme import DARK, LIGHT, without_colour
from t2v_tui.typed_ahead import TypedAhead
from t2v_tui.widgets.video.asking import PictureApp
from t2v_tui.workers.crash_report import kept_in
from t2v_tui.workers.launch_worker import Wanted
from t2v_tui.workers.services import Services

if TYPE_CHECKING:
    from remote.replies.files import OpenModelEntry

# What the app ends with when the demo is wanted instead.
DEMO = "demo"
REMEMBER_INTERVAL_S = 60.0


class CockpitApp(PictureApp):
    """services: what talks to hosts; None shows the state and asks nobody, as tests of what is drawn do

    now: the clock, Unix seconds
    """

    TITLE = "t2v"
    CSS_PATH = Path(__file__).with_name("screens") / "app.tcss"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {Actions}
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for(keys.EVERYWHERE)]

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
        self.being_started: set[str] = set()  # VMs, asked of their provider, which has not said yet that they run
        self.closing = threading.Event()
        shown_first = first_state(workspace, services, state, memory)
        self.live = LiveState(
            self, shown_first, changed=self._changed, draw=self._draw, draw_machine=self._draw_machine
        )
        self.listening = Listening(self, self.live, services)
        self.launches = Launches(self, self.live, services, now, self.listening.wake)
        self.requests = JobRequests(self, self.live, services, now)
        self.files = JobFiles(workspace, services)
        self._notices = JobNotices(self, self.settings, runs_commands=services is not None)
        self.commands = CommandLog(workspace.root / ".t2v/tui/commands.jsonl" if services is not None else None)
        self.guard = WriteGuard(self, self.live, workspace.root)
        self.form = SettingsForm(self, workspace, memory.chosen, self.remember, self._models_of_host)
        self._typed_ahead, self._blinking = TypedAhead(self), Blinking(may_blink=self.settings.animation)
        self._first_screen, self._remembered_t = first, time.monotonic()
        for entry in SCREENS:
            self.add_mode(entry.name, partial(self._made, entry))

    def _made(self, entry: Entry) -> Cockpit:
        """A screen that was not up yet; beside another it comes in the theme that this one has.

        Textual takes it for one of another theme, and so reads all style sheets again, twice: 50 ms.
        """
        screen = load(entry)
        if isinstance(self.screen, Cockpit):
            screen._css_update_count = self._css_update_count
        return screen

    @property
    def state(self) -> State:
        """Return all that is known now."""
        return self.live.state

    async def on_mount(self) -> None:
        """Set theme and keys, show the first screen, and begin to listen."""
        for theme in (DARK, LIGHT):
            self.register_theme(without_colour(theme) if self.no_color else theme)
        self.theme = self.settings.theme if self.settings.theme in self.available_themes else DARK.name
        if not self.settings.animation:
            self.animation_level = "none"
        self.set_keymap(dict(self.settings.keys))
        await self.switch_mode(self._first_screen or self._where_work_is())
        self.call_after_refresh(self.ask_for_pictures, "blocks" if self.settings.ascii else self.settings.pictures)
        self.set_interval(1.0, self._tick)
        if self.services is not None:
            threading.excepthook = kept_in(self.workspace, self.post_message)
            self.call_after_refresh(self.listening.read_hosts)
            self.call_after_refresh(self.empty_trash)

    def _where_work_is(self) -> str:
        """The first page is for who has not trained anything yet."""
        has_trained = self.state.shown is not None or any(self.workspace.jobs.glob("*-train-*"))
        return "train" if has_trained else "welcome"

    def on_unmount(self) -> None:
        """Stop listening, and tell threads that the app closes."""
        self.closing.set()
        self.listening.close()

    # What is drawn

    def get_default_screen(self) -> Screen[Any]:
        """Return an empty screen; the modes bring their own."""
        return Screen(id="_default")

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

    def _draw(self) -> None:
        self.listening.note_state()
        if (screen := self._cockpit_in_sight) is not None:
            screen.refresh_all(self.state, self.now())

    def _draw_machine(self) -> None:
        if (screen := self._cockpit_in_sight) is not None:
            screen.refresh_machine(self.state, self.now())

    @property
    def _cockpit_in_sight(self) -> Cockpit | None:
        """The screen that is up, whatever panel lies over it."""
        return next((one for one in reversed(self.screen_stack) if isinstance(one, Cockpit)), None)

    @property
    def _in_hand(self) -> Widget | None:
        """What has the focus; nothing before the first screen and after the last."""
        return self.screen_stack[-1].focused if self.screen_stack else None

    def _tick(self) -> None:
        """Do what each second brings, whatever is heard."""
        self.live.tick()
        self._blinking.rest(self._in_hand)
        if self.services is not None and self.guard.find_gone():
            self.listening.close()  # what is heard would make half of it again without a word
        if time.monotonic() - self._remembered_t > REMEMBER_INTERVAL_S:
            self.remember()

    def remember(self) -> None:
        """Save the state for the next first paint, unless the workspace is gone."""
        self._remembered_t = time.monotonic()
        if self.services is not None and self.state.hosts and not self.guard.is_gone:
            remember(self.workspace, self.state, self.form.chosen)

    # What is typed and pasted

    async def on_event(self, event: Event) -> None:
        """Hold back keys until it is their turn, and pastes that no entry takes."""
        if isinstance(event, events.Key | Paste) and not event.is_forwarded and not self._typed_ahead.passes(event):
            return
        if isinstance(event, events.Key | Paste):
            self._blinking.stir(self._in_hand)
        if not isinstance(event, Paste) or event.is_forwarded or pasted.is_taken_by(self.focused, event, self.notify):
            await super().on_event(event)

    # What is heard

    @on(EventReceived)
    def _heard(self, message: EventReceived) -> None:
        self.live.tell(message.news)
        self.listening.heard(message.news)
        self.launches.heard(message.news)

    @on(RunReady)
    def _take_soon(self, message: RunReady) -> None:
        self.live.take_soon(message.follow)

    def _changed(self, before: State) -> None:
        self._notices.say_changes(before, self.state)
        if (before.shown, before.host) != (self.state.shown, self.state.host):
            self.remember()
        self.launches.changed(before)

    # What screens ask

    @on(GoTo)
    async def _go_to(self, message: GoTo) -> None:
        await self.action_go(message.screen)
        if message.arrival is not None and isinstance(self.screen, Cockpit):
            self.screen.arrive(message.arrival)

    @on(ShowJob)
    def _show_job(self, message: ShowJob) -> None:
        self.live.tell(JobShown(message.job))
        self.listening.follow(message.job)

    @on(FollowJob)
    def _follow_job(self, message: FollowJob) -> None:
        self.listening.follow(message.job)

    @on(Failed)
    def _failed_notice(self, message: Failed) -> None:
        self.notify(message.hint or " ", title=message.message, severity="error", timeout=12, markup=False)

    @on(CommandRan)
    def _note_command(self, message: CommandRan) -> None:
        if self.guard.is_gone:
            return
        try:
            self.commands.note(message.line, self.now())
        except (OSError, EngineError) as error:
            self.post_message(Failed(f"what keys do is not kept: {error}", "see who owns .t2v/tui of the workspace"))

    @on(Notice)
    def _told_notice(self, message: Notice) -> None:
        self.notify(message.text, timeout=4, markup=False)

    @on(StartWork)
    def _start_work(self, message: StartWork) -> None:
        if self.guard.may_change():
            host = message.host or self.state.host
            self.launches.begin(Wanted(message.verb, host, message.values, self.current_mode, message.sends))

    @on(StopWork)
    def _stop_work(self, message: StopWork) -> None:
        if self.guard.may_change():
            self.requests.stop_after_yes(message.job)

    @work(thread=True, group="trash", exit_on_error=False)
    def empty_trash(self) -> None:
        """Delete for good what was deleted more than a day ago; with `--read-only` nothing."""
        if self.state.is_read_only:
            return
        try:
            trash.empty(self.workspace, before_t=time.time() - trash.KEPT_S)
        except OSError as error:
            self.post_message(Failed(f"the trash cannot be emptied: {error}", "see who owns .t2v/trash"))

    @work(exclusive=True, group="settings")
    async def choose_settings(self, verb: str) -> None:
        """Ask for a verb's settings, and start a training when that is wanted."""
        if await self.form.ask(verb):
            await self.action_start_training()

    def _models_of_host(self) -> Sequence[OpenModelEntry]:
        """The open models of the chosen host; none while it is not heard. Blocks: a thread asks."""
        from t2v_tui.library.on_host import models_there

        host = self.state.chosen
        if self.services is None or not (host.kind is HostKind.LOCAL or host.link.reach is Reach.UP):
            return ()
        try:
            return models_there(self.services.jobs(host.name))
        except EngineError:  # the headline says that it is not heard
            return ()

    def exit_to_demo(self) -> None:
        """Leave; whoever opened this app opens the demo's."""
        self.exit(DEMO)

    # Keys

    def keys_for(self, where: str) -> list[Key]:
        """Return the keys of a pane, as the user has set them."""
        return with_keymap(keys_for(where, is_read_only=self.state.is_read_only), self.settings.keys)

    def writing_keys_for(self, where: str) -> list[Key]:
        """Return those of a pane that `--read-only` leaves out."""
        return with_keymap([key for key in keys_for(where) if key.writes], self.settings.keys)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Refuse screens that do not exist and, with `--read-only`, what starts, ends, changes or costs something."""
        if action == "go":
            return bool(parameters) and entry_of(str(parameters[0])) is not None
        if self.state.is_read_only and any(key.writes and key.action == action for key in keys.KEYS):
            return False
        return super().check_action(action, parameters)

    async def run_key(self, key: Key) -> None:
        """Do what a key does, on the pane it belongs to."""
        target: Any = self if key.where == keys.EVERYWHERE else self.screen
        if key.where not in (keys.EVERYWHERE, getattr(self.screen, "NAME", "")):
            target = next((one for one in self.screen.query("*") if getattr(one, "PANE", "") == key.where), target)
        await self.run_action(key.action, default_namespace=target)

    async def action_press(self, id_: str) -> None:
        """Do what the key with that id does, as a click on the footer asks."""
        await self.run_key(keys.key_of(id_))

    async def action_go(self, screen: str) -> None:
        """Switch to a screen by its name."""
        await self.switch_mode(screen)

    async def action_back(self) -> None:
        """Go up one level: a panel away, else to Train; never out of the app."""
        if self.screen.maximized is not None:
            self.screen.minimize()
        elif self.launches.in_sight is not None:
            self.launches.leave()
        elif len(self.screen_stack) > 1:
            self.screen.dismiss(None)
        elif self.current_mode not in ("train", "welcome"):
            await self.switch_mode("train")

    async def action_start_training(self) -> None:
        """Begin a training on the chosen host with the chosen settings, on the Train screen."""
        if not self.guard.may_change():
            return
        if self.current_mode != "train":
            await self.switch_mode("train")
        self.launches.begin(Wanted("train", self.state.host, self.form.chosen.get("train", {})))

    def action_help(self) -> None:
        """Open the help with the keys of the screen that is up."""
        from t2v_tui.screens.panels.help import Help

        if isinstance(self.screen, Cockpit):
            self.push_screen(Help(self.screen.keys_now()))

    def action_choose_host(self) -> None:
        """Ask which host works from now on."""
        from t2v_tui.screens.panels.dialogs import Choose
        from t2v_tui.text.confirmations import hosts_to_choose

        rows = hosts_to_choose(self.state, self.now())
        self.push_screen(Choose("Which host does the work?", rows, self.state.host), self.choose_host)

    def action_folder(self) -> None:
        """Open the panel on the folder of the chosen host."""
        from t2v_tui.screens.panels.folder import FolderPanel

        self.push_screen(FolderPanel(self.services, self.state.host, self.now()))

    def action_commands(self) -> None:
        """Open the lines that do what keys have done."""
        from t2v_tui.screens.panels.commands import CommandsPanel

        self.push_screen(CommandsPanel(self.commands.newest_first(), self.workspace.root, self.now()))

    def choose_host(self, host: str | None) -> None:
        """Send work there from now on; None changes nothing."""
        if host is not None:
            self.live.tell(HostChosen(host))
            self.listening.listen()

    def action_next_theme(self) -> None:
        """Switch to the next theme, and say how to keep it."""
        names = [name for name in (DARK.name, LIGHT.name, "ansi-dark", "ansi-light") if name in self.available_themes]
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]
        self.notify(f"theme: {self.theme} · to keep it, set theme under [tui] in t2v.toml", timeout=3)

    def action_reconnect(self) -> None:
        """Ask the chosen host again now."""
        self.listening.wake(self.state.host)
