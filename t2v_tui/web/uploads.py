"""A file from a browser becomes a video of the workspace, once it was found to be one."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from t2v_core.disk.typed_json import read_as
from t2v_core.errors import InvalidRequest, WorkFailed
from t2v_core.format import size
from t2v_core.workspace import CLIP_SUFFIXES, Workspace

FOLDER = "outputs/inputs"  # as t2v-tui keeps what it brings in for a host
SUFFIXES = CLIP_SUFFIXES
CHECK_TIMEOUT_S = 120.0
KEPT_FREE_BYTES = 2**30


@dataclass(frozen=True)
class Upload:
    """A video that can be used.

    path: relative to the workspace; the same file sent twice has the same
    """

    path: str
    frames: int
    fps: float
    size: tuple[int, int]


@dataclass(frozen=True)
class Checked:
    """What check_upload.py says of a file: a video's size, or the error and hint of one that cannot be used."""

    frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    error: str = ""
    hint: str = ""


def accept(sent: Path, workspace: Workspace, *, most_bytes: int) -> Upload:
    """Check a file that came and move it to `outputs/inputs/`. Raises InvalidRequest if it is too large or no video."""
    if sent.stat().st_size > most_bytes:
        raise InvalidRequest(f"the file is larger than {size(most_bytes)}", hint="shorten it, or raise --max-upload-mb")
    if shutil.disk_usage(workspace.root).free < KEPT_FREE_BYTES:
        raise WorkFailed(
            f"less than {size(KEPT_FREE_BYTES)} is free in {workspace.root}",
            hint="free some space, and upload it again",
        )
    if sent.suffix.lower() not in SUFFIXES:
        raise InvalidRequest(
            f"a file named *{sent.suffix[:12]} is not accepted as a video", hint=f"send one of {' '.join(SUFFIXES)}"
        )
    found = checked(sent)
    with sent.open("rb") as file:
        name = hashlib.file_digest(file, "sha256").hexdigest()[:16] + sent.suffix.lower()
    target = workspace.root / FOLDER / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        sent.unlink()
    else:
        shutil.move(sent, target)
    return Upload(f"{FOLDER}/{name}", found.frames, found.fps, (found.width, found.height))


def checked(path: Path) -> Checked:
    """Return what check_upload.py says of a file. Raises InvalidRequest when it is no video that can be used."""
    command = [sys.executable, "-m", "t2v_core.data.video.check_upload", str(path)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=CHECK_TIMEOUT_S, check=False
        )
        said = read_as(Checked, json.loads(done.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired as error:
        raise InvalidRequest(
            f"the file could not be read within {CHECK_TIMEOUT_S:.0f} s", hint="send a shorter video"
        ) from error
    except (ValueError, IndexError) as error:  # the decoder fell over it
        raise InvalidRequest("the file cannot be read as a video", hint="send a video file that plays") from error
    if said.error:
        raise InvalidRequest(f"the file cannot be used: {said.error}", hint=said.hint)
    return said
