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
from pathlib import Path, PurePosixPath
from typing import Any, TextIO
from urllib.parse import quote

from remote.hosts.answers import OFFER, UNIT, misfit
from remote.transfer.plan.offered import FarFile, Unit
from t2v_core.disk.files import write_json
from t2v_core.disk.opening import read_bytes
from t2v_core.disk.plain_json import parsed, read_lines
from t2v_core.disk.private import make_folder
from t2v_core.workspace import Workspace

CAME = {"path": str, "identity": str, "mark": ([int], None)}
UPLOADED = {"identity": str, "unit": UNIT, "places": [str]}
Mark = tuple[int, int]
WORTH_A_RATE_BYTES = 8_000_000


class Memory:
    """Of one host, below `.t2v/transfers/`."""

    def __init__(self, workspace: Workspace, host: str) -> None:
        self.root = workspace.root
        self.folder = workspace.root / ".t2v" / "transfers" / re.sub(r"^\.", "%2E", quote(host, safe=""))
        self._came: dict[str, dict[str, Any]] | None = None
        self._file: TextIO | None = None

    def last_offer(self, paths: Sequence[str]) -> dict[str, Any] | None:
        """Return what the host said when it was asked the same last; None when nothing usable is kept."""
        said = _read_json(self._offer_path(paths))
        return said if said and not misfit(said, OFFER) and "units" in said else None

    def keep_offer(self, paths: Sequence[str], said: dict[str, Any]) -> None:
        """Keep what the host said of these paths, for `last_offer`."""
        make_folder(self.folder)
        partial = self._offer_path(paths).with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(said))
        partial.replace(self._offer_path(paths))

    def _offer_path(self, paths: Sequence[str]) -> Path:
        return self.folder / f"offer-{hashlib.sha256(json.dumps(list(paths)).encode()).hexdigest()[:16]}.json"

    def note(self, path: PurePosixPath, identity: str) -> None:
        """Note that what lies at `path` came from this host, and nobody has touched it since."""
        line = {"path": str(path), "identity": identity, "mark": self._mark(path)}
        self._lines()[str(path)] = line
        if self._file is None:
            make_folder(self.folder)
            self._file = (self.folder / "came.jsonl").open("a", buffering=1)
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Close the file that `note` writes to; the next note opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def came_as(self, path: PurePosixPath) -> str | None:
        """Return the identity with which `path` came from this host.

        None when it did not, or was changed here since.
        """
        line = self._lines().get(str(path))
        return str(line["identity"]) if line and line["mark"] == list(self._mark(path) or ()) else None

    def _mark(self, path: PurePosixPath) -> Mark | None:
        """By which it is known again; of a folder, its manifest's."""
        place = self.root / path
        with suppress(OSError):
            status = (place / "manifest.json" if place.is_dir() else place).stat()
            return (status.st_size, status.st_mtime_ns)
        return None

    def _lines(self) -> dict[str, dict[str, Any]]:
        if self._came is None:
            self._came = {}
            with suppress(FileNotFoundError):
                for text in read_lines(self.folder / "came.jsonl"):
                    with suppress(ValueError):
                        line = parsed(text)  # a path may hold half a character, for a byte that is none of UTF-8
                        if not misfit(line, CAME):
                            self._came[line["path"]] = line
        return self._came

    def keep_uploaded(self, place: str, files: Sequence[tuple[Unit, FarFile, str | None]]) -> None:
        """Note that these lie in the bucket now, and can be fetched with the host switched off."""
        said = self._uploaded()
        for unit, file, digest in files:
            row = said.setdefault(str(unit.path), {"identity": unit.identity, "unit": unit.to_wire(), "places": []})
            if row["identity"] != unit.identity:
                row |= {"identity": unit.identity, "unit": unit.to_wire(), "places": []}
            row["places"] = sorted({*row["places"], place})
            for one in row["unit"]["files"]:
                if one["name"] == file.name:
                    one["sha256"] = digest
        write_json(self.folder / "uploaded.json", said)

    def uploaded_places(self) -> set[str]:
        """Return every place in the bucket to which something was uploaded."""
        return {place for row in self._uploaded().values() for place in row["places"]}

    def uploaded_units(self) -> list[dict[str, Any]]:
        """Return the uploaded units as an agent would offer them."""
        return [row["unit"] for row in self._uploaded().values()]

    def _uploaded(self) -> dict[str, dict[str, Any]]:
        said = _read_json(self.folder / "uploaded.json") or {}
        return {path: row for path, row in said.items() if not misfit(row, UPLOADED)}

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
