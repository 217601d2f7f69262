"""What a bootstrap is about to make on a host, said before it is made, from an answer of the agent's."""

from __future__ import annotations

from dataclasses import dataclass

from remote.replies.machine import Standing
from remote.setup.release import Release
from t2v_core.format import counted, size

# An estimate: torch with CUDA's libraries, as they lie on the disk.
INSTALLED_BYTES = 7_000_000_000


@dataclass(frozen=True)
class Change:
    """One thing that is made or changed, or that stays and might be thought not to.

    path:       as people of that host would say it
    size_bytes: about; None where it is next to nothing or cannot be known
    """

    path: str
    what: str
    size_bytes: int | None = None

    def __str__(self) -> str:
        if self.size_bytes is None:
            return f"{self.path}: {self.what}"
        return f"{self.path}: {self.what}, about {size(self.size_bytes)}"


def changes(
    there: Standing, release: Release, *, needs_environment: bool, is_ours: bool, base_python: str
) -> list[Change]:
    """Return everything that a bootstrap will make there as it stands; empty when there is nothing to do.

    needs_environment: there is none, or it lacks something
    is_ours:           the environment is t2v's, not one that [host.NAME] python names
    base_python:       makes the environment
    """
    root, found = there.workspace, []
    if not there.is_there:
        found.append(Change(f"{root}/", "made, a folder"))
    if release.name not in there.releases:
        size = sum(map(len, release.files.values()))
        found.append(Change(f"{root}/.t2v/releases/{release.name}/", "this t2v", size))
    if is_ours and there.is_adoptable:
        found.append(Change(f"{root}/.t2v/venv", "a link to the environment in venv/, which is used as it is"))
    elif is_ours and needs_environment:
        found += _environment(there, release, base_python)
    if is_ours and there.in_use != release.name:
        found.append(Change(f"{root}/.t2v/venv/", f"imports t2v from .t2v/releases/{release.name} from then on"))
    return found


def _environment(there: Standing, release: Release, base_python: str) -> list[Change]:
    root, count = there.workspace, len(release.requirements)
    is_large = any(line.startswith("torch") for line in release.requirements)
    packages = f"{counted(count, 'package')} that the engine needs, with what they need"
    size = INSTALLED_BYTES if is_large else None
    found = [
        Change(f"{root}/jobs/", "a folder for the job that installs, with its log"),
        Change(f"{root}/.t2v/venv/", f"a Python environment of t2v's own, by {base_python or 'the Python there'}"),
        Change(f"{root}/.t2v/venv/", packages, size),
        Change("~/.cache/pip/", "what pip caches of its downloads, unless pip is configured otherwise"),
    ]
    if there.beside:
        found.append(Change(f"{root}/venv", f"{there.beside}; it stays as it is"))
    return found
