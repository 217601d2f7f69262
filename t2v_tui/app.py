"""The app: does what screens ask, and what the keys that hold everywhere say. It decides nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.binding import BindingType
from textual.screen import Screen

from t2v_core.errors import EngineError
from t2v_tui import keys
from t2v_tui.event_app import StateApp
from t2v_tui.keys import Key, bindings_for, keys_for, with_keymap
from t2v_tui.messages import Failed, FollowJob, GoTo, Notice, ShowJob, StartWork, StopWork
from t2v_tui.registry import entry_of
from t2v_tui.screens.bases.base import Cockpit
from t2v_tui.store.events import HostChosen, JobShown
from t2v_tui.store.state import JobKey, JobView
from t2v_tui.text.event_log import journal_of
from t2v_tui.theme import DARK, LIGHT
from t2v_tui.workers.launch_worker import Wanted
from t2v_tui.workers.services import Services

# What the app ends with when the demo is wanted instead.
DEMO = "demo"


class CockpitApp(StateApp):
    """See StateApp for what it is made of."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for(keys.EVERYWHERE)]

    # What screens ask

    @on(GoTo)
    async def _go_to(self, message: GoTo) -> None:
        await self.action_go(message.screen)
        if message.arrival is not None and isinstance(self.screen, Cockpit):
            self.screen.arrive(message.arrival)

    @on(ShowJob)
    def _show_job(self, message: ShowJob) -> None:
        self.tell(JobShown(message.job))
        if self.subscriptions is not None:
            self.subscriptions.follow(message.job)

    @on(FollowJob)
    def _follow_job(self, message: FollowJob) -> None:
        if self.subscriptions is not None:
            self.subscriptions.follow(message.job)

    @on(Failed)
    def _failed_notice(self, message: Failed) -> None:
        self.notify(message.hint or " ", title=message.message, severity="error", timeout=12, markup=False)

    @on(Notice)
    def _told_notice(self, message: Notice) -> None:
        self.notify(message.text, timeout=4, markup=False)

    @on(StartWork)
    def _start_work(self, message: StartWork) -> None:
        if self.may_change():
            host = message.host or self.state.host
            self.launch(Wanted(message.verb, host, message.values, self.current_mode, message.sends))

    def launch(self, wanted: Wanted) -> None:
        """Begin the steps to a job, which the screen that it names shows."""
        self.launcher.begin(wanted, self.state, self.now())
        if wanted in self.launcher.waiting and self.launch_in_sight is None:
            self.notify(f"{wanted.verb} waits until the start before it has its job", timeout=4)

    def file_of(self, host: str, path: str) -> Path | None:
        """Return a file of that host's workspace; None when it is not here."""
        found = self.place_of(host, path)
        return found if found.exists() else None

    def place_of(self, host: str, path: str) -> Path:
        """Return where a file of that host's workspace is, or would be, on this machine."""
        folder = self.services.folder_of(host) if self.services else None
        return (folder or self.workspace.root) / path

    def journal_of(self, job: JobKey) -> Path:
        """Return the file with its events as lines."""
        return journal_of(self.workspace, job)

    def log_of(self, job: JobKey) -> Path:
        """Return where its log lies on this machine: the job's own, or what came of it."""
        from remote.jobs.spool import Spool  # with the first job

        folder = self.services.folder_of(job.host) if self.services else None
        return folder / "jobs" / job.job / "log" if folder else Spool.of(self.workspace, job.host, job.job).log

    def request_of_shown(self, what: str, said: str) -> None:
        """Ask the job that is shown for something, while it runs.

        what: save, pause or resume; said: the notice that it was asked
        """
        if (job := self.shown_at_work()) is not None:
            self._request(job.key, what, said)

    def shown_at_work(self) -> JobView | None:
        """Return the job that is shown while it runs; else say that it does not, and return None."""
        job = self.state.shown_job
        if job is None:
            self.notify("no training is shown: t starts one", timeout=3)
        elif job.row.has_ended:
            self.notify(f"this {job.row.verb} has ended: {job.row.state}", timeout=3)
        return job if job is not None and not job.row.has_ended else None

    @work(thread=True, group="request", exit_on_error=False)
    def _request(self, job: JobKey, what: str, said: str) -> None:
        assert self.services is not None
        try:
            self.services.request(job, what)
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))
            return
        self.post_message(Notice(said))

    def may_change(self) -> bool:
        """Tell whether anything may be started, ended or written; else say why not."""
        if self.state.is_read_only:
            self.say_read_only()
        elif self.is_gone:
            self.say_gone()
        return not self.state.is_read_only and not self.is_gone

    def say_read_only(self) -> None:
        """Show a notice that this app only looks."""
        self.notify("this app is read-only: it was opened with --read-only", timeout=4)

    @on(StopWork)
    def _stop_work(self, message: StopWork) -> None:
        if not self.may_change():
            return
        from t2v_tui.screens.panels.dialogs import Confirm
        from t2v_tui.text.confirmations import about_stopping  # rarely needed

        def answered(is_yes: bool | None) -> None:
            if is_yes:
                self.stop_job(message.job)

        self.push_screen(Confirm(about_stopping(self.state, message.job, self.now())), answered)

    @work(thread=True, group="stop", exit_on_error=False)
    def stop_job(self, job: JobKey) -> None:
        """Stop a job without asking; an engine error becomes a notice."""
        assert self.services is not None
        try:
            self.services.stop(job)
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))

    @work(exclusive=True, group="settings")
    async def choose_settings(self, verb: str) -> None:
        """Show its settings as a form, over what t2v.toml says."""
        from t2v_tui.screens.panels.train_settings import TrainSettings  # with pydantic's fields

        answer = await self.push_screen_wait(TrainSettings(self.chosen.get(verb, {}), self._effective(verb)))
        if answer is not None:
            self.chosen[verb], starts = answer
            self.remember()
            if starts:
                await self.action_start_training()

    def _effective(self, verb: str) -> dict[str, Any]:
        """What holds where nothing is chosen; the spec's own when t2v.toml is wrong, which the start will say."""
        from t2v_core.specs import SPECS, all_values

        try:
            return all_values(Services(self.workspace).spec(verb, {}))
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))
            return all_values(SPECS[verb]())

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
        elif self.launch_in_sight is not None:
            self.launcher.leave(self.state, self.now())
        elif len(self.screen_stack) > 1:
            self.screen.dismiss(None)
        elif self.current_mode not in ("train", "welcome"):
            await self.switch_mode("train")

    async def action_start_training(self) -> None:
        """Begin a training on the chosen host with the chosen settings, on the Train screen."""
        if not self.may_change():
            return
        if self.current_mode != "train":
            await self.switch_mode("train")
        self.launch(Wanted("train", self.state.host, self.chosen.get("train", {})))

    def action_help(self) -> None:
        """Open the help with the keys of the screen that is up."""
        from t2v_tui.screens.panels.dialogs import Help

        if isinstance(self.screen, Cockpit):
            self.push_screen(Help(self.screen.keys_now()))

    def action_choose_host(self) -> None:
        """Ask which host works from now on."""
        from t2v_tui.screens.panels.dialogs import Choose
        from t2v_tui.text.confirmations import hosts_to_choose

        rows = hosts_to_choose(self.state, self.now())
        self.push_screen(Choose("Which host works?", rows, self.state.host), self.choose_host)

    def action_folder(self) -> None:
        """Open the panel on the folder of the chosen host."""
        from t2v_tui.screens.panels.folder import FolderPanel

        self.push_screen(FolderPanel(self.services, self.state.host, self.now()))

    def choose_host(self, host: str | None) -> None:
        """Send work there from now on; None changes nothing."""
        if host is not None:
            self.tell(HostChosen(host))
            if self.subscriptions is not None:
                self.subscriptions.listen(self.state)

    def action_next_theme(self) -> None:
        """Switch to the next theme, and say how to keep it."""
        names = [name for name in (DARK.name, LIGHT.name, "ansi-dark", "ansi-light") if name in self.available_themes]
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]
        self.notify(f"theme: {self.theme} · theme under [tui] in t2v.toml keeps it", timeout=3)

    def action_reconnect(self) -> None:
        """Ask the chosen host again now."""
        self.wake(self.state.host)

    def get_default_screen(self) -> Screen[Any]:
        """Return an empty screen; the modes bring their own."""
        return Screen(id="_default")
