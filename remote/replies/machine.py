"""What an agent says of its machine: who it is, what is installed there, how busy it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from t2v_core.diagnosis.check import State
from t2v_core.disk.typed_json import ShownText


@dataclass(frozen=True)
class Hello:
    """logout: why a job there would end with our login, in a sentence; empty where it does not"""

    logout: str


@dataclass(frozen=True)
class Engine:
    """What the engine's Python there has, each by its version; None for what is not installed."""

    python: str
    torch: str | None = None
    diffusers: str | None = None
    transformers: str | None = None

    @property
    def packages(self) -> dict[str, str | None]:
        """Return the versions of what is installed into that Python, by name."""
        return {"torch": self.torch, "diffusers": self.diffusers, "transformers": self.transformers}


@dataclass(frozen=True)
class GpuName:
    """A GPU, as its driver calls it."""

    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Probe(Hello):
    """What is there and what is missing.

    workspace: the folder, in full; is_there: it was made
    engine:    None where it does not run
    gpu_why:   a sentence when `gpus` is empty
    releases:  of t2v
    """

    workspace: str
    is_there: bool
    engine: Engine | None
    gpus: tuple[GpuName, ...]
    gpu_why: str | None
    driver: str | None
    disk_free_bytes: int
    releases: tuple[str, ...]


@dataclass(frozen=True)
class Installer:
    """The workspace that installed an environment."""

    id: str = ""
    name: str = ""


@dataclass(frozen=True)
class Installed:
    """What an environment holds, as whoever installed it wrote down; all empty where nobody did."""

    requirements_sha256: str = ""
    python: str = ""
    by: Installer = field(default_factory=Installer)


@dataclass(frozen=True)
class FoundPython:
    """A Python on the PATH there."""

    path: str
    version: str
    makes_venvs: bool


@dataclass(frozen=True, kw_only=True)
class Standing(Probe):
    """All that tells whether a host is ready.

    obstacle:     why the folder cannot be the workspace; empty when it can
    is_adoptable: an earlier t2v made an environment in venv/, which holds what is needed
    beside:       what lies where people would look for an environment
    in_use:       the release that the environment imports
    pythons:      only when something is missing
    hub:          models in the cache of Hugging Face
    """

    obstacle: str
    is_adoptable: bool
    beside: str
    installed: Installed
    in_use: str | None
    pythons: tuple[FoundPython, ...]
    hub: tuple[str, ...]


@dataclass(frozen=True)
class Sent:
    """size_bytes: so much of an upload is there"""

    size_bytes: int


@dataclass(frozen=True)
class Examined:
    """One check of the doctor there. mend: the line to type there"""

    name: str
    state: State
    sentence: str
    mend: str = ""


@dataclass(frozen=True)
class Examination:
    """What the doctor of the t2v there says."""

    checks: tuple[Examined, ...]


@dataclass(frozen=True)
class GpuSample:
    """One GPU. None stands where its driver answers [N/A].

    index: that of the driver, from 0
    """

    index: int | None
    name: ShownText | None = None
    utilization_percent: float | None = None
    memory_used_mib: float | None = None
    memory_total_mib: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None


@dataclass(frozen=True)
class MemorySample:
    """None where the system does not say."""

    total_bytes: int | None
    available_bytes: int | None


@dataclass(frozen=True)
class Sample:
    """One moment of a machine. why: a sentence when `gpus` is empty"""

    gpus: tuple[GpuSample, ...]
    why: ShownText
    cpu_percent: float
    memory: MemorySample
    disk_free_bytes: int
