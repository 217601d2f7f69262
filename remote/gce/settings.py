"""Which VM is meant: the hosts of t2v.toml that are VMs, and where gcloud's own configuration fills in."""

from __future__ import annotations

import difflib
import os

from remote.gce.client import ComputeClient
from remote.gce.gcloud_config import gcloud_says
from remote.gce.vm import Vm
from remote.gce.vm_state import last_word
from remote.hosts.settings import HostSettings, read_hosts
from t2v_core.errors import AskedWrongly
from t2v_core.workspace import Workspace


def vm_hosts(workspace: Workspace) -> dict[str, HostSettings]:
    """Return the hosts of t2v.toml that are VMs."""
    return {name: one for name, one in read_hosts(workspace).items() if one.provider == "gcloud"}


def vm_named(name: str, workspace: Workspace, *, client: ComputeClient | None = None) -> Vm:
    """Return the VM of a `[host.NAME]` with provider = "gcloud".

    Raises AskedWrongly when t2v.toml does not say enough.
    """
    hosts = read_hosts(workspace)
    if name not in hosts:
        near = difflib.get_close_matches(name, hosts, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f'add to t2v.toml: [host.{name}] and provider = "gcloud"'
        raise AskedWrongly(f"{workspace.settings_file} has no host '{name}'", hint)
    if hosts[name].provider != "gcloud":
        hint = f'add provider = "gcloud" to [host.{name}] if it is one'
        raise AskedWrongly(f"t2v.toml does not say that {name} is a VM of Google Cloud", hint)
    return vm_of(name, hosts[name], client=client)


def vm_of(name: str, settings: HostSettings, *, client: ComputeClient | None = None) -> Vm:
    """Return the VM, its project and zone as the settings say, else gcloud's own configuration. Raises AskedWrongly."""
    project = project_of(settings, f'add project = "…" to [host.{name}]')
    zone = settings.zone or gcloud_says("zone")
    if zone is None:
        hint = f'add zone = "us-central1-a" to [host.{name}], or: gcloud config set compute/zone us-central1-a'
        raise AskedWrongly(f"nothing says which zone {name} is in", hint)
    return Vm(settings.instance or name, project, last_word(zone), client=client)


def project_of(settings: HostSettings | None, hint: str) -> str:
    """Return the project of the settings, else gcloud's own. Raises AskedWrongly, its hint beginning with `hint`."""
    project = (settings.project if settings else None) or gcloud_says("project", os.environ)
    if project is None:
        raise AskedWrongly(
            "nothing says which Google Cloud project is meant", f"{hint}, or: gcloud config set project NAME"
        )
    return project
