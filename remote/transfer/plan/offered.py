"""What a host offers, taken apart and looked at: nothing of it is believed before."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from remote.errors import AgentError, UnsafeName
from remote.text import shown
from remote.transfer.plan.names import relative_path, same_place

SHA256 = re.compile(r"[0-9a-f]{64}")
NUMBER = re.compile(r"(\d+)$")
CHECKPOINTS = "checkpoints"
OLD_CHECKPOINT = re.compile(r"checkpoint_epoch_\d+\.pt|final_model\.pt")


def is_old_name(name: str) -> bool:
    """Tell whether a file is called as the previous system called its checkpoints."""
    return OLD_CHECKPOINT.fullmatch(name) is not None


@dataclass(frozen=True)
class FarFile:
    """A file as it was when it was offered.

    name:   below its unit; "" when it is the unit
    sha256: by whoever wrote it; None when nobody has taken it yet
    """

    name: str
    size: int
    mtime_ns: int
    inode: int
    sha256: str | None

    @property
    def identity(self) -> str:
        """Return what identifies its content: another content has another one."""
        return self.sha256 or f"{self.inode}-{self.size}-{self.mtime_ns}"


@dataclass(frozen=True)
class Unit:
    """What lands at once: a file, or a folder with its manifest.

    path: relative to the workspace, there and here
    step: of a checkpoint that says it
    """

    path: PurePosixPath
    is_sealed: bool
    files: tuple[FarFile, ...]
    step: int | None = None

    @property
    def size(self) -> int:
        """Return the bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def identity(self) -> str:
        """Return the identity; of a folder, that of its manifest, which names all its sums."""
        return self.files[-1].identity

    @property
    def order(self) -> int:
        """Return a number that is higher for newer checkpoints, whatever the clocks say; -1 without one."""
        number = NUMBER.search(self.path.name.removesuffix(".pt"))
        return self.step if self.step is not None else int(number[1]) if number else -1

    @property
    def is_old_checkpoint(self) -> bool:
        """Tell by its name whether it is a `.pt` of the previous system: 2 GB each, and a hundred of them."""
        return not self.is_sealed and self.path.parts[0] == CHECKPOINTS and is_old_name(self.path.name)

    def to_wire(self) -> dict[str, Any]:
        """Return it as an agent offers it."""
        kind = "sealed" if self.is_sealed else "file"
        return {"path": str(self.path), "kind": kind, "step": self.step, "files": [vars(file) for file in self.files]}

    def far_path(self, file: FarFile) -> str:
        """Return the path of one of its files, relative to the workspace there."""
        return str(self.path / file.name)


@dataclass(frozen=True)
class Offer:
    """passed_over, unsafe: (path as it may be shown, why): not finished, or no file; and what is refused: for
    its name, or since it cannot be read there

    absent: what was asked for and is not there; programs: that the host has
    """

    workspace: str
    units: tuple[Unit, ...]
    passed_over: tuple[tuple[str, str], ...]
    unsafe: tuple[tuple[str, str], ...]
    absent: tuple[str, ...]
    programs: tuple[str, ...]


def read_offer(said: Mapping[str, Any], asked: Sequence[str], *, folds_case: bool) -> Offer:
    """Read an agent's answer. Raises AgentError when it is none."""
    try:
        return _read(said, asked, folds_case=folds_case)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AgentError(
            f"the host's list of files cannot be understood: {error!r}", "t2v bootstrap renews t2v there"
        ) from error


def _read(said: Mapping[str, Any], asked: Sequence[str], *, folds_case: bool) -> Offer:
    units: list[Unit] = []
    places: dict[str, str] = {}
    unsafe: list[tuple[str, str]] = []
    passed_over: list[tuple[str, str]] = []
    for one in said["skipped"]:
        if not one.get("is_asked"):
            kept = unsafe if one.get("is_refused") else passed_over
            kept.append((shown(str(one["path"])), shown(str(one["why"]))))
    absent = [shown(str(one["path"])) for one in said["skipped"] if one.get("is_asked")]
    for row in said["units"]:
        try:
            unit = _unit(row, asked)
            place = same_place(unit.path) if folds_case else str(unit.path)
            if place in places:
                raise UnsafeName(f"{shown(str(unit.path))} is refused: here it is the same name as {places[place]}")
            places[place] = shown(str(unit.path))
            units.append(unit)
        except UnsafeName as error:
            unsafe.append((shown(str(row["path"])), error.message))
    return Offer(
        str(said["workspace"]),
        tuple(units),
        tuple(passed_over),
        tuple(unsafe),
        tuple(absent),
        tuple(map(str, said["programs"])),
    )


def _unit(row: Mapping[str, Any], asked: Sequence[str]) -> Unit:
    below = next((path for path in asked if lies_in(str(row["path"]), path)), asked[0])
    path = relative_path(str(row["path"]), below)
    is_sealed = row["kind"] == "sealed"
    files = tuple(_file(one, is_sealed=is_sealed) for one in row["files"])
    if not files or (not is_sealed and len(files) != 1):
        raise ValueError(f"{shown(str(path))} has {len(files)} files")
    step = row.get("step")
    return Unit(path, is_sealed, files, step if isinstance(step, int) else None)


def lies_in(name: str, folder: str) -> bool:
    """Tell whether `name` is the folder or lies below it; everything lies in "."."""
    return folder in (".", name) or name.startswith(f"{folder}/")


def _file(row: Mapping[str, Any], *, is_sealed: bool) -> FarFile:
    name, sha256 = str(row["name"]), row["sha256"]
    if is_sealed:
        relative_path(name, ".")
    elif name:
        raise ValueError("a file has a file")
    if sha256 is not None and not SHA256.fullmatch(sha256):
        raise ValueError("a sum is none")
    size, mtime_ns, inode = (row[key] for key in ("size", "mtime_ns", "inode"))
    if not all(type(one) is int for one in (size, mtime_ns, inode)) or size < 0:
        raise ValueError("a size is none")
    return FarFile(name, size, mtime_ns, inode, sha256)
