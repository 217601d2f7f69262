"""Which files a piece of work opens, in whatever thread: Python's own audit events tell."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_watched: list[tuple[str, list[str]]] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _watched and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        for folder, opened in _watched:
            if path.startswith(folder):
                opened.append(path.removeprefix(folder))


sys.addaudithook(_note)


@contextmanager
def files_opened(folder: Path) -> Iterator[list[str]]:
    """The files below a folder that are opened meanwhile, relative to it. Folders that are listed are none of them."""
    one: tuple[str, list[str]] = (f"{folder.resolve()}/", [])
    _watched.append(one)
    try:
        yield one[1]
    finally:
        _watched.remove(one)
