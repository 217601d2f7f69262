"""The receiving half of a push: what is wanted, bytes into `NAME.part`, and the name once the sha256 is right."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..base.asked import arguments_in, take, workspace
from ..base.files import Json, Problem
from ..base.machine import free_bytes
from ..base.whose import Asker, asker, introduce, name_of
from ..base.wire import described, say_line
from ..guard.busy import BusyMark
from ..listing.looking import sha256_of
from .landing import CHANGED, TAKEN_OVER, finish, part_of, target_in
from .parts import Part, part_path, read_journal, tidy
from .pushed import Pushed, note, note_gone
from .twins import Twins

READ_BYTES = 1024 * 1024


def want(parameters: Json) -> Json:
    """Return which of the offered files this workspace lacks, and which it will not have overwritten.

    files: [{"path", "size", "sha256"}, …]
    kind:  what they are pushed as; what was pushed as that before and is in `files` no more is `gone`
    is_replacing: take also those that somebody else put here or edited, or that another workspace pushed
    Returns {"needed": [{"at", "there", "has_twin"}], "refused", "gone"}: places in `files`, and for each the intervals
    that are there of an earlier try, and whether its bytes lie here under another name, so that `copy` will do.
    """
    root, kind, by = workspace(parameters), take(parameters, "kind", str), asker(parameters)
    is_replacing = take(parameters, "is_replacing", bool, False)
    introduce(root, by)
    pushed = Pushed(root, by.id)
    pushed.compact()
    twins = Twins(root, pushed)
    needed: list[Json] = []
    refused: list[Json] = []
    names: set[str] = set()
    for number, row in enumerate(take(parameters, "files", list)):
        try:
            path = target_in(root, row)
        except Problem as problem:  # the others go on
            refused.append({"path": str(row.get("path")), "why": problem.message})
            continue
        names.add(row["path"])
        if is_here_already(root, path, row, pushed, kind, by):
            continue
        if (refusal := refusal_of(root, path, row, pushed, by, is_replacing)) is not None:
            refused.append(refusal)
            continue
        there = read_journal(Part(path, row["sha256"], row["size"]).journal, row["sha256"], row["size"])
        there = there if there and part_path(path).exists() else []
        needed.append({"at": number, "there": there, "has_twin": twins.of(row) is not None})
    gone = [path for path in pushed.paths_of(kind) if path not in names and by.id in pushed.fitting(path)]
    return {"needed": needed, "refused": refused, "gone": gone, "disk_free_bytes": free_bytes(root)}


def is_here_already(root: Path, path: Path, row: Json, pushed: Pushed, kind: str, by: Asker) -> bool:
    """Tell whether a file has the offered bytes already; one that was pushed is from now on the asker's as well."""
    fitting = pushed.fitting(row["path"])
    if not fitting:
        return path.is_file() and not path.is_symlink() and bool(sha256_of(path)["sha256"] == row["sha256"])
    one = next(iter(fitting.values()))
    if one["sha256"] != row["sha256"]:
        return False
    tidy(path)
    if by.id and by.id not in fitting:
        note(root, row["path"], kind, row["sha256"], tuple(one["mark"]), by.id)
    return True


def refusal_of(root: Path, path: Path, row: Json, pushed: Pushed, by: Asker, is_replacing: bool) -> Json | None:
    """Return why a file is not overwritten, as `refused` of `want` has it; None when it may be written."""
    fitting = pushed.fitting(row["path"])
    another = next((name_of(root, one) for one in fitting if one != by.id), "")
    if not (path.is_symlink() or path.exists()) or (fitting and not another):
        return None
    if is_replacing and path.is_file():
        return None
    why = f"it was pushed from {another}" if another else why_not(path, row["path"] in pushed.lines)
    return {"path": row["path"], "why": why, "is_anothers": bool(another)}


def why_not(path: Path, was_pushed: bool) -> str:
    """Say why what lies at a path is not overwritten."""
    if path.is_dir() or path.is_symlink():
        return f"there is a {'folder' if path.is_dir() else 'link'} of that name"
    return "it was edited there since it was pushed" if was_pushed else "there is another file of that name, not pushed"


def begin(parameters: Json) -> Json:
    """Make the parts of files that will come in ranges. A range of a file without one came late, and is not wanted."""
    root = workspace(parameters)
    for row in take(parameters, "files", list):
        part = part_of(root, row)
        part.open()
        part.close()
    return {}


def receive(parameters: Json) -> None:
    """Take lines of the files' bytes until stdin ends.

    A line is {"path", "size", "sha256", "kind", "mode", "offset", "n", "lands"}, with n bytes after it.

    Each is answered when it is written, {"got": its number, "why": what was wrong with it}.
    lands: it is the whole file, which gets its name at once
    """
    root, mark, number = workspace(parameters), BusyMark(), 0
    part: Part | None = None
    try:
        while line := sys.stdin.buffer.readline():
            mark.touch()
            wanted = json.loads(line)
            if take(wanted, "lands", bool):
                why = receive_whole(root, wanted)
            else:
                part = same_or_next(part, part_of(root, wanted))
                why = receive_range(part, wanted, mark)
            say_line({"got": number, "why": why})
            number += 1
    except EOFError:  # the link broke; what came is kept
        return
    except OSError as error:
        raise Problem(**described(error)) from None
    finally:
        mark.remove()
        if part is not None:
            part.close()


def same_or_next(part: Part | None, wanted: Part) -> Part:
    """Return the part of the range before while the same file goes on, so that its journal is read once."""
    if part is not None:
        if (part.path, part.identity) == (wanted.path, wanted.identity) and part.is_there_still:
            return part
        part.close()
    return wanted


def receive_whole(root: Path, row: Json) -> str:
    """Take a file in one piece, checked before anything of it is on the disk; returns what was wrong with it."""
    part = part_of(root, row)
    data = b"".join(_pieces(take(row, "n", int)))
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        return CHANGED
    try:
        part.discard()
        part.open()
        part.write(0, data)
        return "" if finish(root, row, part) else TAKEN_OVER
    finally:
        part.close()


def receive_range(part: Part, row: Json, mark: BusyMark) -> str:
    """Write a range into its part, or only read it where there is none. Raises EOFError when stdin ends before."""
    place, is_wanted = take(row, "offset", int), part.path.exists()
    for data in _pieces(take(row, "n", int)):
        if is_wanted:
            part.write(place, data)
            part.done(place, place + len(data))  # piece by piece: who is killed cannot say how far it came
        place += len(data)
        mark.touch()
    return ""


def _pieces(size: int) -> Iterator[bytes]:
    """The next bytes of stdin. Raises EOFError when they end before."""
    while size:
        data = sys.stdin.buffer.read(min(size, READ_BYTES))
        if not data:
            raise EOFError
        size -= len(data)
        yield data


def remove_gone(parameters: Json) -> Json:
    """Take away what was pushed before and is no more, unless it was edited, or another workspace has it as well."""
    root, removed, by = workspace(parameters), [], asker(parameters)
    pushed = Pushed(root, by.id)
    for path in arguments_in(take(parameters, "paths", list), "paths"):
        fitting = pushed.fitting(path)
        if by.id not in fitting:
            continue
        if len(fitting) > 1:
            note_gone(root, path, by.id)
            continue
        target_in(root, {"path": path}).unlink()
        note_gone(root, path)
        removed.append(path)
        remove_empty((root / path).parent, root)
    return {"removed": removed}


def remove_empty(folder: Path, root: Path) -> None:
    """Remove folders that held nothing else, as git would not have them either."""
    with suppress(OSError):
        while folder != root:
            folder.rmdir()
            folder = folder.parent
