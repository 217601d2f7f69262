"""What each key did, as the line that does the same: kept in .t2v/tui/commands.jsonl, so many bytes at most."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from t2v_core.disk.files import staged_file
from t2v_core.disk.private import make_folder, open_own
from t2v_core.disk.typed_json import UnixTime, read_as

MOST_BYTES = 128 * 1024
# Of its own kind, a line is short; what comes from a prompt list is not.
MOST_CHARACTERS = 4000


@dataclass(frozen=True)
class Ran:
    """One line, and when it was run, in Unix seconds."""

    t: UnixTime
    line: str


class CommandLog:
    """file: where it is kept, readable by its owner only, since prompts are in it; None keeps it here alone"""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self._ran: list[Ran] = []
        self._is_read = False

    def note(self, line: str, now_t: float) -> None:
        """Keep one more line. Raises OSError when it cannot be written; it is shown all the same."""
        if len(line) > MOST_CHARACTERS:
            return
        self._ran.append(Ran(round(now_t, 3), line))
        if self.file is not None:
            _append(self.file, json.dumps({"t": round(now_t, 3), "line": line}, ensure_ascii=False) + "\n")

    def newest_first(self) -> list[Ran]:
        """Return what was run, here and in the app's earlier sessions."""
        if not self._is_read:
            self._is_read = True
            kept = _read(self.file) if self.file is not None else []
            self._ran = [*(one for one in kept if one not in self._ran), *self._ran]
        return self._ran[::-1]


def _append(file: Path, text: str) -> None:
    make_folder(file.parent)
    with os.fdopen(open_own(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log:
        log.write(text.encode())
        size = log.tell()
    if size > MOST_BYTES:
        _halve(file)


def _halve(file: Path) -> None:
    """Leave out the older half, at a line's end."""
    kept = file.read_bytes()[-MOST_BYTES // 2 :].partition(b"\n")[2]
    with staged_file(file, mode=0o600) as partial:
        partial.write_bytes(kept)


def _read(file: Path) -> list[Ran]:
    """What is no line of ours is left out, as one that was torn."""
    try:
        data = file.read_bytes()[-MOST_BYTES:]
    except OSError:
        return []
    ran = []
    for line in data.decode(errors="replace").splitlines():
        try:
            ran.append(read_as(Ran, json.loads(line)))
        except ValueError:
            continue
    return ran
