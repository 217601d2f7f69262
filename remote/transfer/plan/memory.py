"""What is remembered of a host between transfers: its last offer, what came from it, how fast it was.

All of it is a convenience: lost, it costs a look or a hash, never a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TextIO
from urllib.parse import quote

from remote.replies.transfer import FarFile, FullOffer, OfferedUnit
from remote.transfer.plan.offered import Unit
from t2v_core.disk.files import write_json
from t2v_core.disk.opening import read_bytes
from t2v_core.disk.plain_json import parsed, read_lines
from t2v_core.disk.private import make_folder
from t2v_core.disk.typed_json import Misfit, read_as
from t2v_core.workspace import Workspace

Mark = tuple[int, int]
WORTH_A_RATE_BYTES = 8_000_000


@dataclass(frozen=True)
class Came:
    """What lies at `path` came from the host with that identity, and nobody has touched it as long as its mark fits."""

    path: str
    identity: str
    mark: Mark | None


@dataclass(frozen=True)
class Uploaded:
    """A unit of which files lie in those places of the bucket."""

    identity: str
    unit: OfferedUnit
    places: tuple[str, ...] = ()


class ArrivedFiles:
    """Of one host, below `.t2v/transfers/`."""

    def __init__(self, workspace: Workspace, host: str) -> None:
        self.root = workspace.root
        self.folder = workspace.root / ".t2v" / "transfers" / re.sub(r"^\.", "%2E", quote(host, safe=""))
        self._came: dict[str, Came] | None = None
        self._file: TextIO | None = None

    def last_offer(self, paths: Sequence[str]) -> FullOffer | None:
        """Return what the host said when it was asked the same last; None when nothing usable is kept."""
        with suppress(Misfit):
            return read_as(FullOffer, _read_json(self._offer_path(paths)))
        return None

    def keep_offer(self, paths: Sequence[str], said: FullOffer) -> None:
        """Keep what the host said of these paths, for `last_offer`."""
        make_folder(self.folder)
        partial = self._offer_path(paths).with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(said, default=vars))
        partial.replace(self._offer_path(paths))

    def _offer_path(self, paths: Sequence[str]) -> Path:
        return self.folder / f"offer-{hashlib.sha256(json.dumps(list(paths)).encode()).hexdigest()[:16]}.json"

    def note(self, path: PurePosixPath, identity: str) -> None:
        """Note that what lies at `path` came from this host, and nobody has touched it since."""
        came = Came(str(path), identity, self._mark(path))
        self._lines()[str(path)] = came
        if self._file is None:
            make_folder(self.folder)
            self._file = (self.folder / "came.jsonl").open("a", buffering=1)
        self._file.write(json.dumps(vars(came)) + "\n")

    def close(self) -> None:
        """Close the file that `note` writes to; the next note opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def came_as(self, path: PurePosixPath) -> str | None:
        """Return the identity with which `path` came from this host.

        None when it did not, or was changed here since.
        """
        came = self._lines().get(str(path))
        return came.identity if came and came.mark is not None and came.mark == self._mark(path) else None

    def _mark(self, path: PurePosixPath) -> Mark | None:
        """By which it is known again; of a folder, its manifest's."""
        place = self.root / path
        with suppress(OSError):
            status = (place / "manifest.json" if place.is_dir() else place).stat()
            return (status.st_size, status.st_mtime_ns)
        return None

    def _lines(self) -> dict[str, Came]:
        if self._came is None:
            self._came = {}
            with suppress(FileNotFoundError):
                for text in read_lines(self.folder / "came.jsonl"):
                    with suppress(ValueError):
                        came = read_as(Came, parsed(text))  # a path may hold half a character, for a byte of no UTF-8
                        self._came[came.path] = came
        return self._came

    def keep_uploaded(self, place: str, files: Sequence[tuple[Unit, FarFile, str | None]]) -> None:
        """Note that these lie in the bucket now, and can be fetched with the host switched off."""
        known = self._uploaded()
        for unit, file, digest in files:
            row = known.get(str(unit.path))
            if row is None or row.identity != unit.identity:
                row = Uploaded(unit.identity, unit.offered)
            summed = tuple(replace(one, sha256=digest) if one.name == file.name else one for one in row.unit.files)
            places = tuple(sorted({*row.places, place}))
            known[str(unit.path)] = replace(row, unit=replace(row.unit, files=summed), places=places)
        write_json(self.folder / "uploaded.json", {path: asdict(row) for path, row in known.items()})

    def uploaded_places(self) -> set[str]:
        """Return every place in the bucket to which something was uploaded."""
        return {place for row in self._uploaded().values() for place in row.places}

    def uploaded_units(self) -> list[OfferedUnit]:
        """Return the uploaded units as an agent would offer them."""
        return [row.unit for row in self._uploaded().values()]

    def _uploaded(self) -> dict[str, Uploaded]:
        known: dict[str, Uploaded] = {}
        for path, row in (_read_json(self.folder / "uploaded.json") or {}).items():
            with suppress(Misfit):
                known[path] = read_as(Uploaded, row)
        return known

    def bytes_per_s(self, way: str = "down") -> float | None:
        """Return the rate as it was measured last; None when it never was. way: down or up"""
        said = _read_json(self.folder / f"rate-{way}.json")
        rate = said.get("bytes_per_s") if said else None
        return float(rate) if isinstance(rate, int | float) and rate > 0 else None

    def keep_rate(self, size: int, seconds: float, way: str = "down") -> None:
        """Keep the measured rate, unless it is of a few bytes, which tell nothing of a link."""
        if size >= WORTH_A_RATE_BYTES and seconds > 0:
            write_json(self.folder / f"rate-{way}.json", {"bytes_per_s": round(size / seconds)})


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = parsed(read_bytes(path))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
