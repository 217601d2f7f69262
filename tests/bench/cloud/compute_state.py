"""What the Compute Engine of the bench holds: instances that take their time to start and stop, and operations."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

Json = dict[str, Any]
OPERATION_LIMIT_S = 60.0


class Guest(Protocol):
    """The inside of a VM."""

    def boot(self, instance: Instance) -> None:
        """The machine has power."""

    def shut_down(self, instance: Instance) -> None:
        """It has none any more."""

    def is_off(self, instance: Instance) -> bool:
        """It has switched itself off from inside."""

    def metadata_changed(self, instance: Instance, project_items: dict[str, str]) -> None:
        """What the guest agent hears; also when nothing runs."""


@dataclass
class Metadata:
    """Items under a fingerprint, which a writer has to know."""

    items: dict[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        return base64.b64encode(hashlib.sha256(json.dumps(sorted(self.items.items())).encode()).digest()[:8]).decode()

    def to_json(self) -> Json:
        items = [{"key": key, "value": value} for key, value in self.items.items()]
        return {"kind": "compute#metadata", "fingerprint": self.fingerprint, "items": items}


@dataclass
class Instance:
    """One VM.

    shown: a status to show instead of its own
    max_run_s: after so long the cloud stops it; see `Cloud.reach_limit`
    guest_attributes: by namespace and key, when the metadata item enable-guest-attributes is TRUE
    """

    name: str
    zone: str = "us-central1-a"
    id: int = 4711001
    status: str = "TERMINATED"
    machine_type: str = "a2-highgpu-1g"
    gpus: tuple[tuple[str, int], ...] = (("nvidia-tesla-a100", 1),)
    disks_gb: tuple[int, ...] = (200,)
    address: str = "127.0.0.1"
    is_spot: bool = False
    has_external_address: bool = True
    metadata: Metadata = field(default_factory=Metadata)
    guest_attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    max_run_s: int | None = None
    shown: str = ""
    last_start_t: float | None = None
    last_stop_t: float | None = None

    def to_json(self, base: str) -> Json:
        zone = f"{base}/zones/{self.zone}"
        access: Json = {"kind": "compute#accessConfig", "type": "ONE_TO_ONE_NAT", "name": "External NAT"}
        if self.status in ("RUNNING", "STOPPING"):
            access["natIP"] = self.address
        network: Json = {"name": "nic0", "networkIP": "10.128.0.2", "network": f"{base}/global/networks/default"}
        if self.has_external_address:
            network["accessConfigs"] = [access]
        return {
            "kind": "compute#instance", "id": str(self.id), "name": self.name, "zone": zone,
            "selfLink": f"{zone}/instances/{self.name}", "status": self.shown or self.status,
            "machineType": f"{zone}/machineTypes/{self.machine_type}", "networkInterfaces": [network],
            "creationTimestamp": "2026-01-02T03:04:05.678-08:00", "metadata": self.metadata.to_json(),
            "disks": [
                {"kind": "compute#attachedDisk", "type": "PERSISTENT", "diskSizeGb": str(size), "boot": number == 0}
                for number, size in enumerate(self.disks_gb)
            ],
            "guestAccelerators": [
                {"acceleratorType": f"{zone}/acceleratorTypes/{kind}", "acceleratorCount": count}
                for kind, count in self.gpus
            ],
            "scheduling": self._scheduling(),
            **({"lastStartTimestamp": stamp(self.last_start_t)} if self.last_start_t else {}),
            **({"lastStopTimestamp": stamp(self.last_stop_t)} if self.last_stop_t else {}),
        }  # fmt: skip

    def _scheduling(self) -> Json:
        said: Json = {
            "onHostMaintenance": "TERMINATE", "automaticRestart": not self.is_spot, "preemptible": self.is_spot,
            "provisioningModel": "SPOT" if self.is_spot else "STANDARD",
        }  # fmt: skip
        if self.max_run_s is not None:
            said |= {"maxRunDuration": {"seconds": str(self.max_run_s)}, "instanceTerminationAction": "STOP"}
            if self.status == "RUNNING" and self.last_start_t is not None:
                said["terminationTime"] = stamp(self.last_start_t + self.max_run_s)
        return said


def stamp(t: float) -> str:
    """As the API writes times."""
    return datetime.fromtimestamp(t, UTC).isoformat(timespec="milliseconds")


@dataclass
class OperationError:
    """How an operation ends badly.

    has_worked: the VM is up, or down, nevertheless
    zones:      that have room, in a stock-out's details
    """

    code: str
    message: str = ""
    http: int = 400
    zones: tuple[str, ...] = ()
    has_worked: bool = False

    def to_json(self) -> Json:
        said: Json = {"code": self.code, "message": self.message or f"{self.code} happened."}
        if self.zones:
            details = {"reason": "stockout", "domain": "compute.googleapis.com"}
            said["errorDetails"] = [{"errorInfo": {**details, "metadatas": {"zonesAvailable": ",".join(self.zones)}}}]
        return {"errors": [said]}


@dataclass
class Operation:
    """zone: "" for one of the project."""

    name: str
    verb: str
    target: str
    zone: str
    status: str = "PENDING"
    error: OperationError | None = None

    def to_json(self, base: str) -> Json:
        where = f"zones/{self.zone}" if self.zone else "global"
        said: Json = {
            "kind": "compute#operation", "id": "99" + self.name[-4:], "name": self.name, "operationType": self.verb,
            "status": self.status, "progress": 100 if self.status == "DONE" else 0, "user": "me@example.com",
            "targetLink": f"{base}/{self.target}".rstrip("/"), "selfLink": f"{base}/{where}/operations/{self.name}",
            **({"zone": f"{base}/zones/{self.zone}"} if self.zone else {}),
        }  # fmt: skip
        if self.status == "DONE" and self.error is not None:
            said |= {"error": self.error.to_json(), "httpErrorStatusCode": self.error.http}
            said["httpErrorMessage"] = "SERVICE UNAVAILABLE" if self.error.http == 503 else "BAD REQUEST"
        return said


@dataclass
class Cloud:
    """One project.

    step_s:  from each state of a VM or operation to the next
    boot_s:  from RUNNING until the guest has power; its SSH server answers after that
    errors:  how the next operations end, by verb (start, stop, …)
    """

    guest: Guest
    project: str = "proj"
    step_s: float = 0.02
    boot_s: float = 0.0
    instances: dict[tuple[str, str], Instance] = field(default_factory=dict)
    metadata: Metadata = field(default_factory=Metadata)
    operations: dict[str, Operation] = field(default_factory=dict)
    errors: dict[str, list[OperationError]] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=lambda: threading.Condition(threading.RLock()))
    closing: threading.Event = field(default_factory=threading.Event)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1001))
    _threads: list[threading.Thread] = field(default_factory=list)

    def add(self, instance: Instance) -> Instance:
        """A VM that is there; one that runs has power at once."""
        self.instances[instance.zone, instance.name] = instance
        if instance.status == "RUNNING":
            instance.last_start_t = time.time()
            self.guest.metadata_changed(instance, self.metadata.items)
            self.guest.boot(instance)
        return instance

    def begin(self, verb: str, target: str, zone: str, work: Callable[[], None]) -> Operation:
        """An operation that is PENDING, RUNNING, and DONE when `work` is."""
        with self.changed:
            operation = Operation(f"operation-{next(self._numbers)}", verb, target, zone)
            self.operations[operation.name] = operation
            waiting = self.errors.get(verb, [])
            operation.error = waiting.pop(0) if waiting else None
        thread = threading.Thread(target=self._carry_out, args=(operation, work), daemon=True)
        self._threads.append(thread)
        thread.start()
        return operation

    def _carry_out(self, operation: Operation, work: Callable[[], None]) -> None:
        self.pause()
        self._show(operation, "RUNNING")
        self.pause()
        if operation.error is None or operation.error.has_worked:
            work()
        self._show(operation, "DONE")

    def _show(self, operation: Operation, status: str) -> None:
        with self.changed:
            operation.status = status
            self.changed.notify_all()

    def pause(self) -> None:
        self.closing.wait(self.step_s)

    def show(self, instance: Instance, status: str) -> None:
        with self.changed:
            instance.status = status
            self.changed.notify_all()

    def bring_up(self, instance: Instance) -> None:
        if instance.status == "RUNNING":
            return
        for status in ("PROVISIONING", "STAGING"):
            self.show(instance, status)
            self.pause()
        instance.last_start_t = time.time()
        self.show(instance, "RUNNING")
        self.guest.metadata_changed(instance, self.metadata.items)
        if self.boot_s:
            booting = threading.Thread(target=self._boot, args=(instance,), daemon=True)
            self._threads.append(booting)
            booting.start()
        else:
            self.guest.boot(instance)

    def _boot(self, instance: Instance) -> None:
        if not self.closing.wait(self.boot_s):
            self.guest.boot(instance)

    def bring_down(self, instance: Instance) -> None:
        if instance.status == "TERMINATED":
            return
        self.show(instance, "STOPPING")
        self.guest.shut_down(instance)
        self.pause()
        instance.last_stop_t = time.time()
        self.show(instance, "TERMINATED")

    def notice(self) -> None:
        """A guest that switched itself off is a VM that stops."""
        for instance in self.instances.values():
            if instance.status == "RUNNING" and self.guest.is_off(instance):
                self.show(instance, "STOPPING")
                stopping = threading.Thread(target=self.bring_down, args=(instance,), daemon=True)
                self._threads.append(stopping)
                stopping.start()

    def reach_limit(self, instance: Instance) -> None:
        """What the cloud does when `max_run_s` is over."""
        self.bring_down(instance)

    def await_operation(self, operation: Operation, timeout_s: float) -> None:
        with self.changed:
            self.changed.wait_for(lambda: operation.status == "DONE" or self.closing.is_set(), timeout_s)

    def close(self) -> None:
        self.closing.set()
        with self.changed:
            self.changed.notify_all()
        for thread in self._threads:
            thread.join(OPERATION_LIMIT_S)
        for instance in self.instances.values():
            self.guest.shut_down(instance)
