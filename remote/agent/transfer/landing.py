"""A file that came gets its name: checked while it still comes, so that little is left to do with its last byte."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ..base.asked import arguments_in, take, workspace
from ..base.files import Json, Problem
from ..guard.busy import BusyMark
from .parts import Part, PrefixHash, copy_into, read_journal
from .pushed import Pushed, mark_of, note
from .twins import twin_of

LOOK_S = 0.05
CHANGED = "it is not what its sha256 says; it may have been written to while it was sent"
TAKEN_OVER = "another push took it over"
NO_TWIN = "the same bytes are not there under another name any more"
# Files that come at the same time, whose sums are half taken; each holds two descriptors.
MOST_HALF_CHECKED = 16


def target_in(root: Path, row: Json) -> Path:
    """Return where it goes: below the workspace, not through a link, not into what t2v keeps there."""
    path = arguments_in([take(row, "path", str)], "path")[0]
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or parts[0] == ".t2v":
        raise Problem("asked-wrongly", f"{path!r} does not lie in the workspace")
    folder = (root / path).parent
    # A folder of the workspace itself may be a link to a larger disk, as `data` often is.
    below = folder.resolve()
    top = (root / parts[0]).resolve() if len(parts) > 1 else root
    if top not in (below, *below.parents):
        raise Problem("asked-wrongly", f"{folder} leads to {below}")
    return root / path


def part_of(root: Path, row: Json) -> Part:
    """Return the part of a file that comes. Raises Problem when its path is none in the workspace."""
    return Part(target_in(root, row), take(row, "sha256", str), take(row, "size", int))


class HalfChecked:
    """Sums of files that still come, kept between two questions about the same file."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], PrefixHash] = {}
        self._lock = threading.Lock()

    def take(self, part: Part) -> PrefixHash:
        """Return what was taken of it so far, for the caller alone."""
        with self._lock:
            known = self._kept.pop((str(part.path), part.identity), None)
        if known is not None and known.part.is_there_still:
            return known
        if known is not None:
            known.part.close()
        part.open()
        return PrefixHash(part)

    def keep(self, half: PrefixHash) -> None:
        """Keep it for the next question."""
        with self._lock:
            self._kept[str(half.part.path), half.part.identity] = half
            too_many = [self._kept.pop(next(iter(self._kept)))] if len(self._kept) > MOST_HALF_CHECKED else []
        for one in too_many:
            one.part.close()


HALF_CHECKED = HalfChecked()


@contextmanager
def marked_busy() -> Iterator[BusyMark]:
    """A sign that bytes move, while the context lasts."""
    mark = BusyMark()
    try:
        yield mark
    finally:
        mark.remove()


def land(parameters: Json) -> Json:
    """Check a file that comes in ranges, as far as it is there, and give it its name once it is whole.

    patience_s: how long to wait for what has not come
    Returns {"is_landed", "why", "checked"}: why not; so many bytes from its beginning on are there and taken in.
    """
    root, row = workspace(parameters), take(parameters, "file", dict)
    part, deadline = part_of(root, row), time.monotonic() + take(parameters, "patience_s", float, 0.0)
    if not part.path.exists() or read_journal(part.journal, part.identity, part.size) is None:
        return has_landed(root, row) or {"is_landed": False, "why": "it is not there", "checked": 0}
    half = HALF_CHECKED.take(part)
    with marked_busy() as mark:
        while not half.is_whole:
            half.part.look()
            if half.advance():
                mark.touch()
            elif time.monotonic() < deadline:
                time.sleep(LOOK_S)
            if time.monotonic() >= deadline:
                break
        if not half.is_whole:
            HALF_CHECKED.keep(half)
            left = half.part.size - half.done
            return {"is_landed": False, "why": f"{left} bytes of it are not there", "checked": half.done}
        try:
            return judged(root, row, half)
        finally:
            half.part.close()


def has_landed(root: Path, row: Json) -> Json | None:
    """Return the answer for a file that has its name already: who asks has not heard the first one."""
    fitting = Pushed(root, take(row, "by", str, "")).fitting(row["path"])
    if any(line["sha256"] == row["sha256"] for line in fitting.values()):
        return {"is_landed": True, "why": "", "checked": row["size"]}
    return None


def judged(root: Path, row: Json, whole: PrefixHash) -> Json:
    """Give a file its name, or throw it away."""
    said = {"is_landed": False, "checked": whole.done}
    if whole.hexdigest() != whole.part.identity:
        whole.part.forget()
        return {**said, "why": CHANGED}
    try:
        is_landed = finish(root, row, whole.part)
    except FileNotFoundError:  # the same question was asked twice, and the other answer was quicker
        is_landed = False
    if not is_landed:
        return has_landed(root, row) or {**said, "why": TAKEN_OVER}
    return {**said, "is_landed": True, "why": ""}


def finish(root: Path, row: Json, part: Part) -> bool:
    """Give a file its mode, a line that it is ours, and its name.

    False when another push has taken it over meanwhile.
    """
    mode = take(row, "mode", int, 0o644) & 0o777
    part.path.chmod(mode)
    mark = mark_of(part.path.stat())
    note(root, row["path"], take(row, "kind", str), part.identity, mark, take(row, "by", str, ""))
    return part.land()


def copy(parameters: Json) -> Json:
    """Make a file of what lies here under another name, checked, and give it its name; the answer is as of `land`."""
    root, row = workspace(parameters), take(parameters, "file", dict)
    part = part_of(root, row)
    if (said := has_landed(root, row)) is not None:
        return said
    twin = twin_of(root, row)
    with marked_busy() as mark:
        mark.touch()
        try:
            if twin is None or not copy_into(part, twin):
                return {"is_landed": False, "why": NO_TWIN, "checked": 0}
            is_landed = finish(root, row, part)
        finally:
            part.close()
    return {"is_landed": is_landed, "why": "" if is_landed else TAKEN_OVER, "checked": part.size}
