"""Entries of forms, a line each: a text with history, and one of a few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input


class PromptInput(Input):
    """A line of text; up and down go through what was entered before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "older", "older", show=False),
        Binding("down", "newer", "newer", show=False),
    ]

    def __init__(self, *, placeholder: str = "", id: str | None = None) -> None:
        super().__init__(placeholder=placeholder, id=id, compact=True)
        self.history: Sequence[str] = ()
        self._at, self._draft = -1, ""

    def remember(self, history: Sequence[str]) -> None:
        """Take what was entered before, for up and down to go through.

        history: the newest first
        """
        self.history, self._at = history, -1

    def action_older(self) -> None:
        """Turn to what was entered before; what is typed is kept as a draft."""
        if self._at + 1 < len(self.history):
            self._draft = self.value if self._at < 0 else self._draft
            self._turn_to(self._at + 1)

    def action_newer(self) -> None:
        """Turn to what was entered after, and at last to the draft."""
        if self._at >= 0:
            self._turn_to(self._at - 1)

    def _turn_to(self, at: int) -> None:
        self._at = at
        self.value = self._draft if at < 0 else self.history[at]
        self.cursor_position = len(self.value)


class Choice(Widget, can_focus=True):
    """One of a few words; left, right, space and a click turn to the next."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space,enter", "turn(1)", "next", show=False),
        Binding("left", "turn(-1)", "previous", show=False),
    ]
    DEFAULT_CSS = """
    Choice { height: 1; width: 1fr; color: $foreground; text-wrap: nowrap; text-overflow: ellipsis; }
    Choice:focus { background: $accent 25%; text-style: $block-cursor-text-style; }
    """

    class Changed(Message):
        """Another one was chosen."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

        @property
        def control(self) -> Choice:
            """Return the choice, which `@on` selects by."""
            return self.choice

    def __init__(self, choices: Sequence[tuple[str, str]], chosen: str = "", *, id: str | None = None) -> None:
        """choices: (value, how it reads)"""
        super().__init__(id=id)
        self.choices = list(choices)
        self.value = chosen if chosen in dict(self.choices) else self.choices[0][0]

    def offer(self, choices: Sequence[tuple[str, str]]) -> None:
        """Offer other ones to choose from; what was chosen stays while it is among them."""
        if list(choices) != self.choices:
            self.choices = list(choices)
            self.value = self.value if self.value in dict(self.choices) else self.choices[0][0]
            self.refresh()

    def choose(self, value: str) -> None:
        """Choose a value; one that is not among the choices yet is added to them."""
        if value not in dict(self.choices):
            self.choices.append((value, value.removeprefix("checkpoints/checkpoint_")))
        self.value = value
        self.refresh()

    def action_turn(self, step: int) -> None:
        """Choose the word so many steps on; past the last comes the first."""
        values = [one for one, _ in self.choices]
        self.value = values[(values.index(self.value) + step) % len(values)]
        self.refresh()
        self.post_message(self.Changed(self))

    def on_click(self, _: Click) -> None:
        """Turn to the next one."""
        self.action_turn(1)

    def render(self) -> Content:
        """Draw `‹ latest ›`; without the signs when there is nothing to choose."""
        word = dict(self.choices)[self.value]
        if len(self.choices) < 2:
            return Content(word)
        return Content.assemble(("‹ ", "$text-muted"), word, (" ›", "$text-muted"))
