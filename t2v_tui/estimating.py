"""What a training will take, asked of the engine in a child of low priority while its start goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from t2v_core.errors import EngineError
from t2v_tui.launching import Wanted
from t2v_tui.news import LaunchEstimated
from t2v_tui.reckoning import reckoned
from t2v_tui.services import Services
from t2v_tui.streams import Stream, Tell
from t2v_tui.words import duration, gb, usd

UNKNOWN = ("how long it will take is not known",)


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
        self.pause(self.after_s)
        if self.is_closed:
            return
        try:
            said = self._reckoned()
        except EngineError:
            said = None  # the start itself says what is wrong with what was asked
        if not self.is_closed:
            self.tell(LaunchEstimated(UNKNOWN if said is None else sentences(said, self.price)))

    def _reckoned(self) -> dict[str, Any] | None:
        from t2v_core.workspace import Workspace  # noqa: PLC0415

        folder = self.services.folder_of(self.wanted.host)
        values = {**self.wanted.values, "probe": False, **({"gpu": self.gpu} if self.gpu else {})}
        where = Workspace(folder or self.services.workspace.root)
        return reckoned(where, self.services.spec("estimate", values), lambda: self.is_closed)


def sentences(said: Mapping[str, Any], price: float | None) -> tuple[str, ...]:
    """An estimate in one or two lines: time and price, then what does not fit."""
    timed = said.get("time")
    if not timed:
        return UNKNOWN
    seconds = float(timed["total_s"])
    cost = f" → about {usd(seconds / 3600 * price)}" if price else ""
    where = said.get("machine", {}).get("name", "")
    if not said.get("data", {}).get("is_preprocessed", True):
        return ("how long it will take is known when there is data",)
    lines = [f"about {duration(seconds)} for {timed['steps']:,} steps on {where}{cost}"]
    fits = said.get("fits", {})
    if not fits.get("memory", True):
        lines.append(f"needs {gb(said['memory']['peak_bytes'])} of memory, which is not there")
    if not fits.get("disk", True):
        lines.append(f"needs {gb(said['disk']['expected'])} of disk, which is not free")
    return tuple(lines)
