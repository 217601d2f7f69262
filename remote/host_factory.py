"""Which kind of host a name of t2v.toml means: the one place that knows all of them."""

from __future__ import annotations

from remote.hosts.host import Host, LocalHost
from remote.hosts.settings import LOCAL, settings_of
from t2v_core.workspace import Workspace


def host_named(name: str, workspace: Workspace) -> Host:
    """Return `local`, or a host of t2v.toml. Raises AskedWrongly for one that is not known."""
    if name == LOCAL:
        return LocalHost(workspace)
    settings = settings_of(name, workspace)
    if settings.provider == "gcloud":
        from remote.gce.host import GceHost
        from remote.gce.settings import vm_of

        return GceHost(name, settings, vm_of(name, settings))
    from remote.hosts.ssh import SSHHost  # local work needs no SSH

    return SSHHost(name, settings)
