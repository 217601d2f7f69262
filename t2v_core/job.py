"""What a verb is given beside its spec: its job directory, its workspace, a way to report and a way to be stopped."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from t2v_core.errors import Stopped
from t2v_core.events import EventWriter
from t2v_core.format import duration
from t2v_core.workspace import Workspace

STOP_FILE, SAVE_FILE, PAUSE_FILE = "stop", "save", "pause"
PAUSE_POLL_S = 0.2


@dataclass
class Job:
    """One run of one verb.

    directory: `jobs/<id>/`; a file named `stop` put into it asks the work to end, `pause` to wait until the file is
        taken away, `save` (of training) for a checkpoint now
    keep: what a resident engine keeps from one job to the next; of a process that does one job it ends with it
    """

    directory: Path
    workspace: Workspace
    events: EventWriter
    keep: dict[str, Any] = field(default_factory=dict, kw_only=True)
    _signal: signal.Signals | None = field(default=None, init=False)
    _paused_at: float | None = field(default=None, init=False)

    def check_stop(self) -> None:
        """Raise Stopped when the work was asked to end; wait while it is asked to pause, also for that.

        Verbs call it between steps, where everything is whole.
        """
        while True:
            if (stopped := self.stop_request()) is not None:
                raise stopped
            if not self.is_paused():
                return
            time.sleep(PAUSE_POLL_S)

    def stop_request(self) -> Stopped | None:
        """Return what a signal or the file `stop` asks for; None when nobody asks."""
        if (stopped := self.signal_request()) is not None:
            return stopped
        return Stopped("stopped on request") if (self.directory / STOP_FILE).exists() else None

    def signal_request(self) -> Stopped | None:
        """Return what a signal to this process asks for; None without one."""
        if self._signal is signal.SIGINT:
            return Stopped("interrupted", exit_code=130)
        if self._signal is not None:
            return Stopped(f"stopped by {self._signal.name}")
        return None

    def is_paused(self) -> bool:
        """Return True while the work is asked to wait; says so once, and how long it was when it is over."""
        is_asked = (self.directory / PAUSE_FILE).exists()
        if is_asked and self._paused_at is None:
            self._paused_at = time.monotonic()
            self.events.stage("paused", "memory stays in use; the job goes on when its file `pause` is removed")
        elif not is_asked and self._paused_at is not None:
            self.events.stage("resumed", f"after {duration(time.monotonic() - self._paused_at)}")
            self._paused_at = None
        return is_asked

    def is_asked_to_save(self) -> bool:
        """Return True while the file `save` asks for a checkpoint."""
        return (self.directory / SAVE_FILE).exists()

    def has_saved(self) -> None:
        """Take the request away: there is a checkpoint."""
        (self.directory / SAVE_FILE).unlink(missing_ok=True)

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as requests that `check_stop` answers, while inside; a second SIGINT ends at once."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._signal is signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = signal.Signals(number)
