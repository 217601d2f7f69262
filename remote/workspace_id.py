"""Which workspace this one is, for a host that several of them share.

The id is made at `t2v init`, else when a host is first asked for something, and lies in `.t2v/workspace.json`. A host
keeps it beside what this workspace pushed and began; whatever has another one is somebody else's there.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from t2v_core.disk.files import NameTaken, land_new, write_json
from t2v_core.disk.plain_json import read_table
from t2v_core.disk.typed_json import read_as
from t2v_core.errors import EngineError
from t2v_core.workspace import Workspace

FILE = Path(".t2v/workspace.json")


@dataclass(frozen=True)
class _Known:
    """What the file holds. root: the folder in which it was read last"""

    id: str
    root: str


def identity(workspace: Workspace) -> dict[str, str]:
    """Return `{"id", "name"}`, as the agent takes it; made where there is none. Empty where none can be kept."""
    root = str(workspace.root)
    with suppress(EngineError):
        if (known := _id_in(workspace.root)) is not None and _is_a_copy(known, workspace.root):
            write_json(workspace.root / FILE, _new(root))
        elif known is None:
            with suppress(NameTaken):  # another process made one just now
                write_json(workspace.root / FILE, _new(root), land=land_new)
        elif known.root != root:  # it was moved, and stays what it was
            write_json(workspace.root / FILE, asdict(_Known(known.id, root)))
    known = _id_in(workspace.root)
    return {} if known is None else {"id": known.id, "name": f"{root} on {socket.gethostname()}"}


def _new(root: str) -> dict[str, str]:
    return asdict(_Known(secrets.token_hex(8), root))


def _id_in(root: Path) -> _Known | None:
    """None when there is none, or it makes no sense; then no id is made either, as somebody should look."""
    with suppress(OSError, ValueError):
        return read_as(_Known, read_table(root / FILE))
    return None


def _is_a_copy(known: _Known, root: Path) -> bool:
    """The folder that the id was made in is there still, with the same id: `cp -r` has made two of one."""
    other = Path(known.root)
    with suppress(OSError):
        first = None if other == root or other.samefile(root) else _id_in(other)
        return first is not None and first.id == known.id
    return False
