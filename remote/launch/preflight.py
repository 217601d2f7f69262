"""How a host stands for one verb, in one round trip: release, environment, data, disk. Quicker than a bootstrap's look,
and enough to know whether one is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from remote.errors import JobNotFound, NotAnswered
from remote.jobs.client import HostJobs
from remote.launch.named_files import named_files
from remote.replies.files import Entry, OldFolders
from remote.replies.machine import Installed
from remote.replies.questions import HELLO, LIST, LS, PROBE, READ
from remote.setup.old_data import old_data
from remote.setup.release import Release
from t2v_core.disk.plain_json import table
from t2v_core.disk.typed_json import read_as
from t2v_core.specs import Spec

INSTALLED = ".t2v/venv/t2v-installed.json"
RELEASES = ".t2v/releases"
PROBE_TIMEOUT_S = 30.0  # nvidia-smi takes seconds when the driver has gone to sleep
# What a verb reads of its data set, by folder; True: made by us, and only whole ones count.
NEEDS: dict[str, dict[str, bool]] = {
    "train": {"latents": True, "text_embeddings": True},
    "preprocess": {"videos": False, "annotations": False},
    "evaluate": {"annotations": False},
}
WRITES_MUCH = ("train", "preprocess", "import-latents", "import-checkpoint", "fetch")


@dataclass(frozen=True)
class HostStatus:
    """How it stands.

    missing:         folders of the data set that are not there, or not whole
    absent:          files and folders that the spec names and that are not there
    disk_free_bytes: None when nobody looked
    logout:          why a job there would end with our login, in a sentence; empty where it does not
    old:             what the previous system left in the data set, when something is missing: see setup/old_data.py
    """

    has_release: bool
    has_environment: bool
    missing: tuple[str, ...]
    disk_free_bytes: int | None
    logout: str
    absent: tuple[str, ...] = ()
    old: OldFolders = field(default_factory=OldFolders)


def inspect_host(jobs: HostJobs, verb: str, spec: Spec, release: Release, *, begins: bool) -> HostStatus:
    """Look over the conversation that the host's jobs have: opening one of its own costs three round trips.

    begins: the verb is about to be started there, and not only looked at
    Raises HostUnreachable, AgentError.
    """
    data = str(getattr(spec, "data", ""))
    asker = _Asker(jobs)
    with ThreadPoolExecutor(8) as pool:
        releases = pool.submit(asker.names, RELEASES)
        installed = pool.submit(asker.installed)
        folders = {
            name: pool.submit(asker.has_whole if is_ours else asker.has, Path(data), name)
            for name, is_ours in ({} if reads_elsewhere(spec) else NEEDS.get(verb, {})).items()
        }
        named = {name: pool.submit(asker.is_there, name) for name in named_files(spec)}
        logout = pool.submit(asker.logout, begins)
        free = pool.submit(asker.free_bytes) if verb in WRITES_MUCH else None
        missing = tuple(name for name, has in folders.items() if not has.result())
        return HostStatus(
            has_release=release.name in releases.result(),
            has_environment=installed.result() == release.requirements_sha256,
            missing=missing,
            disk_free_bytes=free.result() if free is not None else None,
            logout=logout.result(),
            absent=tuple(name for name, found in named.items() if not found.result()),
            old=old_data(jobs, data) if missing and verb == "train" else OldFolders(),
        )


def reads_elsewhere(spec: Spec) -> str:
    """Return the address that a verb reads its data from, whatever is in the data set's folder; "" for none."""
    return getattr(spec, "latents", None) or ""


@dataclass(frozen=True)
class _Asker:
    jobs: HostJobs

    def _entries(self, path: str) -> Sequence[Entry]:
        try:
            return self.jobs.ask(LS, path=path).entries
        except JobNotFound:
            return ()

    def names(self, path: str) -> list[str]:
        """Return the names of what lies in a folder there."""
        return [one.path for one in self._entries(path)]

    def has(self, data: Path, name: str) -> bool:
        """Look by its name only: a list of all clips would be megabytes."""
        return name in self.names(str(data))

    def has_whole(self, data: Path, name: str) -> bool:
        """Tell whether there is a folder in it whose manifest fits. Links are taken on trust."""
        return any(one.is_complete or one.kind == "link" for one in self._entries(str(data / name)))

    def is_there(self, path: str) -> bool:
        """Tell whether there is a file or a folder of that path: absolute, or of the workspace there."""
        try:
            self.jobs.ask(LIST, path=path)
        except JobNotFound:
            return False
        return True

    def installed(self) -> str:
        """Return what the environment there holds, as the hash of its requirements; "" for none."""
        try:
            said = table(self.jobs.ask(READ, path=INSTALLED).data)
            return read_as(Installed, said).requirements_sha256
        except (JobNotFound, ValueError):
            return ""

    def logout(self, begins: bool) -> str:
        """Say why a job there would end with our login; "" where it does not."""
        return self.jobs.ask(HELLO, begins=begins).logout

    def free_bytes(self) -> int | None:
        """Return the free bytes of the disk there; None when the answer takes too long."""
        try:
            return self.jobs.ask(PROBE, retry_s=0.0, timeout_s=PROBE_TIMEOUT_S).disk_free_bytes
        except NotAnswered:
            return None
