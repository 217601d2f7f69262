"""How gcloud's own scp reaches a VM that t2v reaches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from remote.gce.host import GceHost
from remote.hosts.known_hosts import KnownHosts


@dataclass(frozen=True)
class GcloudWay:
    """How gcloud reaches a VM."""

    instance: str
    project: str | None = None
    zone: str | None = None
    user: str | None = None
    port: int | None = None
    is_iap: bool = False


def way_to(host: GceHost) -> GcloudWay:
    """Return how gcloud reaches the VM, its key made known to gcloud.

    gcloud trusts any key the first time; so it is told the one that is pinned, and to take no other.
    """
    theirs = KnownHosts(Path.home() / ".ssh/google_compute_known_hosts")
    if not theirs.pinned(host.key_name):
        theirs.pin(host.key_name, host.known_hosts.pinned(host.key_name))
    vm = host.vm
    return GcloudWay(vm.name, vm.project, vm.zone, host.user, host.settings.port, is_iap=host.settings.iap)
