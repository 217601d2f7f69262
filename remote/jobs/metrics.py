"""How a machine is doing: its GPUs, processor, memory and disk, as its agent sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from remote.hosts.agent_client import frames
from remote.hosts.answers import SAMPLE, checked
from remote.hosts.host import Host
from t2v_core.disk.plain_json import whole_characters


@dataclass(frozen=True)
class GpuSample:
    """One GPU. None stands where its driver answers [N/A].

    index: that of the driver, from 0
    """

    index: int | None
    name: str | None
    utilization_percent: float | None
    memory_used_mib: float | None
    memory_total_mib: float | None
    temperature_c: float | None
    power_w: float | None
    power_limit_w: float | None


@dataclass(frozen=True)
class MachineSample:
    """One moment of a machine.

    why_no_gpu: a sentence when `gpus` is empty
    disk_free_bytes: where its workspace lies
    """

    gpus: tuple[GpuSample, ...]
    why_no_gpu: str
    cpu_percent: float
    memory_total_bytes: int
    memory_available_bytes: int
    disk_free_bytes: int

    @classmethod
    def from_wire(cls, said: dict[str, Any]) -> MachineSample:
        """Read a sample. Raises AgentError for what is none."""
        said = checked("metrics", whole_characters(said), SAMPLE)
        names = [field.name for field in fields(GpuSample)]
        return cls(
            gpus=tuple(GpuSample(**{name: gpu.get(name) for name in names}) for gpu in said["gpus"]),
            why_no_gpu=said["why"],
            cpu_percent=said["cpu_percent"],
            memory_total_bytes=said["memory"]["total_bytes"],
            memory_available_bytes=said["memory"]["available_bytes"],
            disk_free_bytes=said["disk_free_bytes"],
        )


def watch_machine(host: Host, *, interval_s: int = 2) -> Iterator[MachineSample]:
    """Yield a sample every `interval_s` (whole seconds), from one nvidia-smi that runs there meanwhile.

    It runs as long as somebody looks.

    Raises HostUnreachable, LinkLost when the connection goes; whoever wants to go on asks again.
    """
    channel = host.open(["metrics"])
    try:
        for header, _ in frames(channel, {"interval_s": interval_s, "workspace": host.workdir}):
            if "gpus" in header:
                yield MachineSample.from_wire(header)
    finally:
        channel.close()
