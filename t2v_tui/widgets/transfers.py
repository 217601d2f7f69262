"""Files on their way between here and a host: how far, how fast, how long still, and why one waits."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from t2v_tui.state import TransferView
from t2v_tui.widgets.gauges import bar
from t2v_tui.words import duration, gb

GLYPHS = {"queued": "◌", "done": "✓", "failed": "✗", "paused": "‖"}
BAR_CELLS, WHAT_CELLS = 10, 26


def in_words(transfer: TransferView) -> str:
    """What stands behind the bar: `71 %   38 MB/s  0:16`, or a word and why."""
    if transfer.state != "running":
        return f"{transfer.state}{f': {transfer.why}' if transfer.why else ''}"
    share = f"{100 * _share(transfer):3.0f} %"
    if not transfer.rate:
        return f"{share}  {gb(transfer.total_bytes)}"
    left_s = (transfer.total_bytes - transfer.done_bytes) / transfer.rate
    return f"{share}  {transfer.rate / 1e6:5.1f} MB/s  {duration(left_s)} left"


def _share(transfer: TransferView) -> float:
    return min(1.0, transfer.done_bytes / transfer.total_bytes) if transfer.total_bytes else 0.0


def line_of(transfer: TransferView, width: int, *, letters: bool = False) -> Content:
    """One transfer in one line of `width` cells."""
    arrow = "↓" if transfer.is_pull else "↑"
    glyph = GLYPHS.get(transfer.state, arrow)
    what_cells = min(WHAT_CELLS, max(8, width - BAR_CELLS - 26))
    what = transfer.what if len(transfer.what) <= what_cells else "…" + transfer.what[1 - what_cells :]
    style = {"failed": "$text-error", "paused": "$text-warning", "done": "$text-success"}.get(transfer.state, "$accent")
    pieces = [(f"{glyph} ", style), (f"{what:<{what_cells}} ", "$foreground")]
    if transfer.state == "running":
        pieces.append((bar(_share(transfer), BAR_CELLS, letters=letters) + " ", "$accent"))
    pieces.append((in_words(transfer), "$text-muted"))
    return Content.assemble(*pieces).truncate(width, ellipsis=True)


class Transfers(Widget):
    """The ones at work first, then those that wait, then what is over; as many as there is room for."""

    DEFAULT_CSS = "Transfers { width: 1fr; height: auto; min-height: 1; }"
    ORDER = ("running", "paused", "failed", "queued", "done")

    def __init__(
        self,
        *,
        empty: str = "Nothing is on its way.",
        letters: bool = False,
        id: str | None = None,  # noqa: A002 - Textual's name
    ) -> None:
        super().__init__(id=id)
        self.empty, self.letters = empty, letters
        self.transfers: tuple[TransferView, ...] = ()

    def show(self, transfers: Sequence[TransferView]) -> None:
        ordered = tuple(sorted(transfers, key=lambda one: self.ORDER.index(one.state)))
        if ordered != self.transfers:
            needs_room = len(ordered) != len(self.transfers)
            self.transfers = ordered
            self.refresh(layout=needs_room)

    def render(self) -> Content:
        width = self.content_size.width
        if not self.transfers:
            return Content.styled(self.empty, "$text-muted")
        return Content("\n").join(line_of(one, width, letters=self.letters) for one in self.transfers)
