"""What goes wrong with the hub, each in a sentence and a next step."""

from __future__ import annotations

from typing import cast

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from t2v_core.errors import EngineError, InvalidRequest, WorkFailed

LOG_IN = "log in on the machine that does the work: hf auth login, or set HF_TOKEN there"
AGAIN = "run the same command again: it goes on where it broke off"
# The base of all that goes wrong on the way: the hub's client has changed the library that it is from, not its place.
Interrupted = cast(type[Exception], HfHubHTTPError.__bases__[0])

Words = tuple[type[Exception] | tuple[type[Exception], ...], type[EngineError], str, str]
# The first that an error is one of: what it becomes, the sentence, and the next step.
WORDS: tuple[Words, ...] = (
    (
        GatedRepoError, InvalidRequest,
        "the makers of {asked} let only those have it who are logged in and agreed to its terms",
        f"agree at {{endpoint}}/{{asked}}, then {LOG_IN}",
    ),
    (RevisionNotFoundError, InvalidRequest, "the hub's {asked} has no files yet", "name another model"),
    (
        RepositoryNotFoundError, InvalidRequest,
        "the hub has no model {asked}, or it is private and nobody is logged in here", f"check the name, or {LOG_IN}",
    ),
    (
        (OfflineModeIsEnabled, LocalEntryNotFoundError), WorkFailed,
        "the hub is not asked, since HF_HUB_OFFLINE is set here", f"unset it, and {AGAIN}",
    ),
    (HfHubHTTPError, WorkFailed, "the hub could not do that for {asked}: {reason}", f"{LOG_IN}; else {AGAIN}"),
    (Interrupted, WorkFailed, "{lost}: {reason}", f"connect, and {AGAIN}"),
    (OSError, WorkFailed, "a file for {asked} cannot be used: {reason}", f"check it, and {AGAIN}"),
    (Exception, WorkFailed, "the hub's client failed with {asked}: {reason}", AGAIN),
)  # fmt: skip


def not_an_id(asked: str) -> InvalidRequest:
    """Return the error for what cannot be the id of a model."""
    return InvalidRequest(f"{asked} is not a hub id", hint="an id is OWNER/NAME")


def hub_error(asked: str, error: Exception, *, during: str = "") -> EngineError:
    """Return the error for what the hub's client raised while `asked`, an id, was looked up or moved.

    during: what the hub was in the middle of, such as `sending NAME`; empty where it has not answered yet
    """
    if isinstance(error, EngineError):
        return error
    cause = _told_by(error)
    kind, message, hint = next(words[1:] for words in WORDS if isinstance(cause, words[0]))
    lost = f"the connection to the hub broke off while {during}" if during else "the hub cannot be reached"
    said = {"asked": asked, "reason": _first(cause), "endpoint": constants.ENDPOINT, "lost": lost}
    return kind(message.format(**said), hint=hint.format(**said))


def _told_by(error: BaseException) -> BaseException:
    """The first of an error and its causes that says what happened: the client wraps some in one that does not."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    kinds = tuple(words[0] for words in WORDS[:-1])
    # One that says that a file is not here has the reason why it could not be asked for below it.
    said = [one for one in causes if not isinstance(one, LocalEntryNotFoundError) or one is causes[-1]]
    return next((one for one in said if any(isinstance(one, kind) for kind in kinds)), error)


def _first(error: BaseException) -> str:
    """The first line of what a library says; the hub's own run over several."""
    said = getattr(error, "server_message", None) or str(error).strip() or type(error).__name__
    return str(said).splitlines()[0][:200]
