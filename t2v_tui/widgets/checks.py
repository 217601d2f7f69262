"""What `t2v doctor` finds, ticking as it is found: each check, and under it the exact line that mends it."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from textual import on, work
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from t2v_core.diagnosis.check import Check, State
from t2v_core.errors import EngineError
from t2v_core.workspace import Workspace

SIGNS = {State.GOOD: ("✓", "$success"), State.ODD: ("!", "$warning"), State.BAD: ("✗", "$error")}
NAME_WIDTH = 13


@dataclass
class Checked(Message):
    """One more of them, or None at the end."""

    check: Check | None
    error: str = ""


class CheckList(Static):
    """Empty until it is told to run; running it again begins anew."""

    def __init__(self, *, only_unhealthy: bool = False, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self.only_unhealthy = only_unhealthy
        self.checks: list[Check] = []
        self.is_looking = False

    def say(self, sentence: str) -> None:
        """Show a sentence instead of the checks."""
        self.update(Content(sentence).stylize("$text-muted"))

    def run(self, workspace: Workspace) -> None:
        """Check the workspace from the beginning, unless that is being done already."""
        if not self.is_looking:
            self.checks, self.is_looking = [], True
            self._draw_checks()
            self._examine(workspace)

    @work(thread=True, exclusive=True, group="checks", exit_on_error=False)
    def _examine(self, workspace: Workspace) -> None:
        from t2v_core.diagnosis.examine import examine  # reads much
        from t2v_core.specs import DoctorSpec

        try:
            for check in examine(DoctorSpec.model_validate({}), workspace, os.environ):
                self.post_message(Checked(check))
        except EngineError as error:
            self.post_message(Checked(None, error.message))
            return
        self.post_message(Checked(None))

    @on(Checked)
    def _take(self, message: Checked) -> None:
        message.stop()
        if message.check is None:
            self.is_looking = False
            if message.error:
                self.checks.append(Check("doctor", State.BAD, message.error))
        else:
            self.checks.append(message.check)
        self._draw_checks()

    def on_resize(self) -> None:
        """Wrap the checks to the new width."""
        if self.checks:
            self._draw_checks()

    def _draw_checks(self) -> None:
        shown = [one for one in self.checks if not self.only_unhealthy or one.state is not State.GOOD]
        width = max(30, self.size.width - NAME_WIDTH - 3)
        parts = [part for check in shown for part in check_rows(check, width)]
        parts.append((summary(self.checks, is_running=self.is_looking), "$text-muted"))
        self.update(Content.assemble(*parts))


def check_rows(check: Check, width: int) -> Iterator[tuple[str, str]]:
    """Yield (text, style): sign, name, sentence, wrapped beside the name.

    Below it comes the line to type, whole, so that it can be copied.
    """
    sign, style = SIGNS[check.state]
    yield f"{sign} ", style
    yield f"{check.name:<{NAME_WIDTH}} ", ""
    indent = " " * (NAME_WIDTH + 3)
    wrapped = textwrap.wrap(check.sentence, width, break_on_hyphens=False) or [""]
    yield f"\n{indent}".join(wrapped) + "\n", "$text-muted" if check.state is State.GOOD else ""
    if check.mend:
        yield f"{indent}→ {check.mend}\n", "$accent"


def summary(checks: list[Check], *, is_running: bool) -> str:
    """Return the counts in a line: `11 good · 2 to look at · looking …`."""
    words = {State.GOOD: "good", State.ODD: "to look at", State.BAD: "bad"}
    counts = [f"{sum(one.state is state for one in checks)} {words[state]}" for state in State
              if any(one.state is state for one in checks)]  # fmt: skip
    return " · ".join([*counts, *(["looking …"] if is_running else [])])
