"""What a verb is given beside its spec: its job directory, its workspace, a way to report and a way to be stopped."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from t2v_core.errors import Stopped
from t2v_core.events import EventWriter
from t2v_core.workspace import Workspace

STOP_FILE = "stop"


@dataclass
class Job:
    """One run of one verb.

    directory: `jobs/<id>/`; a file named `stop` put into it asks the work to end
    """

    directory: Path
    workspace: Workspace
    events: EventWriter
    _signal: signal.Signals | None = field(default=None, init=False)

    def check_stop(self) -> None:
        """Raise Stopped when the work was asked to end. Verbs call it between steps, where everything is whole."""
        if self._signal is signal.SIGINT:
            raise Stopped("interrupted", exit_code=130)
        if self._signal is not None:
            raise Stopped(f"stopped by {self._signal.name}")
        if (self.directory / STOP_FILE).exists():
            raise Stopped("stopped on request")

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """While inside, SIGINT and SIGTERM are requests that `check_stop` answers; a second SIGINT ends at once."""
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
