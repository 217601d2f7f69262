"""A pane with titles, and words in it, both drawn again only when they read differently.

Setting a title or a text that is there already draws the pane as a whole again: 30 KB/s to the terminal for a screen
that is shown anew each second.
"""

from __future__ import annotations

from textual.containers import Vertical
from textual.content import Content

from t2v_tui.widgets.chrome import Block


class Pane(Vertical):
    """Things with a border around them."""

    def __init__(self, *, id: str, classes: str = "") -> None:
        super().__init__(id=id, classes=f"pane {classes}".strip())
        self._titles: tuple[str | None, str | None] = (None, None)

    def entitle(self, title: str, subtitle: str | None = None) -> None:
        """Set the titles as they are: brackets of a prompt are no markup."""
        if (title, subtitle) != self._titles:
            before, self._titles = self._titles, (title, subtitle)
            if before[0] != title:
                self.border_title = Content(title)
            if before[1] != subtitle:
                self.border_subtitle = None if subtitle is None else Content(subtitle)


class Words(Block):
    """A text, whose height may change with it."""

    def say(self, text: Content | str) -> None:
        """Show a text, whatever its height."""
        self.show(Content(text) if isinstance(text, str) else text, layout=True)
