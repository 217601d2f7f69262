"""A folder as its user knows it: what each thing is, how large with all below it, how old. Bounded in time and number.

Totals are taken in turns, so that one folder of a million files does not use up what the others need; what was not
counted to its end is said to be so.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from ..base.asked import path_in, take, workspace
from ..base.files import Json, Problem
from .kinds import HEAD_BYTES, OLD_CHECKPOINT, OLD_WEIGHTS, kind_of_file, kind_of_folder, wants_head
from .looking import is_complete
from .old_listing import in_a_few_words

LIST_LIMIT = 20_000
# Names that are looked at to tell what a folder is, and files whose first bytes are read.
SIGNS, HEADS = 300, 500
TURN = 500
BUDGET_S = 0.5
# What files of a kind say of themselves beyond their names: {kind: read(paths) -> ["epoch 5, loss 0.31"], in order}.
DETAILS: dict[str, Callable[[Sequence[Path]], list[str]]] = {
    OLD_CHECKPOINT: in_a_few_words,
    OLD_WEIGHTS: in_a_few_words,
}


def list_folder(parameters: Json) -> Json:
    """Return what lies in a folder, or the one file of that name.

    path: relative to the workspace, absolute or `~`; patience_s: for totals, first bytes and details
    Returns {"path", "entries", "is_whole", "count"}; an entry has name, form (folder, file, link, other), kind, detail,
    size_bytes, files, is_counted (False: at least so much), mtime, why (it cannot be looked into), target (of a link).
    """
    top = path_in(parameters, take(parameters, "path", str, "."))
    deadline = time.monotonic() + take(parameters, "patience_s", float, BUDGET_S)
    try:
        status = top.stat()
    except FileNotFoundError:
        raise Problem("not-found", f"there is no {top}", "t2v ls lists the workspace") from None
    except NotADirectoryError:
        raise Problem(
            "not-found", f"{top.parent} is a file, with nothing in it", "t2v ls lists the workspace"
        ) from None
    except OSError as error:
        raise Problem("failed", f"{top} cannot be looked at: {error.strerror}", "") from None
    if not stat.S_ISDIR(status.st_mode):
        entry = _entry(top, top.parent.name, deadline, True)
        _say_details(top.parent, [entry], deadline)
        return {"path": str(top), "entries": [entry], "is_whole": True, "count": 1}
    try:
        with os.scandir(top) as found:
            names = [one.name for one in found]
    except OSError as error:
        raise Problem(
            "failed", f"{top} cannot be listed: {error.strerror}", "ask its owner, or log in as another user"
        ) from None
    entries = [
        _entry(top / name, top.name, deadline, number < HEADS) for number, name in enumerate(sorted(names)[:LIST_LIMIT])
    ]
    _say_details(top, entries[:HEADS], deadline)
    _count(top, [one for one in entries if one["form"] == "folder" and not one["why"]], deadline)
    return {"path": str(top), "entries": entries, "is_whole": len(names) <= LIST_LIMIT, "count": len(names)}


def _entry(path: Path, folder: str, deadline: float, may_read: bool) -> Json:
    row: Json = {
        "name": path.name, "form": "other", "kind": "gone", "detail": "", "size_bytes": 0, "files": 0,
        "is_counted": True, "mtime": 0.0, "why": "", "target": None,
    }  # fmt: skip
    try:
        status = path.lstat()
        row.update(size_bytes=status.st_size, mtime=status.st_mtime)
        if stat.S_ISLNK(status.st_mode):
            is_there = path.exists()
            row.update(form="link", kind="link" if is_there else "link to nothing", target=str(path.readlink()))
        elif stat.S_ISDIR(status.st_mode):
            row.update(form="folder", size_bytes=0, is_counted=False, kind="folder")
            with os.scandir(path) as found:
                names = {one.name for one in islice(found, SIGNS)}
            # A checkpoint of ours may lie behind hundreds of others; its own folder holds a handful.
            row["kind"] = kind_of_folder(path.name, names, is_complete=is_complete(path))
        elif stat.S_ISREG(status.st_mode):
            row.update(form="file", files=1)
            is_read = may_read and wants_head(path.name) and time.monotonic() < deadline
            row["kind"] = kind_of_file(path.name, status.st_size, _head(path) if is_read else None, folder)
        else:
            row["kind"] = "pipe, socket or device"
    except FileNotFoundError:
        row["why"] = "it went away meanwhile"
    except OSError as error:
        row["why"] = f"cannot be read: {error.strerror}"
    return row


def _head(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return os.read(descriptor, HEAD_BYTES)
    finally:
        os.close(descriptor)


def _say_details(top: Path, rows: list[Json], deadline: float) -> None:
    """Of each kind all at once: what one reader has to be begun for is paid once."""
    for kind, read in DETAILS.items():
        said = [row for row in rows if row["kind"] == kind and row["form"] == "file"]
        if not said or time.monotonic() >= deadline:
            continue
        try:
            for row, detail in zip(said, read([top / row["name"] for row in said])):  # Python 3.9
                row["detail"] = detail
        except OSError as error:
            for row in said:
                row["why"] = f"cannot be read: {error.strerror}"


def _count(top: Path, rows: list[Json], deadline: float) -> None:
    """Add up what lies below each folder, TURN files of one and then of the next, until all are or time is up."""
    walks = [(row, _sizes(top / row["name"], row)) for row in rows]
    while walks and time.monotonic() < deadline:
        going = []
        for row, sizes in walks:
            taken = list(islice(sizes, TURN))
            row["size_bytes"] += sum(taken)
            row["files"] += len(taken)
            if len(taken) < TURN:
                row["is_counted"] = not row["why"]
            else:
                going.append((row, sizes))
            if time.monotonic() >= deadline:
                return
        walks = going


def _sizes(folder: Path, row: Json) -> Iterator[int]:
    """The size of each file below; links are not followed. What cannot be read is said in `why`.

    One file under several names, as an imported checkpoint's averaged weights are its weights, counts once.
    """
    waiting, several = [os.fspath(folder)], set()
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for one in found:
                    try:
                        if one.is_dir(follow_symlinks=False):
                            waiting.append(one.path)
                        else:
                            status = one.stat(follow_symlinks=False)
                            is_again = status.st_nlink > 1 and (status.st_dev, status.st_ino) in several
                            several.update([(status.st_dev, status.st_ino)] if status.st_nlink > 1 else [])
                            yield 0 if is_again else status.st_size
                    except FileNotFoundError:
                        continue
        except FileNotFoundError:
            continue
        except OSError as error:
            row["why"] = f"part of it cannot be read: {error.strerror}"


def old_data(parameters: Json) -> Json:
    """Return what the previous system left in a data set, those that are there.

    It is {"latents": {…}, "text_embeddings": {…}}.

    Each has files, size_bytes, newest_t and is_counted; False: there is at least so much.
    """
    data = path_in(parameters, take(parameters, "data", str))
    deadline = time.monotonic() + take(parameters, "patience_s", float, BUDGET_S)
    found = {name: row for name in ("latents", "text_embeddings") if (row := _tensor_files(data / name, deadline))}
    return {"workspace": str(workspace(parameters)), "found": found}


def _tensor_files(folder: Path, deadline: float) -> Json | None:
    files, size, newest, is_counted = 0, 0, 0.0, True
    try:
        with os.scandir(folder) as found:
            for one in found:
                if not one.name.endswith(".pt"):
                    continue
                try:
                    status = one.stat()
                except OSError:
                    continue
                files, size, newest = files + 1, size + status.st_size, max(newest, status.st_mtime)
                if files % TURN == 0 and time.monotonic() > deadline:
                    is_counted = False
                    break
    except OSError:
        return None
    return {"files": files, "size_bytes": size, "newest_t": newest, "is_counted": is_counted} if files else None
