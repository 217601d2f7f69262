"""Files whose bytes lie here already under another name: pushed before, listed by a checkpoint, or summed once.

Nothing large is read to find them; a copy is checked while it is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..base.files import Json
from .offers import MANIFEST, listed
from .pushed import Pushed
from .sums import cache_key, read_cache

# Below that a file is sent sooner than it is looked for.
WORTH_BYTES = 1024 * 1024
# checkpoints/RUN/checkpoint_epoch_5, and one folder more.
DEEPEST = 3
Key = tuple[str, int]


class Twins:
    """The large files of a workspace by sha256 and size, as far as somebody has noted them; looked up at first need."""

    def __init__(self, root: Path, pushed: Pushed) -> None:
        self.root, self.pushed = root, pushed
        self._known: dict[Key, Path] | None = None

    def of(self, row: Json) -> Path | None:
        """Return a file with the bytes that a pushed row says; None when none is known."""
        if row["size"] <= WORTH_BYTES:
            return None
        if self._known is None:
            self._known = {}
            for digest, path in (*self._pushed(), *self._checkpoints(), *self._summed()):
                with suppress(OSError):
                    if not path.is_symlink() and path.is_file():
                        self._known[digest, path.stat().st_size] = path
        return self._known.get((row["sha256"], row["size"]))

    def _pushed(self) -> Iterator[tuple[str, Path]]:
        for path, lines in self.pushed.lines.items():
            if any(line["mark"][0] > WORTH_BYTES for line in lines):
                yield from ((line["sha256"], self.root / path) for line in self.pushed.fitting(path).values())

    def _checkpoints(self) -> Iterator[tuple[str, Path]]:
        for folder in _sealed(self.root / "checkpoints", DEEPEST):
            for name, entry in (listed(folder) or {}).items():
                path, digest = folder / name, entry.get("sha256")
                with suppress(OSError):
                    is_within = path.resolve().is_relative_to(folder.resolve())
                    if is_within and isinstance(digest, str) and path.stat().st_size == entry.get("size_bytes"):
                        yield digest, path

    def _summed(self) -> Iterator[tuple[str, Path]]:
        below = f"{self.root.resolve()}{os.sep}"
        for key, digest in read_cache():
            path = Path(key.partition("\0")[0])
            with suppress(OSError):
                if key.startswith(below) and cache_key(path, path.stat()) == key:
                    yield digest, path


def _sealed(folder: Path, depth: int) -> Iterator[Path]:
    """The folders with a manifest."""
    with suppress(OSError):
        if (folder / MANIFEST).is_file():
            yield folder
        elif depth:
            for path in sorted(folder.iterdir()):
                if path.is_dir() and not path.name.startswith("."):
                    yield from _sealed(path, depth - 1)


def twin_of(root: Path, row: Json) -> Path | None:
    """Return a file with the bytes of one that is to come; None when none is known."""
    return Twins(root, Pushed(root, "")).of(row)
