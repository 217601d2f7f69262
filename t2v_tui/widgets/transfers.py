"""Files on their way, one line each."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from t2v_core.format import duration, rate
from t2v_tui.store.state import TransferView

BAR = 4
MOST = 6


class Transfers(Static):
    """What travels between host and here: a pane while something does, one line when nothing moves."""

    DEFAULT_CSS = "Transfers { height: auto; max-height: 50%; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._drawn: Content | None = None

    def show(self, transfers: Sequence[TransferView]) -> None:
        """Draw the transfers, and in the border how many are at work."""
        is_still = not any(one.state in ("running", "queued") for one in transfers)
        content = at_rest(transfers) if is_still else text_of(transfers)
        if content != self._drawn:
            is_other_height = self._drawn is None or len(self._drawn.split()) != len(content.split())
            self._drawn = content
            self.set_class(is_still, "-still")
            self.update(content, layout=is_other_height)
            active = sum(one.state == "running" for one in transfers)
            self.border_title = f"transfers · {active} at work" if active else "transfers"


def at_rest(transfers: Sequence[TransferView]) -> Content:
    """Return one line: how the last one went; when there was none, which keys begin one."""
    if not transfers:
        return Content("no transfers · 2 pulls checkpoints, 3 videos").stylize("$text-muted")
    last = transfers[-1]
    said = f"{'↓' if last.is_pull else '↑'} {_name_end(last.what)} {last.state}{': ' + last.why if last.why else ''}"
    return Content(said).stylize("$error" if last.state == "failed" else "$text-muted")


def text_of(transfers: Sequence[TransferView]) -> Content:
    """Return the last six, a line each."""
    parts: list[tuple[str, str]] = []
    for one in transfers[-MOST:]:
        parts += _line_of_transfer(one)
    return Content.assemble(*parts).rstrip("\n")


def _line_of_transfer(one: TransferView) -> list[tuple[str, str]]:
    arrow = "↓" if one.is_pull else "↑"
    head = (f"{arrow} {_name_end(one.what):<14} ", "$accent" if one.state == "running" else "$text-muted")
    if one.state != "running":
        return [head, (f"{one.state}{': ' + one.why if one.why else ''}\n", "$error" if one.state == "failed" else "")]
    share = one.done_bytes / one.total_bytes if one.total_bytes else 0.0
    full = round(share * BAR)
    speed = f"{rate(one.rate):>8}" if one.rate else " " * 8
    left = f" {duration((one.total_bytes - one.done_bytes) / one.rate)}" if one.rate else ""
    bar = [("█" * full, "$accent"), ("░" * (BAR - full), "$foreground 25%")]
    return [head, *bar, (f"{share:>4.0%} {speed}{left}\n", "")]


def _name_end(text: str) -> str:
    return text if len(text) <= 14 else f"…{text[-13:]}"


def in_one_line(transfers: Sequence[TransferView]) -> str:
    """Return `↓ step-12400 71%`; nothing when nothing travels."""
    active = [one for one in transfers if one.state == "running"]
    if not active:
        return ""
    one = active[0]
    share = one.done_bytes / one.total_bytes if one.total_bytes else 0.0
    return f"{'↓' if one.is_pull else '↑'} {_name_end(one.what)} {share:.0%}" + (
        f" +{len(active) - 1}" if active[1:] else ""
    )
