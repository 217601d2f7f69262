"""Versions of t2v on this machine, each in a folder under the hash of its content."""

from __future__ import annotations

import re
from pathlib import Path

from ..base.asked import take, workspace
from ..base.files import Json, Problem, write_whole

RELEASE = re.compile(r"[0-9a-f]{8,64}")
RELEASE_PTH = "t2v-release.pth"
VENV = ".t2v/venv"


def releases(root: Path) -> list[str]:
    """Return the releases that are whole: the others have another name until they are."""
    return sorted(one.name for one in root.glob(".t2v/releases/*") if RELEASE.fullmatch(one.name))


def release_folder(root: Path, release: str) -> Path:
    """Return the folder of a release, whether it is there or not. Raises Problem for what names none."""
    if not RELEASE.fullmatch(release):
        raise Problem("asked-wrongly", f"{release!r} is not the name of a release")
    return root / ".t2v" / "releases" / release


def use_release(parameters: Json) -> Json:
    """Set what the venv's Python imports from now on; a job that runs already keeps the release that it began with."""
    root = workspace(parameters)
    folder = release_folder(root, take(parameters, "release", str))
    sites = list(root.glob(f"{VENV}/lib/python*/site-packages"))
    if not folder.is_dir() or not sites:
        raise Problem("not-found", f"there is no {VENV if folder.is_dir() else folder} to use", "run t2v bootstrap")
    for site in sites:
        write_whole(site / RELEASE_PTH, f"{folder}\n")
    return {"in_use": folder.name}


def with_release(environment: Json, root: Path, release: str | None) -> Json:
    """Return the environment of a job that names a release. Raises Problem when that is not here.

    It gets that one, with all its children, whatever is installed meanwhile.
    """
    if release is None:
        return environment
    folder = release_folder(root, release)
    if not folder.is_dir():
        raise Problem("not-found", f"release {release} is not on this host", "make it ready: t2v bootstrap")
    return {**environment, "PYTHONPATH": ":".join(filter(None, (str(folder), environment.get("PYTHONPATH"))))}
