"""What every screen has around it: the headline, the tabs and the footer, a line each."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content, Span
from textual.events import Click, Resize
from textual.widgets import Static

from t2v_tui.headline import WIDE, Piece, Tone, headline, in_one_line
from t2v_tui.keys import ALWAYS, Key
from t2v_tui.screens import SCREENS
from t2v_tui.state import State

STYLES = {
    Tone.PLAIN: "$foreground", Tone.DIM: "$text-muted", Tone.ACCENT: "$accent", Tone.GOOD: "$success",
    Tone.WARN: "$warning", Tone.BAD: "$error",
}  # fmt: skip
GUARANTEED = 80


class Block(Static):
    """Text that is drawn again only when it reads differently."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - as Textual has it
        super().__init__(id=id, classes=classes, markup=False)
        self._shown: tuple[str, Sequence[Span]] | None = None

    def show(self, content: Content, *, layout: bool = False) -> None:
        """layout: its height may be another"""
        reads = (content.plain, content.spans)
        if reads != self._shown:
            self._shown = reads
            self.update(content, layout=layout)


class Line(Block):
    """One line; parts of it can be clicked."""

    DEFAULT_CSS = "Line { height: 1; width: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - as Textual has it
        super().__init__(id=id, classes=classes)
        self._zones: list[tuple[int, int, str]] = []

    def show_zones(self, content: Content, zones: Sequence[tuple[int, int, str]]) -> None:
        """zones: (first column, end column, action)"""
        self._zones = list(zones)
        self.show(content)

    async def on_click(self, event: Click) -> None:
        for begin, end, action in self._zones:
            if begin <= event.x < end:
                await self.run_action(action)


def content_of(pieces: Sequence[Piece]) -> Content:
    return Content.assemble(*((piece.text, STYLES[piece.tone]) for piece in pieces))


def cut(pieces: Sequence[Piece], columns: int) -> list[Piece]:
    """As much as fits."""
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
        self.show(Content(in_one_line(state, self.app.size.width, self.app.size.height)))


class Tabs(Line):
    """Digits and names of the screens; a click goes there."""

    def show_current(self, current: str) -> None:
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
        self._keys, self._is_read_only = [key for key in keys if key.label], is_read_only
        self._draw()

    def on_resize(self, _event: Resize) -> None:
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
