"""One tree of engine errors; each is a sentence and a next step."""

from __future__ import annotations


class EngineError(Exception):
    """What went wrong, in one sentence.

    message: names the thing that is wrong
    hint: the next thing to do or to type; may be empty
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidRequest(EngineError):
    """The request cannot be carried out as asked: a wrong flag, a missing file, an unreadable input."""

    exit_code = 2


class WorkFailed(EngineError):
    """The request was fine, the work failed: disk full, loss not finite, nothing readable."""


class NotFinite(WorkFailed):
    """A value came out as NaN or infinite; whatever is made from it would be as well."""


class NotEnoughMemory(WorkFailed):
    """Memory could not be had; whatever was being read is none the worse for it."""


class Stopped(EngineError):
    """Somebody asked the work to end; what was done so far is kept.

    exit_code: 130 for Ctrl-C, 4 for a stop request or SIGTERM
    """

    def __init__(self, message: str, hint: str = "", *, exit_code: int = 4) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code
