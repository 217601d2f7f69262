"""A Compute Engine on loopback with one VM, and t2v's client for it, which may talk to nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cloud.compute_emulator import ComputeEmulator
from bench.cloud.compute_state import Cloud, Guest, Instance
from bench.cloud.guest_agent import NoGuest

from remote.gce.client import ComputeClient
from remote.gce.vm import Vm
from remote.gce.vm_state import VmState
from remote.steps import StepState
from support.house.needs import needs

NAME, ZONE = "a100-golden", "us-central1-a"
GUARD = Path(__file__).parents[2] / "bench/loopback_only"


@dataclass
class Gce:
    """home: of whoever works here; left: what was tried beyond loopback"""

    emulator: ComputeEmulator
    home: Path
    told: list[StepState | VmState] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.home / ".ssh").mkdir(parents=True, exist_ok=True)
        self.client = ComputeClient(self.environment)

    @property
    def environment(self) -> dict[str, str]:
        guard = {"PYTHONPATH": str(GUARD), "LEFT_LOOPBACK": str(self.home / "left-loopback")}
        return self.emulator.environment(self.home) | guard

    @property
    def left(self) -> list[str]:
        file = self.home / "left-loopback"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def cloud(self) -> Cloud:
        return self.emulator.cloud

    @property
    def vm(self) -> Vm:
        return Vm(NAME, "proj", ZONE, client=self.client)

    def add(self, status: str = "TERMINATED", **how: Any) -> Instance:
        return self.cloud.add(Instance(NAME, status=status, **how))

    def tell(self, said: StepState | VmState) -> None:
        self.told.append(said)

    @property
    def states(self) -> list[str]:
        return [one.status for one in self.told if isinstance(one, VmState)]

    @property
    def words(self) -> list[str]:
        return [one.detail for one in self.told if isinstance(one, StepState)]

    def reset(self) -> None:
        self.emulator.reset()
        self.told.clear()

    def write_settings(self, workspace: Path, *lines: str) -> None:
        """`[host.a100-golden]` for a command line."""
        settings = [f"[host.{NAME}]", 'provider = "gcloud"', *lines]
        (workspace / "t2v.toml").write_text("\n".join(settings) + "\n")


@contextmanager
def gce_here(home: Path, guest: Guest | None = None) -> Iterator[Gce]:
    """Open for a module's tests; each of them begins with `reset`. Nobody may have left loopback by the end."""
    with ComputeEmulator(guest or NoGuest()) as emulator:
        gce = Gce(emulator, home)
        try:
            yield gce
        finally:
            gce.client.close()
    assert gce.left == []


def gcloud() -> Sequence[str]:
    """The real one."""
    return [needs("gcloud")]
