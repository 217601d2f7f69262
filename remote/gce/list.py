"""Every VM of a project, and which of them somebody may have meant."""

from __future__ import annotations

import difflib
import time

from remote.errors import CloudError, VmNotFound
from remote.gce.client import ComputeClient, compute
from remote.gce.vm_state import VmState, vm_state


def list_vms(project: str, *, client: ComputeClient | None = None) -> list[VmState]:
    """Return the VMs of all zones, by name. Raises CloudError or one of its kinds."""
    said = (client or compute()).ask("list", project=project)["instances"]
    now_t = time.time()
    return sorted((vm_state(one, project, now_t) for one in said), key=lambda one: (one.name, one.zone))


def what_is_near(name: str, project: str, client: ComputeClient) -> str:
    """Say what to do about a VM that is not where it was looked for; "" when nothing is known of that."""
    try:
        there = list_vms(project, client=client)
    except VmNotFound:
        return f"is there a project {project}? gcloud projects list"
    except CloudError:
        return ""
    for one in there:
        if one.name == name:
            return f'{name} is in {one.zone}: set zone = "{one.zone}"'
    near = difflib.get_close_matches(name, [one.name for one in there], n=1)
    return f"did you mean '{near[0]}'?" if near else ""
