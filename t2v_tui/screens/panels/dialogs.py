"""Panels over a screen: a question with Cancel first, and a choice. All fit 80 × 24."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual._path import CSSPathType
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from t2v_tui.text.confirmations import Question
from t2v_tui.widgets.lists import ListTable
from t2v_tui.widgets.narrowed import Narrowed
from t2v_tui.widgets.rows import RowList


class Panel(ModalScreen[Any]):
    """A box in the middle; `esc` closes it."""

    CSS_PATH: ClassVar[CSSPathType | None] = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "close", show=False)]


class Confirm(Panel):
    """Answers True only for its key or its button; Cancel has the focus."""

    def __init__(self, question: Question) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        """Lay out the question over its buttons, Cancel first."""
        with Vertical(id="box"):
            yield Static(self.question.title, id="title", markup=False)
            with VerticalScroll(id="lines", can_focus=False):
                yield Static("\n".join(self.question.lines), markup=False)
            with Horizontal(id="buttons"):
                yield Button("Cancel (esc)", id="cancel", compact=True)
                yield Button(f"{self.question.yes} ({self.question.key})", id="yes", compact=True)

    def on_mount(self) -> None:
        """Bind the question's own key, and put the focus on Cancel."""
        self._bindings.bind(self.question.key, "say_yes", self.question.yes, show=False)
        self.query_one("#cancel").focus()

    def action_say_yes(self) -> None:
        """Close with True."""
        self.dismiss(True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")


class Choose(Panel):
    """One of several; answers its key, or None. `/` asks for words of its rows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", show=False),
        Binding("escape", "leave", "close", show=False),
    ]

    def __init__(self, title: str, rows: Sequence[tuple[str, tuple[Text, ...]]], chosen: str) -> None:
        super().__init__()
        self.heading, self.rows, self.chosen = title, rows, chosen

    def compose(self) -> ComposeResult:
        """Lay out the rows under their title."""
        names = [str(number) for number in range(len(self.rows[0][1]) if self.rows else 1)]
        with Vertical(id="box"):
            yield Static(self.heading, id="title", markup=False)
            yield Narrowed(ListTable([(name, None) for name in names], has_heads=False), names)
            yield Static("enter chooses it, / filters, esc cancels", classes="hint")

    def on_mount(self) -> None:
        """Fill in the rows, with the cursor on the one that is chosen now, else on the first."""
        table = self.query_one(ListTable)
        self.query_one(Narrowed).show_items(dict(self.rows), tuple)
        keys = [key for key, _ in self.rows]
        table.move_to(keys.index(self.chosen) if self.chosen in keys else 0)
        table.focus()

    def action_filter(self) -> None:
        """Ask for words that rows must have."""
        self.query_one(Narrowed).action_filter()

    def action_leave(self) -> None:
        """Show all rows again, then close."""
        if not self.query_one(Narrowed).leave():
            self.dismiss(None)

    @on(RowList.Selected)
    def _take(self, event: RowList.Selected) -> None:
        event.stop()
        self.dismiss(self.query_one(ListTable).chosen)
