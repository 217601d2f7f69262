"""Checkpoints, and what killed processes left under staging names."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2v_core.diagnosis.check import Check, bad, counted, gb, good, odd
from t2v_core.diagnosis.settings import bytes_of
from t2v_core.files import LEFT_BEHIND, STAGING, incompleteness, is_running

# As t2v_core.checkpoints has them; that module needs torch.
NAME = re.compile(r"checkpoint_(epoch|step)_(\d+)$")
MODEL, TRAINER = "model.safetensors", "trainer.json"
MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit


@dataclass(frozen=True)
class Found:
    """A checkpoint folder. wrong: why it cannot be used, None when it can"""

    path: Path
    step: int
    wrong: str | None


def examine_checkpoints(folder: Path, *, checksums: bool) -> Iterator[Check]:
    """Complete ones, the newest, whether its header can be read; the incomplete ones by name."""
    found = look_at(folder, checksums=checksums)
    whole = [one for one in found if one.wrong is None]
    if whole:
        newest = whole[-1]
        size = gb(bytes_of(newest.path))
        yield good("checkpoints", f"{counted(len(whole), 'complete one')}, the newest {newest.path.name}, {size}")
    elif not found:
        yield good("checkpoints", f"none in {folder} yet; training makes them")
    for broken in (one for one in found if one.wrong):
        line = f"rm -r {shlex.quote(str(broken.path))}"
        sentence = f"{broken.path.name} cannot be used: {broken.wrong}"
        # With a complete one beside it everything goes on: it is passed over.
        yield odd("checkpoints", sentence, line) if whole else bad("checkpoints", sentence, line)


def newest_bytes(folder: Path) -> int:
    """What the next checkpoint will take: as much as the newest complete one."""
    whole = [one for one in look_at(folder, checksums=False) if one.wrong is None]
    return bytes_of(whole[-1].path) if whole else 0


def look_at(folder: Path, *, checksums: bool) -> list[Found]:
    """Every checkpoint of a folder, fewest steps first. checksums: of the newest complete one only."""
    paths = [path for path in folder.glob("checkpoint_*") if NAME.match(path.name) and path.is_dir()]
    found = sorted((_look(path) for path in paths), key=lambda one: one.step)
    if checksums and (whole := [one for one in found if one.wrong is None]):
        newest = whole[-1]
        found[found.index(newest)] = Found(newest.path, newest.step, incompleteness(newest.path, checksums=True))
    return found


def _look(path: Path) -> Found:
    wrong = incompleteness(path)
    info = _trainer(path)
    step = info.get("step")
    if wrong is None and not isinstance(step, int):
        wrong = f"{TRAINER} cannot be read"
    if wrong is None:
        wrong = _header_problem(path / MODEL)
    return Found(path, step if isinstance(step, int) else -1, wrong)


def _trainer(path: Path) -> dict[str, Any]:
    try:
        info = json.loads((path / TRAINER).read_text())
    except (OSError, ValueError):
        return {}
    return info if isinstance(info, dict) else {}


def _header_problem(file: Path) -> str | None:
    """Why a safetensors file cannot be loaded, from its header alone. Source: huggingface/safetensors, "Format"."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 0 < length <= MAX_HEADER_BYTES:
                return f"{file.name} has no header"
            header = json.loads(opened.read(length))
        header.pop("__metadata__", None)
        end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{file.name} cannot be read"
    if file.stat().st_size != end:
        return f"{file.name} has {file.stat().st_size} bytes, its header speaks of {end}"
    return None


def examine_leftovers(folders: Iterable[Path]) -> Iterator[Check]:
    """Staging files of processes that do not run any more."""
    left = [path for folder in folders for path in sorted(folder.glob(f"{STAGING}*")) if _is_left(path)]
    back = [path for path in left if _comes_back(path)]
    for path in back:
        name = LEFT_BEHIND.fullmatch(path.name)
        target = path.with_name(name["name"]) if name else path
        line = f"mv {shlex.quote(str(path))} {shlex.quote(str(target))}"
        yield odd("leftovers", f"{path.name} had stepped aside for one that never came", line)
    gone = [path for path in left if path not in back]
    if gone:
        size = sum(bytes_of(path) if path.is_dir() else path.stat().st_size for path in gone)
        line = "rm -rf " + " ".join(shlex.quote(str(path)) for path in gone)
        yield odd("leftovers", f"{counted(len(gone), 'unfinished file')} of ended processes, {gb(size)}", line)
    if not left:
        yield good("leftovers", "no unfinished files of ended processes")


def _is_left(path: Path) -> bool:
    parts = LEFT_BEHIND.fullmatch(path.name)
    return parts is not None and not is_running(int(parts["pid"]))


def _comes_back(path: Path) -> bool:
    """It is the only one of its name: its successor was to take its place and did not get there."""
    parts = LEFT_BEHIND.fullmatch(path.name)
    return parts is not None and parts["aside"] == "old-" and not path.with_name(parts["name"]).exists()
