"""What is said when a job ends or raises an alarm: a notice, the bell, the window's title, the desktop, a command."""

from __future__ import annotations

import os

from textual.notifications import SeverityLevel

from t2v_core.events import AlarmEvent
from t2v_tui.messages import Failed
from t2v_tui.settings import Tui
from t2v_tui.store.state import JobView, State
from t2v_tui.terminal import through_tmux
from t2v_tui.text import notifications
from t2v_tui.widgets.video.asking import PictureApp


class JobNotices:
    """runs_commands: whether the commands of [tui] in t2v.toml are run"""

    def __init__(self, app: PictureApp, settings: Tui, *, runs_commands: bool) -> None:
        self.app, self.settings, self.runs_commands = app, settings, runs_commands

    def say_changes(self, before: State, after: State) -> None:
        """Say what has ended and what alarms are new between two states."""
        for job in notifications.ended_between(before, after):
            self._say_ended(job)
        for job, alarm in notifications.alarms_between(before, after):
            self._say_alarm(job, alarm)

    def _say_ended(self, job: JobView) -> None:
        title, text = notifications.notification_of(job)
        severity: SeverityLevel = "error" if job.row.state in ("failed", "lost") else "information"
        self.app.notify(text or " ", title=title, severity=severity, timeout=8, markup=False)
        if self.settings.bell:
            self.app.bell()
        self._write(notifications.as_window_title(title))
        self._tell_desktop(title, text)
        self._run_command("on_job_end", self.settings.on_job_end, job)

    def _say_alarm(self, job: JobView, alarm: AlarmEvent) -> None:
        title, text = notifications.words_of_alarm(job, alarm)
        self.app.notify(text or " ", title=title, severity="warning", timeout=12, markup=False)
        if self.settings.bell:
            self.app.bell()
        self._tell_desktop(title, text)
        self._run_command("on_alarm", self.settings.on_alarm, job, alarm)

    def _tell_desktop(self, title: str, text: str) -> None:
        """Have the terminal tell its desktop, unless it has said that it is in front: then the notice is seen."""
        if self.app.app_focus:
            return
        terminal = self.app.terminal
        way = notifications.way_of_terminal(self.settings.notifications, terminal.name or os.environ.get("TERM", ""))
        said = notifications.as_notification(way, title, text)
        self._write(through_tmux(said) if said and os.environ.get("TMUX") else said)

    def _write(self, sequence: str) -> None:
        driver = self.app._driver
        if driver is not None and not driver.is_headless and sequence:
            driver.write(sequence)

    def _run_command(self, name: str, command: str, job: JobView, alarm: AlarmEvent | None = None) -> None:
        if not command or not self.runs_commands:
            return
        try:
            notifications.run_hook(command, job, alarm)
        except (OSError, ValueError) as error:
            self.app.post_message(Failed(f"[tui] {name} cannot be run: {error}", "write it as one command line"))
