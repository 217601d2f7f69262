"""What a training is to be like: its settings as a form over the screen, checked by its spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input, Static

from t2v_core.errors import InvalidRequest
from t2v_core.specs import make_spec
from t2v_tui.screens.panels.dialogs import Panel
from t2v_tui.widgets.entries import Choice
from t2v_tui.widgets.spec_form import SpecForm

# By how often they are asked for.
NAMES = (
    "preset", "model", "base", "lora", "data", "epochs", "resume",
    "batch_size", "gradient_accumulation", "learning_rate", "checkpoint_every",
    "samples", "max_steps", "attention", "objective", "lr_schedule", "warmup_steps", "precision", "device",
    "held_out_clips", "checkpoints", "seed",
)  # fmt: skip


class TrainSettings(Panel):
    """Answers the settings that were chosen, or None. `enter` keeps them, the button starts with them."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+t", "start", "start with these", show=False)]

    def __init__(
        self, chosen: Mapping[str, Any], effective: Mapping[str, Any], offered: Mapping[str, Sequence[tuple[str, str]]]
    ) -> None:
        """Effective is what t2v.toml and the spec say, shown where nothing was chosen.

        offered: (value, how it reads) of models and checkpoints to go on from
        """
        super().__init__()
        self.chosen, self.effective, self.offered = chosen, effective, offered

    def compose(self) -> ComposeResult:
        """Lay out the form over a line for what is wrong, and the buttons."""
        with Vertical(id="box", classes="tall"):
            yield Static("The next training", id="title")
            yield SpecForm("train", NAMES, {}, choices=self.offered)
            yield Static("", id="said", markup=False)
            with Horizontal(id="buttons"):
                yield Button("Cancel (esc)", id="cancel", compact=True)
                yield Button("Keep (enter)", id="keep", compact=True)
                yield Button("Start (^t)", id="start", compact=True)

    @property
    def choices(self) -> list[str]:
        """Return the settings that are one of a few words, and so always show one."""
        form = self.query_one(SpecForm)
        return [name for name in NAMES if not isinstance(form.query_one(f"#in-{name}"), Input)]

    def on_mount(self) -> None:
        """Fill in what was chosen before, and show beside it what holds anyway."""
        form = self.query_one(SpecForm)
        for name in NAMES:
            entry = form.query_one(f"#in-{name}")
            if isinstance(entry, Input) and self.effective.get(name) is not None:
                entry.placeholder = f"{self.effective[name]}"
        form.fill({**{name: self.effective[name] for name in self.choices}, **self.chosen})
        form.query_one("#in-preset").focus()

    @on(SpecForm.Explained)
    def _say(self, message: SpecForm.Explained) -> None:
        self._tell(message.text, is_wrong=message.is_wrong)

    def _tell(self, text: str, *, is_wrong: bool) -> None:
        said = self.query_one("#said", Static)
        said.update(text)
        said.set_class(is_wrong, "-wrong")

    @on(Input.Submitted)
    def _keep(self) -> None:
        self._answer(starts=False)

    def action_start(self) -> None:
        """Answer with these settings and start; what is wrong with them is said instead."""
        self._answer(starts=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "cancel":
            self.dismiss(None)
        else:
            self._answer(starts=event.button.id == "start")

    @property
    def values(self) -> dict[str, str]:
        """Return what differs from what holds anyway, or was chosen before."""
        form = self.query_one(SpecForm)
        values = {name: value for name, value in form.values.items() if name not in self.choices}
        for name in self.choices:
            value = form.query_one(f"#in-{name}", Choice).value
            holds = "" if self.effective[name] is None else f"{self.effective[name]}"
            if value != holds or (value and name in self.chosen):
                values[name] = value
        return values

    def _answer(self, *, starts: bool) -> None:
        values = self.values
        try:
            make_spec("train", dict(values))
        except InvalidRequest as error:
            self._tell(error.message, is_wrong=True)
            return
        self.dismiss((values, starts))
