"""One tree of errors about where work runs; each is a sentence and a next step."""

from __future__ import annotations

from t2v_core.errors import EngineError

UNREACHABLE = 3


class RemoteError(EngineError):
    """Something about hosts, jobs or the way to them went wrong; the work itself may be fine."""


class CannotStart(RemoteError):
    """The engine's process could not be started."""


class HostUnreachable(RemoteError):
    """The host does not answer, or the way to it is closed. Says nothing about the jobs there."""

    exit_code = UNREACHABLE


class LinkLost(HostUnreachable):
    """The connection ended while it was used: cut, silent for too long, or closed by the other side.

    Never "the job failed": a channel that ends without an exit status ended with its connection.
    """


class AuthFailed(HostUnreachable):
    """The host is there and will not let us in."""


class HostKeyRefused(HostUnreachable):
    """We will not talk to a host that cannot show that it is the one we mean."""


class HostKeyUnknown(HostKeyRefused):
    """No key is pinned for the host.

    name: what it is pinned under; shown: the key it shows, as in a known_hosts line; fingerprint: SHA256:…
    """

    def __init__(self, message: str, hint: str = "", *, name: str = "", shown: str = "", fingerprint: str = "") -> None:
        super().__init__(message, hint)
        self.name, self.shown, self.fingerprint = name, shown, fingerprint


class HostKeyChanged(HostKeyRefused):
    """The host shows another key than the one pinned for it, or one that was revoked."""


class AgentError(RemoteError):
    """The agent on the host could not do what it was asked."""


class JobNotFound(RemoteError):
    """There is no such job on the host."""

    exit_code = 2


class NotAnswered(AgentError):
    """The agent is there and did not answer in time; what was asked for may still happen."""


class Refused(RemoteError):
    """The agent cannot do what was asked, as it was asked."""

    exit_code = 2


class NotReady(RemoteError):
    """The host lacks something that the engine needs, and t2v cannot put it there."""
