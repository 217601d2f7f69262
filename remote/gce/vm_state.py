"""What Compute Engine says of a VM, as values."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from remote.errors import CloudError
from remote.power.state import MachineState, Power

RUNNING = "RUNNING"
# TERMINATED is Compute Engine's word for a VM that is stopped and can be started again.
STOPPED = ("TERMINATED", "STOPPED")
SUSPENDED = "SUSPENDED"
ON_THE_WAY_UP = ("PENDING", "PROVISIONING", "STAGING", "REPAIRING")
ON_THE_WAY_DOWN = ("PENDING_STOP", "STOPPING", "SUSPENDING")
POWERS = {
    RUNNING: Power.RUNNING, **dict.fromkeys(STOPPED, Power.STOPPED), **dict.fromkeys(ON_THE_WAY_UP, Power.STARTING),
    **dict.fromkeys(ON_THE_WAY_DOWN, Power.STOPPING),
}  # fmt: skip
# Those that gcloud takes from guest attributes as well.
KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")


@dataclass(frozen=True, kw_only=True)
class VmState(MachineState):
    """One VM at one moment."""

    project: str

    @property
    def power(self) -> Power:
        """Return what its status means; UNKNOWN for one that is none of ours, and for a suspended VM."""
        return POWERS.get(self.status, Power.UNKNOWN)

    @property
    def is_startable(self) -> bool:
        """Tell whether a start makes sense of it: a suspended one is resumed."""
        return super().is_startable or self.status == SUSPENDED

    @property
    def where(self) -> str:
        """Return zone and project as well."""
        return f"{self.place}, project {self.project}"

    @property
    def key_name(self) -> str:
        """Return the name under which its host keys are pinned, as gcloud does it.

        The address changes, this does not.
        """
        return f"compute.{self.id}"


def vm_state(said: Mapping[str, Any], project: str, seen_t: float) -> VmState:
    """Read an `Instance` as the API writes it. Raises CloudError for what is none."""
    try:
        return _vm_state(said, project, seen_t)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise CloudError(f"the cloud's answer about a VM cannot be understood: {error!r}", "ask again") from error


def _vm_state(said: Mapping[str, Any], project: str, seen_t: float) -> VmState:
    scheduling = said.get("scheduling", {})
    network: Mapping[str, Any] = next(iter(said.get("networkInterfaces", ())), {})
    access: Mapping[str, Any] = next(iter(network.get("accessConfigs", ())), {})
    return VmState(
        name=str(said.get("name", "")),
        project=project,
        zone=last_word(said.get("zone", "")),
        id=str(said.get("id", "")),
        status=str(said.get("status", "")),
        machine_type=last_word(said.get("machineType", "")),
        seen_t=seen_t,
        address=access.get("natIP"),
        internal_address=network.get("networkIP"),
        gpus=_gpus(said.get("guestAccelerators", ())),
        is_spot=scheduling.get("provisioningModel") == "SPOT" or bool(scheduling.get("preemptible")),
        disks_gb=float(sum(int(disk.get("diskSizeGb", 0)) for disk in said.get("disks", ()))),
        last_start_t=_unix(said.get("lastStartTimestamp")),
        last_stop_t=_unix(said.get("lastStopTimestamp")),
        max_run_s=_seconds(scheduling.get("maxRunDuration")),
        termination_t=_unix(scheduling.get("terminationTime") or said.get("resourceStatus", {})
                            .get("scheduling", {}).get("terminationTimestamp")),
    )  # fmt: skip


def last_word(url: str) -> str:
    """Return `a2-highgpu-1g` of `https://…/machineTypes/a2-highgpu-1g`."""
    return str(url).rpartition("/")[2]


def _gpus(said: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, int], ...]:
    return tuple((last_word(one.get("acceleratorType", "")), int(one.get("acceleratorCount", 0))) for one in said)


def _unix(text: str | None) -> float | None:
    """Of `2026-11-25T01:02:03.004-08:00`; None for what is no time."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


def _seconds(said: Mapping[str, Any] | None) -> float | None:
    return float(said.get("seconds", 0)) if said else None


def items_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the items of a VM's or a project's metadata."""
    return {str(one["key"]): str(one.get("value", "")) for one in metadata.get("items", ())}


def host_keys_in(guest_attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the host keys, `type base64` each.

    Anything in the VM may have written them, and they go into a file of lines.
    """
    items = guest_attributes.get("queryValue", {}).get("items", ())
    keys = {str(item.get("key", "")): _base64_in(str(item.get("value", ""))) for item in items}
    return tuple(f"{kind} {keys[kind]}" for kind in KEY_TYPES if keys.get(kind))


def _base64_in(text: str) -> str:
    """Up to the first blank, if that is base64; else nothing."""
    word = next(iter(text.split()), "")
    try:
        return word if base64.b64encode(base64.b64decode(word, validate=True)).decode() == word else ""
    except binascii.Error:
        return ""
