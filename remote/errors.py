"""One tree of errors about where work runs; each is a sentence and a next step."""

from __future__ import annotations

from t2v_core.errors import EngineError

UNREACHABLE = 3


class RemoteError(EngineError):
    """Something about hosts, jobs or the way to them went wrong; the work itself may be fine."""


class SshConfigWrong(RemoteError):
    """OpenSSH cannot read its own configuration; asking again does not help, mending the file does."""

    exit_code = 2


class AgentNotRun(RemoteError):
    """The host lets us in and does not run what it is told to.

    exit_status: of what it ran instead; None when it is still at it
    """

    exit_code = UNREACHABLE

    def __init__(self, message: str, hint: str = "", *, exit_status: int | None = None) -> None:
        super().__init__(message, hint)
        self.exit_status = exit_status


class CannotStart(RemoteError):
    """The engine's process could not be started."""


class HostUnreachable(RemoteError):
    """The host does not answer, or the way to it is closed. Says nothing about the jobs there."""

    exit_code = UNREACHABLE


class HungUp(HostUnreachable):
    """The host ended the connection before a word: too many were logging in at once, or nothing is there."""


class LinkLost(HostUnreachable):
    """The connection ended while it was used: cut, silent for too long, or closed by the other side.

    Never "the job failed": a channel that ends without an exit status ended with its connection.
    """


class AuthFailed(HostUnreachable):
    """The host is there and will not let us in."""


class LoginImpossible(AuthFailed):
    """It is not for want of our key there: ours cannot be used as it is, or the host takes no key alone."""


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


class HostOff(HostUnreachable):
    """The host is a VM that is not running; asking again does not help, starting it does."""


class CloudError(RemoteError):
    """The cloud that the VM is in says no, or cannot be asked."""


class CloudUnreachable(CloudError, HostUnreachable):
    """The cloud's API does not answer. Says nothing about the VM."""


class LoginExpired(CloudError):
    """Nobody is logged in to the cloud, or no longer; the hint is the command that mends it."""

    exit_code = 2


class Forbidden(CloudError):
    """Whoever is logged in may not do that."""

    exit_code = 2


class VmNotFound(CloudError):
    """There is no such VM, or no such project or zone."""

    exit_code = 2


class VmRefused(CloudError):
    """The cloud does not do that with this VM, as it is asked or as the VM is now."""

    exit_code = 2


class ProviderFailed(CloudError):
    """A command of t2v.toml that was to look at a machine, or to switch it, failed, hung, or said what nobody knows."""

    exit_code = 2


class StartLeft(CloudError):
    """Whoever wanted the VM up has left; whether its start was asked of the cloud before that, `Vm.left` tells."""


class MetadataChanged(CloudError):
    """Somebody else has written the VM's metadata meanwhile; read it again."""


class RateLimited(CloudError):
    """Too many questions in a short time; the way to the cloud is closed for a moment."""

    exit_code = UNREACHABLE


class QuotaExceeded(CloudError):
    """The project may not have more of that; waiting does not help."""

    exit_code = 2


class Stockout(CloudError):
    """The zone has no such machine available just now; waiting may help.

    zones: that have room, as far as the cloud says
    """

    def __init__(self, message: str, hint: str = "", *, zones: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint)
        self.zones = zones


class AgentError(RemoteError):
    """The agent on the host could not do what it was asked."""


class BadReply(AgentError):
    """What the agent replies is not of the form that its question has: it is broken, very old, or somebody else's."""


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


class TransferFailed(RemoteError):
    """Files did not arrive; what came of them is kept, and asking again goes on there."""


class Corrupt(TransferFailed):
    """What arrived is not what was meant, also when it was sent again."""


class SourceChanged(TransferFailed):
    """A file was written to each time it was read."""


class UnsafeName(TransferFailed):
    """A name from the other side that must not become one here."""


class DiskFull(TransferFailed):
    """There is no room for what was asked for."""
