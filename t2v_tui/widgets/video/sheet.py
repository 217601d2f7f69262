"""A contact sheet: the first frame of each video with a word below; those in sight are decoded, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual import work
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from t2v_core.errors import EngineError
from t2v_tui.widgets.video.film import Film, Shelf
from t2v_tui.widgets.video.pictures import BLOCKS, OverPictures, Pictures, Written, is_clear, paint, pictures_of

COLUMNS, GAP, WIDEST = 2, 1, 32
SHELF = Shelf(kept=200)


@dataclass(frozen=True)
class Card:
    """One video. path: None when it is not here; key: what it is told by; changed_t: another one is another picture"""

    key: str
    title: str = field(compare=False)  # another title is the same picture
    path: Path | None = None
    changed_t: float = 0.0


class Sheet(ScrollView, can_focus=True):
    """Cards in two columns and more; arrows and h j k l choose one.

    letters: no half blocks and no colours
    """

    DEFAULT_CSS = """
    Sheet { height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    Sheet .sheet--title { color: $text-muted; }
    Sheet .sheet--chosen { color: $foreground; background: $accent 30%; text-style: $block-cursor-text-style; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"sheet--title", "sheet--chosen"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right", "move(1)", "next", show=False),
        Binding("left", "move(-1)", "previous", show=False),
        Binding("down,j", "move_row(1)", "below", show=False),
        Binding("up,k", "move_row(-1)", "above", show=False),
    ]

    class Chosen(Message):
        """Another card has the cursor."""

    class Decoded(Message):
        """A first frame is there, or cannot be had."""

        def __init__(self, card: Card, film: Film | None) -> None:
            super().__init__()
            self.card, self.film = card, film

    def __init__(self, *, letters: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.letters = letters
        self.cards: tuple[Card, ...] = ()
        self.at = 0
        self._films: dict[Card, Film | None] = {}
        self._given: Mapping[str, Film] = {}
        self._is_decoding = False
        self._decoded_room = self._laid_out_in = Size()
        self._painted: frozenset[int] = frozenset()  # numbers of the cards whose pictures lie over blank characters

    @property
    def pictures(self) -> Pictures:
        """Return how pictures reach the terminal; letters are for one that is not to show any."""
        return BLOCKS if self.letters else pictures_of(self)

    def pictures_changed(self) -> None:
        """Decode anew: the terminal has said what it can show."""
        self._films.clear()
        self._lay_out()

    @property
    def chosen(self) -> str | None:
        """Return the key of the card with the cursor; None when there are no cards."""
        return self.cards[self.at].key if self.at < len(self.cards) else None

    @property
    def columns(self) -> int:
        """Return how many cards stand side by side: two, or as many as there is room for in full width."""
        return max(COLUMNS, (self.size.width + GAP) // (WIDEST + GAP))

    @property
    def room(self) -> Size:
        """Return how many characters a picture may take."""
        columns = self.columns
        cells = max(4, min(WIDEST, (self.size.width - GAP * (columns - 1)) // columns))
        return Size(cells, cells // 2)

    @property
    def lines(self) -> int:
        """Return how high a card is, with its title and an empty line."""
        return self.room.height + 2

    def in_sight(self) -> list[str]:
        """Return the keys of the cards that are in sight."""
        return [card.key for card in self._cards_in_sight()]

    def show_cards(self, cards: Sequence[Card], chosen: str | None, given: Mapping[str, Film] | None = None) -> None:
        """Show these cards, with the cursor on the one whose key is `chosen`, else on the first.

        given: by key, frames of those that are not here
        """
        self._take_given(cards, given or {})
        titles = [card.title for card in cards]
        if tuple(cards) == self.cards and chosen == self.chosen and titles == [card.title for card in self.cards]:
            return
        self.cards = tuple(cards)
        self.at = next((number for number, card in enumerate(cards) if card.key == chosen), 0)
        self._lay_out()

    def _take_given(self, cards: Sequence[Card], given: Mapping[str, Film]) -> None:
        """The first frame of each, in the room that there is; one that is new is drawn."""
        news = [card for card in cards if card.path is None and given.get(card.key) is not self._given.get(card.key)]
        self._given = dict(given)
        for card in news:
            self._films.pop(card, None)
            if card in self.cards:
                self.refresh(self._place_of(self.cards.index(card)))

    def _film_of(self, card: Card) -> Film | None:
        """What was decoded here, else what was given, fitted to the room once."""
        if card not in self._films and (given := self._given.get(card.key)) is not None and self.room.area:
            first = replace(given, frames=given.frames[:1])
            self._films[card] = (
                first if self.pictures.is_sharp else first.fitted(self.pictures.box(self.room, is_remote=False))
            )
        return self._films.get(card)

    def _lay_out(self) -> None:
        rows = -(-len(self.cards) // self.columns)
        self.virtual_size = Size(self.size.width, rows * self.lines)
        self._reveal()
        self.refresh()
        self._decode_next()

    def on_resize(self, _: Resize) -> None:
        """Lay out the cards anew; when they have another width, pictures are decoded again.

        A sheet that was hidden and comes back as large was painted before it is told so.
        """
        if self.size == self._laid_out_in:
            self._decode_next()
            return
        self._laid_out_in = self.size
        if self.room != self._decoded_room:
            self._decoded_room = self.room
            self._films.clear()
        self._lay_out()

    def action_move(self, step: int) -> None:
        """Move the cursor by so many cards; it does not leave the first or the last."""
        at = self.at + step
        if 0 <= at < len(self.cards):
            before, self.at = self.at, at
            self._reveal()
            self.refresh(self._place_of(before, title_only=True), self._place_of(at, title_only=True))
            self.post_message(self.Chosen())

    def action_move_row(self, step: int) -> None:
        """Move the cursor by so many rows."""
        self.action_move(step * self.columns)

    def _reveal(self) -> None:
        top = self.at // self.columns * self.lines
        if top < self.scroll_offset.y:
            self.scroll_to(y=top, animate=False)
        elif top + self.lines > self.scroll_offset.y + self.size.height:
            self.scroll_to(y=top + self.lines - self.size.height, animate=False)

    def on_click(self, event: Click) -> None:
        """Move the cursor to the card that was clicked."""
        column = min(self.columns - 1, event.x // (self.room.width + GAP))
        self.action_move((self.scroll_offset.y + event.y) // self.lines * self.columns + column - self.at)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Decode the cards that come into sight."""
        super().watch_scroll_y(old_value, new_value)
        self._decode_next()

    def _cards_in_sight(self) -> Sequence[Card]:
        first = self.scroll_offset.y // self.lines * self.columns
        return self.cards[first : first + (self.size.height // self.lines + 2) * self.columns]

    # Decoding

    def _decode_next(self) -> None:
        """The first one in sight that was not looked at yet."""
        if self._is_decoding or not self.display or self.size.height < 1:
            return
        in_sight = self._cards_in_sight()
        card = next((card for card in in_sight if card.path is not None and card not in self._films), None)
        if card is not None:
            self._is_decoding = True
            self._decode(card)

    @work(group="sheet", exit_on_error=False)
    async def _decode(self, card: Card) -> None:
        assert card.path is not None
        try:
            film = await SHELF.film(card.path, self.pictures.box(self.room, is_remote=bool(os.environ.get("SSH_TTY"))))
            self.post_message(self.Decoded(card, replace(film, frames=film.frames[:1])))
        except EngineError:
            self.post_message(self.Decoded(card, None))

    def on_sheet_decoded(self, message: Decoded) -> None:
        """Draw the frame that came, and decode the next."""
        self._is_decoding = False
        self._films[message.card] = message.film
        if message.card in self.cards:
            self.refresh(self._place_of(self.cards.index(message.card)))
        self._decode_next()

    # Drawing

    def render_line(self, y: int) -> Strip:
        """Draw one line of the cards in it, side by side."""
        row, line = divmod(self.scroll_offset.y + y, self.lines)
        numbers = range(row * self.columns, min((row + 1) * self.columns, len(self.cards)))
        gap = Strip.blank(GAP, self.rich_style)
        strips = [strip for number in numbers for strip in (self._card_line(number, line), gap)]
        return Strip.join(strips).adjust_cell_length(self.size.width, self.rich_style)

    def _card_line(self, number: int, line: int) -> Strip:
        card, (width, height) = self.cards[number], self.room
        if line > height:
            return Strip.blank(width, self.rich_style)
        if line == height:
            style = self.get_component_rich_style("sheet--chosen" if number == self.at else "sheet--title")
            title = card.title if cell_len(card.title) <= width else set_cell_size(card.title, width - 1) + "…"
            return Strip([Segment(set_cell_size(title, width), style)], width)
        film = self._film_of(card)
        if film is None:
            return self._words(card, line)
        size = self.pictures.cells(film, self.room)
        top = (height - size.height) // 2
        if not top <= line < top + size.height:
            return Strip.blank(width, self.rich_style)
        if number in self._painted:
            return Strip.blank(width, self.rich_style)
        letters = self.rich_style if self.letters else None
        drawn = self.pictures.strips(film, 0, size, letters)[line - top]
        left = Strip.blank((width - size.width) // 2, self.rich_style)
        return Strip.join([left, drawn]).adjust_cell_length(width, self.rich_style)

    # Pixels over the characters

    def _place_of(self, number: int, *, title_only: bool = False) -> Region:
        """Where in the widget a card is, with its title or only that."""
        row, column = divmod(number, self.columns)
        width, height = self.room
        place = Region(column * (width + GAP), row * self.lines - self.scroll_offset.y, width, height + 1)
        return place.shrink((height, 0, 0, 0)) if title_only else place

    def _area_of(self, number: int, size: Size) -> Region:
        """Where on the screen a card's picture is."""
        place, (width, height) = self._place_of(number), self.room
        x, y = place.x + (width - size.width) // 2, place.y + (height - size.height) // 2
        return Region(x, y, size.width, size.height).translate(self.region.offset)

    def _films_shown(self) -> Iterator[tuple[int, Film, Region]]:
        """Number, film and place of each picture that lies whole and with nothing over it on the screen."""
        for number, card in enumerate(self.cards):
            if (film := self._film_of(card)) is not None:
                area = self._area_of(number, self.pictures.cells(film, self.room))
                if is_clear(self, area):
                    yield number, film, area

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw with room for pixels where nothing covers it; lines that were drawn before stay while that holds."""
        pictures, painted = self.pictures, frozenset[int]()
        if isinstance(pictures, OverPictures):
            pictures.shown.add(self)
            painted = frozenset(number for number, _, _ in self._films_shown())
        if painted != self._painted:
            self._painted = painted
            self._styles_cache.clear()
        return super().render_lines(crop)

    def paint_again(self, written: Written) -> None:
        """Lay the pictures over their characters, if those were written just now."""
        if isinstance(self.pictures, OverPictures):
            for _, film, area in self._films_shown():
                if written.touches(area):
                    paint(self, area, self.pictures.painted(film, 0, area.size))

    def _words(self, card: Card, line: int) -> Strip:
        """What stands in a picture's place: it is elsewhere, it is broken, or it is about to come."""
        words = "on the host" if card.path is None else "not readable" if card in self._films else ""
        width, height = self.room
        text = words.center(width) if line == height // 2 else " " * width
        return Strip([Segment(text[:width], self.get_component_rich_style("sheet--title"))], width)
