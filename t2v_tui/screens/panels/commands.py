"""What keys did, the newest first, as lines that do the same in a shell: one is copied with a key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from t2v_core.errors import EngineError
from t2v_core.format import ago
from t2v_tui.screens.panels.dialogs import Panel
from t2v_tui.widgets.clipboard import copy_text
from t2v_tui.widgets.lists import ListTable
from t2v_tui.widgets.rows import RowList

if TYPE_CHECKING:
    from t2v_tui.controllers.command_log import Ran

SHOWN = 500
EMPTY = "Nothing yet. What a key starts, stops, pulls or changes stands here as the t2v line that does the same."


class CommandsPanel(Panel):
    """`enter` and `Y` copy the chosen line; below the list it stands whole."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("Y,y,c", "copy", "copy", show=False),
        Binding("at,q", "dismiss(None)", "close", show=False),
    ]

    def __init__(self, ran: Sequence[Ran], root: Path, now_t: float) -> None:
        super().__init__()
        self.ran, self.root, self.now_t = ran[:SHOWN], root, now_t

    def compose(self) -> ComposeResult:
        """Lay out the list over the chosen line and a hint."""
        with Vertical(id="box", classes="tall"):
            yield Static(f"What keys did, as lines to type in {self.root}", id="title", markup=False)
            if not self.ran:
                yield Static(EMPTY, classes="empty", markup=False)
            yield ListTable((("ago", 8), ("line", None)), has_heads=False)
            yield Static(id="whole", markup=False)
            yield Static("enter copies the line · esc closes", classes="hint", markup=False)

    def on_mount(self) -> None:
        """Fill in the lines, with the newest in hand."""
        table = self.query_one(ListTable)
        rows = [
            (str(number), (Text(ago(self.now_t - one.t), "dim"), Text(one.line, no_wrap=True, overflow="ellipsis")))
            for number, one in enumerate(self.ran)
        ]
        table.show_rows(rows)
        table.focus()

    @property
    def line(self) -> str:
        """Return the chosen line; empty when there is none."""
        chosen = self.query_one(ListTable).chosen
        return self.ran[int(chosen)].line if chosen else ""

    @on(RowList.Highlighted)
    def _show_whole(self) -> None:
        if self.ran:
            self.query_one("#whole", Static).update(self.line)

    @on(RowList.Selected)
    def action_copy(self) -> None:
        """Copy the chosen line, and say where it is now."""
        if not self.line:
            return
        try:
            said = copy_text(self.app, self.line, Path.home() / "t2v-copied.txt")
        except EngineError as error:
            self.notify(error.hint, title=error.message, severity="error", markup=False)
            return
        self.notify(said, markup=False)
