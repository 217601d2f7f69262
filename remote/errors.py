"""One tree of errors about where work runs; each is a sentence and a next step."""

from __future__ import annotations


class RemoteError(Exception):
    """What went wrong, in one sentence.

    message: names the thing that is wrong
    hint: the next thing to do or to type; may be empty
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class CannotStart(RemoteError):
    """The engine's process could not be started."""
