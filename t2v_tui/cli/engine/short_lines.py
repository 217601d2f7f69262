"""A refinement in the few lines that people of the previous system know, for a pipe and for `--quiet`.

    Refining with Epoch 100 model (15 steps)…
    Step 1/15
    …
    Decoding 16 frames…
    Output saved to output.mp4

They stand on stdout, where its scripts wrote them and whatever reads them looks; whoever calls `t2v refine` has named
the video itself. With `--json` stdout is the JSON alone and the lines stand on stderr. So do warnings and errors.
"""

from __future__ import annotations

import sys
from typing import TextIO

from t2v_core.disk.plain_text import for_terminal
from t2v_core.events import AlarmEvent, Event, ProgressEvent, StageEvent, WarningEvent
from t2v_core.workspace import Workspace
from t2v_tui.cli.engine.run import Followed, tell_result
from t2v_tui.cli.narrate import Narrator, sentence


class ShortLines:
    """A narrator that says no more than that."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, event: Event) -> None:
        """Write the line of an event, if it has one; a warning goes to stderr."""
        if line := line_of(event):
            self.line(line)
        elif isinstance(event, WarningEvent | AlarmEvent) and (told := sentence(event)):
            self.say(told[0])

    def line(self, text: str) -> None:
        """Write one of the lines."""
        print(for_terminal(text), file=self._stream, flush=True)

    def log(self, line: str) -> None:
        """Write a line of the engine's log among the others."""
        self.line(line)

    def say(self, text: str, style: str = "") -> None:
        """Write to stderr what goes wrong; all else is said by the lines."""
        if style not in ("dim", "green"):
            print(for_terminal(text), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Do nothing: nothing is held."""


def line_of(event: Event) -> str:
    """Return the line for an event of a refinement; empty for most."""
    match event:
        case StageEvent(name="refine", model=model, steps=steps):
            return f"Refining with {model} model ({steps} steps)…"
        case StageEvent(name="decode", frames=frames):
            return f"Decoding {frames} frames…"
        case ProgressEvent(done, total, "steps"):
            return f"Step {done}/{total}"
    return ""


def narrator_of_refine(*, is_quiet: bool, as_json: bool) -> Narrator | None:
    """Return short lines where they are asked for, or stdout goes to a pipe or a file; else None, for the usual one."""
    if is_quiet or not (as_json or sys.stdout.isatty()):
        return ShortLines(sys.stderr if as_json else sys.stdout)
    return None


def tell_refined(followed: Followed, workspace: Workspace, teller: Narrator, *, as_json: bool) -> None:
    """Say where it was saved, in a line; or as every verb does."""
    if not isinstance(teller, ShortLines):
        tell_result(followed, workspace, teller, as_json=as_json)
        return
    for path in followed.paths(workspace):
        teller.line(f"Output saved to {path}")
    if as_json:
        print(followed.as_json(), flush=True)
