"""How a machine is doing: its GPUs, processor, memory and disk, as its agent sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from remote.hosts.agent_client import frames
from remote.hosts.host import Host
from remote.replies.machine import GpuSample, Sample
from remote.replies.question import read_reply


@dataclass(frozen=True)
class MachineSample:
    """One moment of a machine.

    why_no_gpu: a sentence when `gpus` is empty
    memory_*: None where the system does not say
    disk_free_bytes: where its workspace lies
    """

    gpus: tuple[GpuSample, ...]
    why_no_gpu: str
    cpu_percent: float
    memory_total_bytes: int | None
    memory_available_bytes: int | None
    disk_free_bytes: int

    @property
    def memory_used_bytes(self) -> int | None:
        """Return what is not available; None where the system does not say."""
        total, available = self.memory_total_bytes, self.memory_available_bytes
        return None if total is None or available is None else total - available

    @classmethod
    def of(cls, said: Sample) -> MachineSample:
        """Return an agent's sample by our names."""
        return cls(
            gpus=said.gpus,
            why_no_gpu=said.why,
            cpu_percent=said.cpu_percent,
            memory_total_bytes=said.memory.total_bytes,
            memory_available_bytes=said.memory.available_bytes,
            disk_free_bytes=said.disk_free_bytes,
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
                yield MachineSample.of(read_reply(Sample, header, host.name, "metrics"))
    finally:
        channel.close()
