"""What `t2v data check` has found out, clip by clip, so that no clip is decoded again until its file changes.

`check/clips.jsonl` grows by a line a clip, as soon as the clip is decoded; a torn last line, as a kill leaves it, is
passed over, and of two lines on one file the later holds.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from t2v_core.data.check.check_clip import ClipFacts
from t2v_core.data.quarantine import file_state
from t2v_core.disk.files import staged_file
from t2v_core.disk.plain_json import table
from t2v_core.disk.private import open_own

# Another number when the same file would be judged differently.
VERSION = 2


@dataclass(frozen=True)
class Checked:
    """One file and what came of decoding it.

    facts: None when it cannot be used; then reason and detail say why
    timeout_s: the limit that it exceeded, for the reason "timeout"
    """

    file: str
    size_bytes: int
    mtime_ns: int
    facts: ClipFacts | None = None
    reason: str = ""
    detail: str = ""
    timeout_s: float | None = None

    @classmethod
    def from_answer(cls, file: str, state: tuple[int, int], answer: dict[str, Any]) -> Checked:
        """Build one from an answer, as `check_clip` and `CheckWorkers` give it.

        state: the file's size in bytes and time of change in ns
        """
        if "facts" in answer:
            return cls(file, *state, facts=ClipFacts(**answer["facts"]))
        return cls(file, *state, **answer)

    @classmethod
    def from_line(cls, line: str) -> Checked | None:
        """Read one from a line of the journal; None for a line that is torn or of another version."""
        try:
            values = table(line.encode())
            if values.pop("version") != VERSION:
                return None
            facts = values.pop("facts")
            return cls(**values, facts=None if facts is None else ClipFacts(**facts))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def to_line(self) -> str:
        """Return the journal's line, with its version and line end, which `from_line` reads back."""
        return json.dumps(asdict(self) | {"version": VERSION}) + "\n"


class CheckedClips:
    """The journal of one data set."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        lines = [checked for line in text.splitlines() if (checked := Checked.from_line(line)) is not None]
        self._by_file = {checked.file: checked for checked in lines}
        if text and (len(text.splitlines()) > len(self._by_file) or not text.endswith("\n")):
            self._rewrite()
        self._journal = os.fdopen(open_own(path, os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8")

    def _rewrite(self) -> None:
        with staged_file(self.path) as partial:
            partial.write_text("".join(checked.to_line() for checked in self._by_file.values()), encoding="utf-8")

    def get(self, file: Path, *, timeout_s: float) -> Checked | None:
        """Return what is known of the file as it is now; a timeout counts only against limits that are no longer."""
        known = self._by_file.get(file.name)
        if known is None or (known.size_bytes, known.mtime_ns) != file_state(file):
            return None
        return None if known.timeout_s is not None and known.timeout_s < timeout_s else known

    def add(self, checked: Checked) -> None:
        """Remember a file and append it to the journal at once, so that a stopped run loses nothing."""
        self._by_file[checked.file] = checked
        self._journal.write(checked.to_line())
        self._journal.flush()

    def close(self) -> None:
        """Close the journal's file."""
        self._journal.close()
