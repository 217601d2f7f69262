"""Settings of a verb as a form: each with its value and what it means, as its spec says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic.fields import FieldInfo
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.events import DescendantFocus
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from t2v_core.errors import InvalidRequest
from t2v_core.specs import SPECS, make_spec
from t2v_tui.widgets.entries import Choice

YES_OR_NO = (("False", "no"), ("True", "yes"))
# Their values are long: where the terminal is not, what they mean stands below only, as of every entry in hand.
ROOMY = ("model", "base")
# Names that are wider than their column.
SHORT_NAMES = {"gradient_accumulation": "grad accumulation"}


class SpecForm(VerticalScroll, can_focus=False):
    """Rows of some settings of one verb. An empty entry is the default, which it shows.

    names:   settings, in order
    example: values that the verb cannot do without, to check the others with
    """

    DEFAULT_CSS = """
    SpecForm { height: 1fr; scrollbar-size-vertical: 1; }
    SpecForm .row { height: 1; }
    SpecForm .name { width: 18; color: $text-muted; }
    SpecForm .row:focus-within .name { color: $accent; }
    SpecForm Input, SpecForm Choice { width: 14; }
    SpecForm #in-model, SpecForm #in-base { width: 28; }
    SpecForm .-roomy .about { display: none; }
    SpecForm .about { width: 1fr; height: 1; color: $text-muted; padding-left: 2; }
    SpecForm .about { text-wrap: nowrap; text-overflow: ellipsis; }
    SpecForm .-invalid { color: $text-error; }
    """

    class Explained(Message):
        """The entry that has the focus: what it means, or what is wrong with it."""

        def __init__(self, text: str, *, is_wrong: bool) -> None:
            super().__init__()
            self.text, self.is_wrong = text, is_wrong

    def __init__(
        self,
        verb: str,
        names: Sequence[str],
        example: Mapping[str, Any],
        *,
        choices: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        id: str | None = None,
    ) -> None:
        """choices: (value, how it reads) of settings that the screen knows the possible values of"""
        super().__init__(id=id)
        self.verb, self.names, self.example = verb, list(names), dict(example)
        self.fields = SPECS[verb].model_fields
        self._choices = dict(choices or {})

    def compose(self) -> ComposeResult:
        """Lay out a row for each setting: its name, its entry, and what it means."""
        for name in self.names:
            field = self.fields[name]
            with Horizontal(classes="row -roomy" if name in ROOMY else "row"):
                yield Static(SHORT_NAMES.get(name, name.replace("_", " ")), classes="name", markup=False)
                yield self._entry(name, field)
                yield Static(field.description or "", classes="about", markup=False)

    def _entry(self, name: str, field: FieldInfo) -> Widget:
        if field.annotation is bool:
            return Choice(YES_OR_NO, str(field.default), id=f"in-{name}")
        words = [word for word in get_args(field.annotation) if isinstance(word, str)]
        if name in self._choices or words:
            return Choice(
                self._choices.get(name) or [(word, word) for word in words], str(field.default), id=f"in-{name}"
            )
        shown = "" if field.default is None else f"{field.default}"
        return Input(placeholder=shown or "default", compact=True, id=f"in-{name}")

    def offer(self, name: str, choices: Sequence[tuple[str, str]]) -> None:
        """Offer other values for one setting, as (value, how it reads)."""
        self.query_one(f"#in-{name}", Choice).offer(choices)

    @property
    def values(self) -> dict[str, str]:
        """Return what was chosen; defaults are left out, so that t2v.toml may have its say."""
        chosen = {}
        for name in self.names:
            entry = self.query_one(f"#in-{name}")
            if isinstance(entry, Choice):
                if entry.value not in ("", str(self.fields[name].default)):
                    chosen[name] = entry.value
            elif isinstance(entry, Input) and entry.value.strip():
                chosen[name] = entry.value.strip()
        return chosen

    def fill(self, values: Mapping[str, Any]) -> None:
        """Fill in settings as they were elsewhere; what is not named goes back to its default."""
        for name in self.names:
            entry, value = self.query_one(f"#in-{name}"), values.get(name)
            text = "" if value is None or value == self.fields[name].default else f"{value}"
            if isinstance(entry, Choice):
                entry.choose(text or ("" if self.fields[name].default is None else str(self.fields[name].default)))
            elif isinstance(entry, Input):
                entry.value = text

    def wrong(self, name: str) -> str:
        """Return a sentence about one entry; empty when it is fine."""
        value = self.values.get(name)
        if value is None:
            return ""
        try:
            make_spec(self.verb, {**self.example, name: value})
        except InvalidRequest as error:
            return error.message
        return ""

    @on(Input.Changed)
    @on(DescendantFocus)
    def _explain(self) -> None:
        focused = self.screen.focused
        name = (focused.id or "").removeprefix("in-") if focused is not None else ""
        if name not in self.names or focused is None or self not in focused.ancestors:
            return
        wrong = self.wrong(name)
        focused.set_class(bool(wrong), "-invalid")
        self.post_message(self.Explained(wrong or self.fields[name].description or "", is_wrong=bool(wrong)))
