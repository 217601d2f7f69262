"""What a training will take, asked of the engine in a child of low priority while its start goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2v_core.errors import EngineError
from t2v_tui.store.events import LaunchEstimated
from t2v_tui.text.estimate import UNKNOWN, reckoned, sentences
from t2v_tui.workers.launch_worker import Wanted
from t2v_tui.workers.services import Services
from t2v_tui.workers.streams import Stream, Tell

if TYPE_CHECKING:
    from t2v_core.events.estimated import Estimated


class Estimating(Stream):
    """price: US dollars an hour, if any; gpu: of the host, when it is another machine"""

    def __init__(
        self, wanted: Wanted, services: Services, tell: Tell, price: float | None, gpu: str, *, after_s: float
    ) -> None:
        """after_s: what is estimated goes first, since both load an engine"""
        super().__init__("estimate", tell)
        self.after_s = after_s
        self.wanted, self.services, self.price, self.gpu = wanted, services, price, gpu

    def run(self) -> None:
        """Wait, ask the engine, and tell the sentences; once it is closed, nothing is told."""
        self.pause(self.after_s)
        if self.is_closed:
            return
        try:
            said = self._reckoned()
        except EngineError:
            said = None  # the start itself says what is wrong with what was asked
        if not self.is_closed:
            self.tell(LaunchEstimated(UNKNOWN if said is None else sentences(said, self.price)))

    def _reckoned(self) -> Estimated | None:
        from t2v_core.workspace import Workspace

        folder = self.services.folder_of(self.wanted.host)
        values = {**self.wanted.values, "probe": False, **({"gpu": self.gpu} if self.gpu else {})}
        where = Workspace(folder or self.services.workspace.root)
        return reckoned(where, self.services.spec("estimate", values), lambda: self.is_closed)
