"""Checkpoints, and what killed processes left under staging names."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2v_core.checkpoints.old_names import old_files, wrong_with
from t2v_core.diagnosis.check import Check, bad, good, odd
from t2v_core.diagnosis.settings import bytes_of
from t2v_core.diagnosis.values import MAX_HEADER_BYTES, not_finite
from t2v_core.disk.files import STAGING, incompleteness, left_behind
from t2v_core.disk.formats import CHECKPOINT_FORMAT, is_later, later_in_words
from t2v_core.disk.opening import open_file
from t2v_core.disk.plain_json import read_table, table
from t2v_core.format import counted, size

# As t2v_core.checkpoints.checkpoints has them; that module needs torch.
NAME = re.compile(r"checkpoint_(epoch|step)_(\d+)$")
MODEL, TRAINER = "model.safetensors", "trainer.json"
UPDATE_LINE = f"{shlex.quote(sys.executable)} -m pip install --upgrade 't2v[engine]'"


@dataclass(frozen=True)
class Found:
    """A checkpoint folder. wrong: why it cannot be used, None when it can

    is_whole: every byte is what was written, so it is put aside and not removed
    is_later: a later t2v wrote it, and can use it
    """

    path: Path
    step: int
    wrong: str | None
    is_whole: bool = False
    is_later: bool = False


def examine_checkpoints(folder: Path, *, checksums: bool) -> Iterator[Check]:
    """Examine the complete ones, the newest, whether its header can be read; the incomplete ones by name."""
    found = look_at(folder, checksums=checksums)
    whole = [one for one in found if one.wrong is None]
    if whole:
        newest = whole[-1]
        about = f"the newest {newest.path.name}, {size(bytes_of(newest.path))}"
        yield good("checkpoints", f"{counted(len(whole), 'complete one')}, {about}")
    elif not found and not old_files(folder):
        yield good("checkpoints", f"none in {folder} yet; training makes them")
    for broken in (one for one in found if one.wrong):
        path = shlex.quote(str(broken.path))
        line = f"mv {path} {path}.not-used" if broken.is_whole else f"rm -r {path}"
        line = UPDATE_LINE if broken.is_later else line
        sentence = f"{broken.path.name} cannot be used: {broken.wrong}"
        # With a complete one beside it everything goes on: it is passed over.
        yield odd("checkpoints", sentence, line) if whole else bad("checkpoints", sentence, line)


def examine_old_checkpoints(folder: Path, import_line: str) -> Iterator[Check]:
    """Examine those of the previous system: they can be used as they are. import_line: makes ours of them"""
    paths = old_files(folder)
    wrong = {path: why for path in paths if (why := wrong_with(path)) is not None}
    whole = [path for path in paths if path not in wrong]
    if whole:
        newest, in_all = whole[-1], size(sum(path.stat().st_size for path in whole))
        sentence = (
            f"{len(whole)} of the previous system, the newest {newest.name}, {in_all} in all; they are used as they are"
        )
        yield good("old checkpoints", f"{sentence}, and {import_line} makes one to train on from")
    for path, why in wrong.items():
        yield odd("old checkpoints", f"{path.name} cannot be used: {why}; copy it again from an intact copy")


def newest_bytes(folder: Path) -> int:
    """Return what the next checkpoint will take: as much as the newest complete one; 0 without one."""
    whole = [one for one in look_at(folder, checksums=False) if one.wrong is None]
    return bytes_of(whole[-1].path) if whole else 0


def look_at(folder: Path, *, checksums: bool) -> list[Found]:
    """List every checkpoint of a folder, fewest steps first.

    checksums: of the newest complete one only, and all its values.

    Without, the ends of its tensors are looked at: one that a broken run left is NaN throughout.
    """
    paths = [path for path in folder.glob("checkpoint_*") if NAME.match(path.name) and path.is_dir()]
    found = sorted((_look(path) for path in paths), key=lambda one: one.step)
    if whole := [one for one in found if one.wrong is None]:
        newest = whole[-1]
        torn = incompleteness(newest.path, checksums=True) if checksums else None
        broken = None if torn else _broken_values(newest.path, whole=checksums)
        found[found.index(newest)] = Found(newest.path, newest.step, torn or broken, is_whole=broken is not None)
    return found


def _broken_values(path: Path, *, whole: bool) -> str | None:
    """Which file of a checkpoint holds values that are not finite, in words."""
    for file in sorted(path.glob("*.safetensors")):
        if (name := not_finite(file, whole=whole)) is not None:
            return f"{file.name} holds values that are not finite, in {name}"
    return None


def _look(path: Path) -> Found:
    wrong = incompleteness(path)
    info = _trainer(path)
    step = info.get("step")
    if wrong is None and is_later(info.get("format"), CHECKPOINT_FORMAT):
        words = later_in_words(info.get("format"), CHECKPOINT_FORMAT)
        return Found(path, step if isinstance(step, int) else -1, f"it {words}", is_later=True)
    if wrong is None and not isinstance(step, int):
        wrong = f"{TRAINER} cannot be read"
    if wrong is None:
        wrong = _header_problem(path / MODEL)
    return Found(path, step if isinstance(step, int) else -1, wrong)


def _trainer(path: Path) -> dict[str, Any]:
    try:
        return read_table(path / TRAINER)
    except (OSError, ValueError):
        return {}


def _header_problem(file: Path) -> str | None:
    """Why a safetensors file cannot be loaded, from its header alone. Source: huggingface/safetensors, "Format"."""
    try:
        with open_file(file) as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 0 < length <= MAX_HEADER_BYTES:
                return f"{file.name} has no header"
            header = table(opened.read(length))
        header.pop("__metadata__", None)
        end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{file.name} cannot be read"
    if file.stat().st_size != end:
        return f"{file.name} has {file.stat().st_size} bytes, but its header announces {end}"
    return None


def examine_leftovers(folders: Iterable[Path]) -> Iterator[Check]:
    """Examine staging files of processes that do not run any more."""
    left = [path for folder in folders for path in sorted(folder.glob(f"{STAGING}*")) if left_behind(path)]
    back = [path for path in left if _comes_back(path)]
    for path in back:
        name = left_behind(path)
        target = path.with_name(name["name"]) if name else path
        line = f"mv {shlex.quote(str(path))} {shlex.quote(str(target))}"
        yield odd("leftovers", f"{path.name} was moved aside for a replacement that never came", line)
    gone = [path for path in left if path not in back]
    if gone:
        freed = sum(bytes_of(path) if path.is_dir() else path.stat().st_size for path in gone)
        line = "rm -rf " + " ".join(shlex.quote(str(path)) for path in gone)
        yield odd("leftovers", f"{counted(len(gone), 'unfinished file')} of ended processes, {size(freed)}", line)
    if not left:
        yield good("leftovers", "no unfinished files of ended processes")


def _comes_back(path: Path) -> bool:
    """It is the only one of its name: its successor was to take its place and did not get there."""
    parts = left_behind(path)
    return parts is not None and parts["aside"] == "old-" and not path.with_name(parts["name"]).exists()
