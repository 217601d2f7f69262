"""A line that asks for a word, in its place only while it does: for what a filter, a name or a file is to be."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from t2v_tui.widgets.entries import PromptInput


class EntryLine(Horizontal):
    """asks_for: what is asked for now; empty while nothing is"""

    DEFAULT_CSS = """
    EntryLine { height: 1; display: none; }
    EntryLine.-open { display: block; }
    EntryLine #entry-title { width: auto; color: $text-muted; }
    EntryLine #entry { width: 1fr; }
    """

    class Typed(Message):
        """The text is another one; what was asked for is still asked for."""

        def __init__(self, what: str, text: str) -> None:
            super().__init__()
            self.what, self.text = what, text

    class Entered(Typed):
        """The text was entered, and nothing is asked for any more."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.asks_for = ""

    def compose(self) -> ComposeResult:
        """Lay out what is asked for before the entry."""
        yield Static(id="entry-title", markup=False)
        yield PromptInput(id="entry")

    def ask(self, what: str, value: str) -> None:
        """Ask for something. value: what it is now"""
        self.asks_for = what
        self.query_one("#entry-title", Static).update(Content(f"{what}: "))
        self.add_class("-open")
        entry = self.query_one("#entry", PromptInput)
        entry.value = value
        entry.cursor_position = len(value)
        entry.focus()

    def close(self) -> None:
        """Ask no more."""
        self.asks_for = ""
        self.remove_class("-open")

    @on(Input.Changed)
    def _tell_typed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Typed(self.asks_for, event.value))

    @on(Input.Submitted)
    def _tell_entered(self, event: Input.Submitted) -> None:
        event.stop()
        what = self.asks_for
        self.close()
        self.post_message(self.Entered(what, event.value))
