"""What every screen has around it: the headline, the tabs and the footer, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from rich.cells import cell_len
from textual.content import Content
from textual.events import Click, Resize
from textual.geometry import Region
from textual.widgets import Static

from t2v_tui.keys import ALWAYS, Key
from t2v_tui.registry import SCREENS
from t2v_tui.store.state import State
from t2v_tui.text.headline import WIDE, Piece, Tone, headline, in_one_line

STYLES = {
    Tone.PLAIN: "$foreground", Tone.DIM: "$text-muted", Tone.ACCENT: "$accent", Tone.GOOD: "$success",
    Tone.WARN: "$warning", Tone.BAD: "$error",
}  # fmt: skip
GUARANTEED = 80


class Block(Static):
    """Text of which only the lines are drawn again that read differently: a pane with its border is 1 kB a time."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._shown: Content | None = None
        self._other_lines: Sequence[Region] = ()

    def show(self, content: Content, *, layout: bool = False) -> None:
        """Show a text; only the lines that read differently are drawn again.

        layout: its height follows the text
        """
        before = self._shown
        if before is not None and _same(before, content):
            return
        self._shown = content
        if before is not None and self.size.width:  # else it is not laid out, and gets its height with the next layout
            layout = layout and self._rows_of(before) != self._rows_of(content)
        self._other_lines = () if layout or before is None else other_lines(before, content, self.size.width)
        self.update(content, layout=layout)
        self._other_lines = ()

    def _rows_of(self, content: Content) -> int:
        """How many rows a text takes; none where it gets as many as the style sheet gives. A layout costs 10 ms."""
        if not self.styles.is_auto_height:
            return 0
        least = self.styles.min_height
        return max(content.get_height({}, self.size.width), int(least.value) if least is not None else 0)

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Draw the lines that read differently while `show` changes the text; else as usual."""
        return super().refresh(*(regions or self._other_lines), repaint=repaint, layout=layout, recompose=recompose)


def _same(one: Content, other: Content) -> bool:
    return (one.plain, one.spans) == (other.plain, other.spans)


def other_lines(before: Content, after: Content, width: int) -> list[Region]:
    """Return a region for each line that reads differently; none when lines may have moved, and all are to be drawn.

    A line that is too long takes several rows, and those below it stand elsewhere.
    """
    old, new = before.split(allow_blank=True), after.split(allow_blank=True)
    if len(old) != len(new):
        return []
    others = [row for row, pair in enumerate(zip(old, new, strict=True)) if not _same(*pair)]
    end = others[-1] + 1 if others else 0
    if any(cell_len(line.plain) > width for line in (*old[:end], *new[:end])):
        return []
    return [Region(0, row, width, 1) for row in others]


class Line(Block):
    """One line; parts of it can be clicked."""

    DEFAULT_CSS = "Line { height: 1; width: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._zones: list[tuple[int, int, str]] = []

    def show_zones(self, content: Content, zones: Sequence[tuple[int, int, str]]) -> None:
        """Show a line, parts of which can be clicked.

        zones: (first column, end column, action)
        """
        self._zones = list(zones)
        self.show(content)

    async def on_click(self, event: Click) -> None:
        """Run the action of the part that was clicked."""
        for begin, end, action in self._zones:
            if begin <= event.x < end:
                await self.run_action(action)


def content_of(pieces: Sequence[Piece]) -> Content:
    """Return the pieces as one text, each in the colour of its tone."""
    return Content.assemble(*((piece.text, STYLES[piece.tone]) for piece in pieces))


def cut(pieces: Sequence[Piece], columns: int) -> list[Piece]:
    """Return as much as fits into so many columns; a piece that is cut ends in `…`."""
    kept: list[Piece] = []
    for piece in pieces:
        room = columns - sum(cell_len(one.text) for one in kept)
        if cell_len(piece.text) <= room:
            kept.append(piece)
            continue
        if room > 1:
            kept.append(Piece(piece.text[: room - 1] + "…", piece.tone))
        break
    return kept


class Headline(Line):
    """Host, its state, money, link."""

    def show_state(self, state: State, now_t: float) -> None:
        """Draw the headline; its left half is cut where the right one needs the room."""
        width = self.size.width - 2
        if width < 1:
            return
        left, right = headline(state, now_t, self.size.width)
        right_width = sum(cell_len(piece.text) for piece in right)
        left = cut(left, max(0, width - right_width - 1))
        gap = width - right_width - sum(cell_len(piece.text) for piece in left)
        self.show(content_of([Piece(" "), *left, Piece(" " * max(0, gap)), *right]))


class TooSmall(Line):
    """All that a terminal below 60 × 15 shows."""

    def show_state(self, state: State) -> None:
        """Draw the state in one line."""
        self.show(Content(in_one_line(state, self.app.size.width, self.app.size.height)))


class Tabs(Line):
    """Digits and names of the screens; a click goes there."""

    def show_current(self, current: str) -> None:
        """Draw the tabs with this screen's highlighted; titles are short in a narrow terminal."""
        is_wide = self.app.size.width >= WIDE
        pieces: list[tuple[str, str]] = []
        zones = []
        column = 0
        for entry in SCREENS:
            if not entry.key:
                continue
            name = entry.title if is_wide else entry.short
            text = f" {entry.key} {name} "
            style = "bold $accent on $panel" if entry.name == current else "$text-muted"
            pieces += [(text, style), (" " if is_wide else "", "")]
            zones.append((column, column + cell_len(text), f"app.go('{entry.name}')"))
            column += cell_len(text) + (1 if is_wide else 0)
        self.show_zones(Content.assemble(*pieces), zones)


READ_ONLY = "  read-only"


class Footer(Line):
    """Keys by importance; help, palette and quit always within the first 80 columns."""

    def __init__(self) -> None:
        super().__init__(id="footer")
        self._keys: Sequence[Key] = ()
        self._is_read_only = False

    def show_keys(self, keys: Sequence[Key], *, is_read_only: bool = False) -> None:
        """Draw the keys that have a label, in this order but for those that always show."""
        self._keys, self._is_read_only = [key for key in keys if key.label], is_read_only
        self._draw()

    def on_resize(self, _event: Resize) -> None:
        """Fit the keys to the new width."""
        self._draw()

    def _draw(self) -> None:
        width = self.size.width
        always = [key for id_ in ALWAYS for key in self._keys if key.id == id_]
        others = [key for key in self._keys if key.id not in ALWAYS]
        room = min(width, GUARANTEED) - sum(map(_width, always))
        first: list[Key] = []
        for key in others:
            if sum(map(_width, first)) + _width(key) > room:
                break
            first.append(key)
        rest = []
        left = width - sum(map(_width, [*first, *always]))
        for key in others[len(first) :]:
            left -= _width(key)
            if left < 0:
                break
            rest.append(key)
        pieces: list[tuple[str, str]] = []
        zones, column = [], 0
        for key in (*first, *always, *rest):
            pieces += [(f" {key.shown}", "bold $accent"), (f" {key.label} ", "$text-muted")]
            zones.append((column, column + _width(key), f"app.press('{key.id}')"))
            column += _width(key)
        if self._is_read_only and column + cell_len(READ_ONLY) <= width:
            pieces.append((READ_ONLY, "$text-warning"))
        self.show_zones(Content.assemble(*pieces), zones)


def _width(key: Key) -> int:
    return cell_len(f" {key.shown} {key.label} ")
