"""Which VM a section of t2v.toml means, where gcloud's own configuration fills in, and which others there are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from remote.gce.client import ComputeClient
from remote.gce.gcloud_config import gcloud_says
from remote.gce.list import list_vms
from remote.gce.vm import Vm
from remote.gce.vm_state import VmState, last_word
from remote.hosts.settings import HostSettings
from t2v_core.errors import InvalidRequest


def vm_of(name: str, settings: HostSettings, *, client: ComputeClient | None = None) -> Vm:
    """Return the VM, with project and zone of the settings, else of gcloud's configuration. Raises InvalidRequest."""
    project = project_of(settings, f'add project = "…" to [host.{name}]')
    zone = settings.zone or gcloud_says("zone")
    if zone is None:
        hint = f'add zone = "us-central1-a" to [host.{name}], or: gcloud config set compute/zone us-central1-a'
        raise InvalidRequest(f"nothing says which zone {name} is in", hint)
    return Vm(settings.instance or name, project, last_word(zone), client=client)


def project_of(settings: HostSettings | None, hint: str) -> str:
    """Return the project of the settings, else gcloud's own. Raises InvalidRequest, its hint beginning with `hint`."""
    project = (settings.project if settings else None) or gcloud_says("project", os.environ)
    if project is None:
        raise InvalidRequest(
            "nothing says which Google Cloud project is meant", f"{hint}, or: gcloud config set project NAME"
        )
    return project


def vms_of(hosts: Mapping[str, HostSettings]) -> Iterator[tuple[str, VmState]]:
    """Yield (host or "", VM) for every VM of the projects of these hosts, else of gcloud's own. Raises CloudError."""
    named = {(one.project, one.zone, one.name): host for host, one in ((n, vm_of(n, s)) for n, s in hosts.items())}
    for project in sorted({project for project, _, _ in named}) or [project_of(None, "name it")]:
        for one in list_vms(project):
            yield named.get((one.project, one.zone, one.name), ""), one
