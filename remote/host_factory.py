"""Which kind of host a name of t2v.toml means: the one place that knows all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from remote.hosts.host import Host, LocalHost
from remote.hosts.settings import LOCAL, HostSettings, settings_of, switched_hosts
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace

if TYPE_CHECKING:
    from remote.gce.scp import GcloudWay
    from remote.power.host import MachineHost
    from remote.power.state import MachineState


def host_named(name: str, workspace: Workspace) -> Host:
    """Return `local`, or a host of t2v.toml. Raises InvalidRequest for one that is not known."""
    if name == LOCAL:
        return LocalHost(workspace)
    settings = settings_of(name, workspace)
    if settings.is_switched:
        return switched_host(name, workspace)
    from remote.hosts.ssh import SSHHost  # local work needs no SSH

    return SSHHost(name, settings)


def switched_host(name: str, workspace: Workspace) -> MachineHost:
    """Return a host whose machine t2v switches on and off; nobody is asked yet. Raises InvalidRequest for any other."""
    settings = settings_of(name, workspace)
    if settings.provider == "gcloud":
        from remote.gce.host import GceHost
        from remote.gce.settings import vm_of

        return GceHost(name, settings, vm_of(name, settings))
    if settings.provider == "command":
        from remote.command.host import CommandHost
        from remote.command.machine import CommandMachine

        return CommandHost(name, settings, CommandMachine(name, settings, workspace))
    hint = f'add provider = "gcloud" or "command" to [host.{name}] if it is one'
    raise InvalidRequest(f"t2v.toml does not say that {name} is a VM that t2v may start and stop", hint)


def machines(workspace: Workspace) -> Iterator[tuple[str, MachineState]]:
    """Yield (host of t2v.toml or "", state) of every machine that the providers have. Raises CloudError.

    Google Cloud tells every VM of the projects that t2v.toml names, else of gcloud's own project; it is not asked where
    t2v.toml names machines of others only.
    """
    hosts = switched_hosts(workspace)
    googles = {name: one for name, one in hosts.items() if one.provider == "gcloud"}
    if googles or not hosts:
        from remote.gce.settings import vms_of

        yield from vms_of(googles)
    for name in hosts:
        if name not in googles:
            yield name, switched_host(name, workspace).vm.state()


def egress_usd(settings: HostSettings, size_bytes: int) -> float | None:
    """Return what its provider takes for so many bytes out of it, in USD, estimated; None where nobody knows."""
    if settings.provider != "gcloud":
        return None
    from remote.cost.prices import egress_usd  # a table that other hosts need not read

    return egress_usd(size_bytes)


def gcloud_way(host: Host) -> GcloudWay | None:
    """Return how gcloud reaches the host, its key made known to gcloud; None where gcloud does not know it."""
    from remote.gce.host import GceHost
    from remote.gce.scp import way_to

    return way_to(host) if isinstance(host, GceHost) else None
