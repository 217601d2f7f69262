"""How a machine stands by its provider's word: one value, whoever the provider is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum


class Power(StrEnum):
    """By the provider's word; unknown: it was never asked, said a word that is none of these, or there is none."""

    UNKNOWN = "unknown"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True)
class MachineState(ABC):
    """One machine at one moment. A provider's own state says what `power` its `status` means.

    id:               of the machine, not of its name: one that is made anew has another
    status:           as the provider says it, also a word that this t2v does not know
    seen_t:           when it was asked, by the clock here
    zone:             where it is; empty where that means nothing
    address:          its external one; None without, and while it is off
    internal_address: the one within its network, for a jump host
    gpus:             (type, count), as nvidia-tesla-a100
    disks_gb:         of all its disks together; 0 when the provider does not say
    *_t:              Unix times in seconds; None when the provider does not say
    usd_per_hour:     what an hour costs while it runs; None when the provider does not say
    max_run_s:        after so long the provider stops it whatever it does; None without that limit
    termination_t:    when that will be
    """

    name: str
    id: str
    status: str
    machine_type: str
    seen_t: float
    zone: str = ""
    address: str | None = None
    internal_address: str | None = None
    gpus: tuple[tuple[str, int], ...] = ()
    is_spot: bool = False
    disks_gb: float = 0.0
    last_start_t: float | None = None
    last_stop_t: float | None = None
    usd_per_hour: float | None = None
    max_run_s: float | None = None
    termination_t: float | None = None

    @property
    @abstractmethod
    def power(self) -> Power:
        """Return what its status means."""

    @property
    def is_running(self) -> bool:
        """Tell whether it runs by its provider's word; whether its SSH server answers yet is another question."""
        return self.power is Power.RUNNING

    @property
    def is_stopped(self) -> bool:
        """Tell whether it is off, and it costs nothing but its disks."""
        return self.power is Power.STOPPED

    @property
    def is_startable(self) -> bool:
        """Tell whether a start makes sense of it, also one that runs already; False for a word that nobody knows."""
        return self.power is not Power.UNKNOWN

    @property
    def key_name(self) -> str:
        """Return the name under which its host keys are pinned; empty where that is its address."""
        return ""

    @property
    def place(self) -> str:
        """Return its name and where it is, for a sentence about it."""
        return f"{self.name} in {self.zone}" if self.zone else self.name

    @property
    def where(self) -> str:
        """Return all that says where it is, but for its address."""
        return self.place
