"""Folders that only their owner may look into, and none that others may write to is run from.

`.t2v/` and `jobs/` of a workspace and `~/.cache/t2v` are 0700, which protects the prompts, settings and logs in them.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .files import Problem

PRIVATE, ON_THE_WAY = 0o700, 0o755
# What the kernel says of a user that a container does not have: root's own folders, seen from within.
NOBODY = 65534


def make_folder(path: Path) -> None:
    """Make a folder and those above it; one of ours among them becomes its owner's alone."""
    parts = path.parts
    ours = [at + 1 for at, part in enumerate(parts) if part == ".t2v" or parts[max(0, at - 1) : at + 1] == CACHE]
    if ours:
        make_private(Path(*parts[: ours[0]]))
    path.mkdir(parents=True, exist_ok=True)


CACHE = (".cache", "t2v")


def make_private(folder: Path) -> None:
    """Make a folder that is its owner's alone; one that is there, and ours, becomes so."""
    for parent in reversed(folder.parents):
        if not parent.exists():
            parent.mkdir(mode=ON_THE_WAY, exist_ok=True)
    try:
        folder.mkdir(mode=PRIVATE)
    except FileExistsError:
        status = folder.stat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and status.st_mode & 0o077:
            folder.chmod(PRIVATE)


def open_to_others(path: Path) -> str:
    """Return why what lies in a folder must not be run; "" when nobody else may change it.

    The reason is a sentence with what mends it.

    Looks at the folder itself and at those above it, up to the home folder.
    """
    path = path.resolve()
    home = Path.home().resolve()
    there = next(one for one in (path, *path.parents) if one.exists())
    for folder in (there, *there.parents):
        if why := _why_open(folder):
            return why
        if folder == home:
            return ""
    return ""


def why_open(root: Path, program: str) -> str:
    """Return the same of what a program is run out of.

    That is t2v's own folder in a workspace, and the program's own if it is there. One that lies elsewhere somebody has
    named, and answers for.
    """
    folders = [root / ".t2v", *([Path(program).parent] if program.startswith(f"{root}{os.sep}") else [])]
    return next(filter(None, map(open_to_others, folders)), "")


def require_shut(root: Path, program: str) -> None:
    """Raise Problem when somebody else may change what would be run."""
    if why := why_open(root, program):
        raise Problem("asked-wrongly", why, "then ask again")


def _why_open(folder: Path) -> str:
    status = folder.stat()
    # Root is asked into other people's folders, as in a container that has one of theirs in it.
    if os.geteuid() != 0 and status.st_uid not in (os.geteuid(), 0, NOBODY):
        return f"{folder} belongs to another user (uid {status.st_uid}), who could change what runs in it"
    mode = status.st_mode
    if mode & stat.S_ISVTX or not mode & 0o022 or (not mode & 0o002 and _is_own_group(status.st_gid)):
        return ""
    who = "everybody" if mode & 0o002 else f"everybody in the group {_group_name(status.st_gid)}"
    mend = f"chmod go-w {folder}" if status.st_uid == os.geteuid() else f"sudo chmod +t {folder}"
    return f"{folder} may be written to by {who}, who could change what runs in it: {mend}"


def _is_own_group(gid: int) -> bool:
    """This user's alone, as many systems make one for each: then a umask of 002 gives nothing away."""
    import grp  # whoever starts a job waits for what is imported
    import pwd

    try:
        me, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    if gid != me.pw_gid or set(group.gr_mem) - {me.pw_name}:
        return False
    return group.gr_name == me.pw_name or all(one.pw_gid != gid or one.pw_uid == me.pw_uid for one in pwd.getpwall())


def _group_name(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
