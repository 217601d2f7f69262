"""What `t2v data check` has found out, clip by clip, so that no clip is decoded again until its file changes.

`check/clips.jsonl` grows by a line a clip, as soon as the clip is decoded; a torn last line, as a kill leaves it, is
passed over, and of two lines on one file the later holds.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from t2v_core.data.check_clip import ClipFacts
from t2v_core.data.quarantine import file_state
from t2v_core.files import staged_file

# Another number when the same file would be judged differently.
VERSION = 1


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
        """`answer`: as `check_clip` and `CheckWorkers` give it."""
        if "facts" in answer:
            return cls(file, *state, facts=ClipFacts(**answer["facts"]))
        return cls(file, *state, **answer)

    @classmethod
    def from_line(cls, line: str) -> Checked | None:
        """None for a line that is torn or of another version."""
        try:
            values = json.loads(line)
            if values.pop("version") != VERSION:
                return None
            facts = values.pop("facts")
            return cls(**values, facts=None if facts is None else ClipFacts(**facts))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def to_line(self) -> str:
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
        self._journal = path.open("a", encoding="utf-8")

    def _rewrite(self) -> None:
        with staged_file(self.path) as partial:
            partial.write_text("".join(checked.to_line() for checked in self._by_file.values()), encoding="utf-8")

    def get(self, file: Path, *, timeout_s: float) -> Checked | None:
        """What is known of the file as it is now; a timeout counts only against limits that are no longer."""
        known = self._by_file.get(file.name)
        if known is None or (known.size_bytes, known.mtime_ns) != file_state(file):
            return None
        return None if known.timeout_s is not None and known.timeout_s < timeout_s else known

    def add(self, checked: Checked) -> None:
        self._by_file[checked.file] = checked
        self._journal.write(checked.to_line())
        self._journal.flush()

    def close(self) -> None:
        self._journal.close()
