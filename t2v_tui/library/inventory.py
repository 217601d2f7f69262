"""What lies on each host, as it said last: `.t2v/tui/there/HOST.json`, for when it is off or not heard."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from t2v_core.disk.files import write_json
from t2v_core.disk.plain_json import read_table
from t2v_core.disk.private import make_folder
from t2v_core.disk.typed_json import UnixTime, read_as
from t2v_core.errors import EngineError
from t2v_tui.library.views import CheckpointView, VideoView

if TYPE_CHECKING:
    from t2v_core.workspace import Workspace


@dataclass(frozen=True)
class There:
    """The workspace of a host.

    why, hint: it could not be asked; what was known stays
    seen_t:    when it said so, Unix seconds by this machine's clock
    """

    host: str = ""
    checkpoints: tuple[CheckpointView, ...] = ()
    videos: tuple[VideoView, ...] = ()
    is_read: bool = False
    why: str = ""
    hint: str = ""
    seen_t: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class _Kept:
    """What the file holds."""

    seen_t: UnixTime
    checkpoints: tuple[CheckpointView, ...]
    videos: tuple[VideoView, ...]


def remember_there(workspace: Workspace, there: There) -> None:
    """Keep what lies on a host.

    A disk that takes no more, or a folder that may not be written, costs the memory and nothing else.
    """
    said = asdict(_Kept(there.seen_t, there.checkpoints, there.videos))
    with suppress(OSError, EngineError):
        make_folder(_file(workspace, there.host).parent)
        write_json(_file(workspace, there.host), said)


def recall_there(workspace: Workspace, host: str) -> There:
    """Return what was kept of a host.

    Nothing is known when nothing was kept, or what was kept is damaged or of another version.
    """
    try:
        kept = read_as(_Kept, read_table(_file(workspace, host)))
        return There(host, kept.checkpoints, kept.videos, True, seen_t=kept.seen_t)
    except (OSError, ValueError):
        return There(host)


def _file(workspace: Workspace, host: str) -> Path:
    return workspace.root / ".t2v" / "tui" / "there" / f"{quote(host, safe='')}.json"
