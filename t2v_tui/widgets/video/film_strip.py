"""Samples of one prompt over time, side by side: what the training has learned from checkpoint to checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.events import Resize
from textual.geometry import Size

from t2v_tui.widgets.video.sheet import GAP, Card, Sheet

NARROWEST = 8


class FilmStrip(Sheet):
    """One row of cards, as many as there is room for: the first, the last, and evenly between them."""

    DEFAULT_CSS = "FilmStrip { height: 1fr; overflow-y: hidden; }"

    def __init__(self, *, letters: bool, id: str | None = None) -> None:
        super().__init__(letters=letters, id=id)
        self._all: tuple[Card, ...] = ()
        self._picked: list[Card] = []
        self._look: Callable[[Card], Card] = _as_it_is

    @property
    def room(self) -> Size:
        """Return how many characters a picture may take: all lines but that of its title."""
        height = max(1, self.size.height - 1)
        return Size(max(NARROWEST, height * self.pictures.cell[1] // self.pictures.cell[0]), height)

    @property
    def columns(self) -> int:
        """Return how many cards stand side by side."""
        return max(1, (self.size.width + GAP) // (self.room.width + GAP))

    @property
    def lines(self) -> int:
        """Return how high a card is, with its title."""
        return self.room.height + 1

    def show_strip(self, cards: Sequence[Card], chosen: str | None, look: Callable[[Card], Card] | None = None) -> None:
        """Show these cards, in the order of time; when they are others, with the cursor on the one named `chosen`.

        look: returns a card with its file as it is now; only the cards that there is room for are looked at
        """
        self._look = look or _as_it_is
        if tuple(cards) != self._all:
            self._all = tuple(cards)
            self._pick(chosen)
        else:
            self._show_picked(self.chosen)

    def on_resize(self, event: Resize) -> None:
        """Show as many as there is room for now."""
        super().on_resize(event)
        self._pick(self.chosen)

    def _pick(self, chosen: str | None) -> None:
        kept = next((card for card in self._all if card.key == chosen), None)
        self._picked = spread(self._all, self.columns, kept)
        self._show_picked(chosen)

    def _show_picked(self, chosen: str | None) -> None:
        self.show_cards([self._look(card) for card in self._picked], chosen)


def _as_it_is(card: Card) -> Card:
    return card


def spread(cards: Sequence[Card], most: int, kept: Card | None) -> list[Card]:
    """Return so many of them, evenly spaced: the last always, `kept` in the place of the one nearest to it."""
    if len(cards) <= most:
        return list(cards)
    last = len(cards) - 1
    places = [round(number * last / max(1, most - 1)) for number in range(most - 1)]
    if kept is not None and places and (place := cards.index(kept)) not in (*places, last):
        places[min(range(len(places)), key=lambda number: abs(places[number] - place))] = place
    return [cards[place] for place in (*places, last)]
