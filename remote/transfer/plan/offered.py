"""What a host offers, taken apart and looked at: nothing of it is believed before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from remote.errors import UnsafeName
from remote.replies.transfer import SEALED, FarFile, FullOffer, OfferedUnit
from remote.text import shown
from remote.transfer.plan.names import relative_path, same_place

NUMBER = re.compile(r"(\d+)$")
CHECKPOINTS = "checkpoints"
OLD_CHECKPOINT = re.compile(r"checkpoint_epoch_\d+\.pt|final_model\.pt")


def is_old_name(name: str) -> bool:
    """Tell whether a file is called as the previous system called its checkpoints."""
    return OLD_CHECKPOINT.fullmatch(name) is not None


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

    @property
    def offered(self) -> OfferedUnit:
        """Return it as an agent offers it."""
        return OfferedUnit(str(self.path), SEALED if self.is_sealed else "file", self.files, self.step)

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


def read_offer(said: FullOffer, asked: Sequence[str], *, folds_case: bool) -> Offer:
    """Look at every name that an agent offers, and leave out what cannot have one here."""
    units: list[Unit] = []
    places: dict[str, str] = {}
    unsafe = [(shown(one.path), shown(one.why)) for one in said.skipped if one.is_refused and not one.is_asked]
    for offered in said.units:
        try:
            unit = _unit(offered, asked)
            place = same_place(unit.path) if folds_case else str(unit.path)
            if place in places:
                raise UnsafeName(f"{shown(str(unit.path))} is refused: here it is the same name as {places[place]}")
            places[place] = shown(str(unit.path))
            units.append(unit)
        except UnsafeName as error:
            unsafe.append((shown(offered.path), error.message))
    return Offer(
        workspace=said.workspace,
        units=tuple(units),
        passed_over=tuple(
            (shown(one.path), shown(one.why)) for one in said.skipped if not (one.is_refused or one.is_asked)
        ),
        unsafe=tuple(unsafe),
        absent=tuple(shown(one.path) for one in said.skipped if one.is_asked),
        programs=said.programs,
    )


def _unit(offered: OfferedUnit, asked: Sequence[str]) -> Unit:
    below = next((path for path in asked if lies_in(offered.path, path)), asked[0])
    path, is_sealed = relative_path(offered.path, below), offered.kind == SEALED
    if is_sealed:
        for file in offered.files:
            relative_path(file.name, ".")
    return Unit(path, is_sealed, offered.files, offered.step)


def lies_in(name: str, folder: str) -> bool:
    """Tell whether `name` is the folder or lies below it; everything lies in "."."""
    return folder in (".", name) or name.startswith(f"{folder}/")
