"""Whose something is on a host that several workspaces share: each asker says its id and its name.

`.t2v/workspaces/ID` holds the name of each that was here, and `.t2v/first-workspace` the id of the first: what was put
here before there were ids is that one's.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .asked import take
from .files import Json, Problem, write_whole
from .plain_json import read_bytes
from .private import make_folder

ID = re.compile(r"[0-9a-f]{16}")
LONGEST_NAME = 500


class Asker(NamedTuple):
    """The workspace that asks. id: "" for somebody in this very folder, and for one that cannot keep one"""

    id: str
    name: str


def asker(parameters: Json) -> Asker:
    """Return the workspace that asks; an empty one when it does not say. Raises Problem for a wrong id."""
    said = take(parameters, "by", dict, {})
    if not said:
        return Asker("", "")
    one = Asker(take(said, "id", str), take(said, "name", str)[:LONGEST_NAME])
    if not ID.fullmatch(one.id):
        raise Problem("asked-wrongly", f"{one.id!r} is not the id of a workspace")
    return one


def introduce(root: Path, by: Asker) -> None:
    """Keep the asker's name; what was here before there were ids is its own if it is the first to say one."""
    if not by.id:
        return
    place = root / ".t2v" / "workspaces" / by.id
    make_folder(place.parent)
    with suppress(FileExistsError):
        descriptor = os.open(root / ".t2v" / "first-workspace", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(descriptor, by.id.encode())
        os.close(descriptor)
    name = by.name.encode("utf-8", "replace").decode()
    if _text(place) != name:
        write_whole(place, name)


def first(root: Path) -> str:
    """Return the id of the first workspace that was here; "" for none."""
    return _text(root / ".t2v" / "first-workspace")


def name_of(root: Path, workspace_id: str) -> str:
    """Return a workspace's name; where it is not kept, words with its id."""
    return _text(root / ".t2v" / "workspaces" / workspace_id) or f"another workspace ({workspace_id or 'unknown'})"


def _text(path: Path) -> str:
    try:
        return read_bytes(path, 8 * LONGEST_NAME).decode(errors="replace")
    except (OSError, ValueError):
        return ""


def anothers(said: object, by: Asker) -> str:
    """Return the name of the workspace that something is of, as it was noted.

    It is "" for the asker's own, and where none is.

    Who asks without an id works in this very folder: whatever is in it is theirs.
    """
    id_, name = (said.get("id"), said.get("name")) if isinstance(said, dict) else (None, None)
    if not by.id or not id_ or id_ == by.id:
        return ""
    return str(name or f"another workspace ({id_})")
