"""What lies in a folder, as lines: size, age, name, kind. For the command line and the terminal UI alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from remote.replies.files import FolderEntry, FolderListing
from remote.replies.questions import LIST
from remote.text import shown
from t2v_core.format import ago, counted, size

if TYPE_CHECKING:
    from remote.jobs.client import HostJobs

NAME_CELLS = 48
DIGITS = re.compile(r"(\d+)")


def listing_of(jobs: HostJobs, path: str, patience_s: float) -> FolderListing:
    """Return the agent's list of a folder, in the order in which people count. Raises EngineError."""
    said = jobs.ask(LIST, timeout_s=patience_s + 20, path=path, patience_s=patience_s)
    return replace(said, entries=tuple(sorted(said.entries, key=lambda one: in_order(one.name))))


def in_order(name: str) -> list[tuple[int, int, str]]:
    """Return a sorting key that puts `epoch_9` before `epoch_10`."""
    parts = DIGITS.split(name)
    return [(0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in parts if part]


def cells(entry: FolderEntry, now_t: float) -> tuple[str, str, str, str]:
    """Return (size, age, name, kind) of one entry, each safe to show."""
    more = "" if entry.is_counted else "≥ "
    if entry.form == "folder":
        amount = f"{more}{size(entry.size_bytes)}"
    else:
        amount = size(entry.size_bytes) if entry.form == "file" else ""
    age = ago(max(0.0, now_t - entry.mtime)) if entry.mtime else ""
    name = shown(entry.name) + ("/" if entry.form == "folder" else "")
    return amount, age, name, what(entry)


def what(entry: FolderEntry) -> str:
    """Return its kind, what it says of itself, and what is wrong with it."""
    parts = [entry.kind, shown(entry.detail)]
    if entry.target is not None:
        parts[0] = f"{entry.kind} → {shown(entry.target)}"
    if entry.form == "folder" and entry.files:
        more = "" if entry.is_counted else "at least "
        parts.append(f"{more}{counted(entry.files, 'file')}")
    return ", ".join(filter(None, (*parts, shown(entry.why))))


def told_lines(listing: FolderListing, now_t: float) -> Iterator[str]:
    """Yield one line an entry, its columns as wide as they have to be."""
    rows = [cells(entry, now_t) for entry in listing.entries]
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(3)]
    widths[2] = min(widths[2], NAME_CELLS)
    for amount, age, name, kind in rows:
        yield f"{amount:>{widths[0]}}  {age:>{widths[1]}}  {name:<{widths[2]}}  {kind}"
