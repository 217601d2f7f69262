"""One tree of errors about where work runs; each is a sentence and a next step."""

from __future__ import annotations

from t2v_core.errors import EngineError


class RemoteError(EngineError):
    """Something about hosts, jobs or the way to them went wrong; the work itself may be fine."""


class CannotStart(RemoteError):
    """The engine's process could not be started."""
