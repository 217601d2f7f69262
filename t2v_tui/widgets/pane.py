"""A pane with titles, and words in it, both drawn again only when they read differently.

Setting a title or a text that is there already draws the pane as a whole again: 30 KB/s to the terminal for a screen
that is shown anew each second.
"""

from __future__ import annotations

from typing import Self

from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Region

from t2v_tui.widgets.chrome import Block


class Pane(Vertical):
    """Things with a border around them, in another colour while one of them has the focus.

    That is a class which nothing inside asks for: `:focus-within` finds the styles of all of it anew, in 10 ms.
    """

    def __init__(self, *, id: str, classes: str = "") -> None:
        super().__init__(id=id, classes=f"pane {classes}".strip())
        self._titles: tuple[str | None, str | None] = (None, None)
        self._other_rows: tuple[Region, ...] = ()

    def hold(self, is_in_hand: bool) -> None:
        """Draw the border of what has the focus, or the usual one."""
        if is_in_hand != self.has_class("-in-hand"):
            self.set_class(is_in_hand, "-in-hand", update=False)
            self.app.stylesheet.update_nodes([self])

    def entitle(self, title: str, subtitle: str | None = None) -> None:
        """Set the titles as they are: brackets of a prompt are no markup."""
        before, self._titles = self._titles, (title, subtitle)
        if before[0] != title:
            self._other_rows = self._row_of_border(0)
            self.border_title = Content(title)
        if before[1] != subtitle:
            self._other_rows = self._row_of_border(self.outer_size.height - 1)
            self.border_subtitle = None if subtitle is None else Content(subtitle)
        self._other_rows = ()

    def _row_of_border(self, row: int) -> tuple[Region, ...]:
        """One of its rows, counted from its content, as `refresh` takes it; none while it is not laid out."""
        left, top = self.content_offset
        return (Region(-left, row - top, self.outer_size.width, 1),) if self.outer_size else ()

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Draw the row of a title while `entitle` sets it, not what the pane holds; else as usual."""
        return super().refresh(*(regions or self._other_rows), repaint=repaint, layout=layout, recompose=recompose)


class Words(Block):
    """A text, whose height may change with it."""

    DEFAULT_CSS = "Words { width: 1fr; }"

    def say(self, text: Content | str) -> None:
        """Show a text, whatever its height."""
        self.show(Content(text) if isinstance(text, str) else text, layout=True)
