"""Pasted text is text: what a terminal would obey never becomes a key, and of several lines none is lost silently."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable

from textual._xterm_parser import XTermParser
from textual.events import Paste
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from t2v_core.format import counted
from t2v_tui.terminal import Replies

BEGINS, ENDS = "\x1b[200~", "\x1b[201~"
# Stands in a paste for each escape character, which Textual's parser would take for the beginning of a key.
SUBSTITUTE = "\x1a"
LINE_ENDS = re.compile(r"\s*(?:\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])\s*")
# Colours, cursor movements, titles: as a terminal writes them, or with the sign that stands for their escape character.
SEQUENCES = re.compile(
    r"[\x1a\x1b](?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1a\x1b]*(?:\x07|[\x1a\x1b]\\)?|[ -/]*[0-~])"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")


def as_text(text: str, *, keeps_lines: bool = False) -> tuple[str, str]:
    """Return what of it goes into an entry, and a sentence on what was changed, empty when nothing worth a word was.

    keeps_lines: the entry takes what it needs of them itself
    """
    text, sequences = SEQUENCES.subn("", text.strip("\r\n"))
    text, lines = (text, 0) if keeps_lines else LINE_ENDS.subn(" ", text)
    text, controls = CONTROLS.subn("", text.replace("\t", " "))
    left_out = sequences + controls
    said = [f"{lines + 1} lines became one"] * bool(lines)
    said += [f"{counted(left_out, 'control character')} left out"] * bool(left_out)
    return text, f"pasted as text: {', '.join(said)}" if said else ""


def is_taken_by(entry: Widget | None, event: Paste, say: Callable[..., object]) -> bool:
    """Make text of a paste, and say what was changed; False when there is no entry for it.

    entry: what has the focus; say: `App.notify`
    """
    if not isinstance(entry, Input):
        say("nothing was pasted: no text field has the focus", timeout=4)
        return False
    event.text, said = as_text(event.text, keeps_lines=getattr(entry, "TAKES_LINES", False))
    if said:
        say(said, timeout=4)
    return bool(event.text)


class Pastes:
    """Takes the escape characters out of what is pasted, in a stream that comes in pieces of any size."""

    def __init__(self) -> None:
        self._is_pasted = False
        self._before = ""  # the end of what was passed on, in which the beginning of a paste may have begun
        self._held = ""  # of a paste: its last characters, with which its end may begin

    def cleaned(self, data: str) -> str:
        """Return the same, in which only keys and the two marks around a paste have escape characters."""
        data, self._held, done = self._held + data, "", []
        while data:
            if not self._is_pasted:
                at = (self._before + data).find(BEGINS)
                end = len(data) if at < 0 else at + len(BEGINS) - len(self._before)
                self._is_pasted = at >= 0
                done.append(data[:end])
                self._before = "" if self._is_pasted else (self._before + data)[-len(BEGINS) + 1 :]
                data = data[end:]
                continue
            at = _end_of(data)
            if at < 0:
                kept = _begun(data, ENDS)
                self._held, data = data[len(data) - kept :], data[: len(data) - kept]
                done.append(data.replace("\x1b", SUBSTITUTE))
                break
            done += [data[:at].replace("\x1b", SUBSTITUTE), ENDS]
            data, self._is_pasted = data[at + len(ENDS) :], False
        return "".join(done)


def _end_of(data: str) -> int:
    """Where the paste ends: at the last of several marks in a row, since what was pasted may hold some itself."""
    begins = data.find(BEGINS)
    return data.rfind(ENDS, 0, begins if begins >= 0 else None)


def _begun(data: str, mark: str) -> int:
    """So many characters at the end of `data` may be the beginning of `mark`."""
    return next((count for count in range(len(mark) - 1, 0, -1) if data.endswith(mark[:count])), 0)


class PasteParser(XTermParser):
    """Textual's, which takes an escape character within a paste for a key: `ESC ^G` started a job.

    It would also type what the terminal answers when it is asked which pictures it can show.
    """

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._pastes, self._replies = Pastes(), Replies()

    def feed(self, data: str) -> Iterable[Message]:
        """Parse what was read, with the escape characters taken out of pastes."""
        cleaned, answers = self._replies.taken(self._pastes.cleaned(data))
        yield from answers
        if cleaned or not data:
            yield from super().feed(cleaned)


def install() -> None:
    """Have the driver of terminals read with it; Textual has no other door than the name in its module."""
    from textual.drivers import linux_driver  # only where there is a terminal

    linux_driver.XTermParser = PasteParser  # type: ignore[attr-defined]
    if os.environ.get("TEXTUAL_DRIVER"):
        from textual.drivers import web_driver

        web_driver.XTermParser = PasteParser  # type: ignore[attr-defined]
