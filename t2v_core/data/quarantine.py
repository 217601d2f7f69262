"""Clips that could not be used, with the reason, so that nobody meets them twice: `quarantine.csv`."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from t2v_core.data.msrvtt import Clip
from t2v_core.files import staged_file


@dataclass(frozen=True)
class Quarantined:
    """One line of the file. size_bytes and mtime_ns tell whether the clip was replaced since; −1 when it is not there.

    reason: a slug, as `UnreadableClip.reason`, or non-finite-latents
    settings: the fingerprint under which it was so; empty when the file itself is bad
    """

    id: str
    reason: str
    detail: str
    size_bytes: int
    mtime_ns: int
    settings: str = ""


class Quarantine:
    """The entries of one data set. Every change is written at once, whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = _read(path)

    def holds(self, clip: Clip, settings: str) -> bool:
        """The clip is known to be bad, its file is still the same one, and so are the settings if they matter."""
        entry = self.entries.get(clip.video_id)
        if entry is None or entry.settings not in ("", settings):
            return False
        return (entry.size_bytes, entry.mtime_ns) == file_state(clip.path)

    def add(self, clip: Clip, reason: str, detail: str, settings: str = "") -> None:
        self.entries[clip.video_id] = Quarantined(clip.video_id, reason, detail, *file_state(clip.path), settings)
        self._write()

    def release(self, video_id: str) -> None:
        """The clip has been replaced by one that can be used."""
        if self.entries.pop(video_id, None) is not None:
            self._write()

    def _write(self) -> None:
        with staged_file(self.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Quarantined)])
            writer.writeheader()
            writer.writerows(asdict(self.entries[video_id]) for video_id in sorted(self.entries))


def file_state(path: Path) -> tuple[int, int]:
    """Size in bytes and time of change in ns; (−1, −1) for no file."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _read(path: Path) -> dict[str, Quarantined]:
    """A line that somebody broke by hand is as good as none: its clip is tried again."""
    if not path.is_file():
        return {}
    entries = {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        for row in csv.DictReader(file):
            try:
                size_bytes, mtime_ns = int(row["size_bytes"]), int(row["mtime_ns"])
                entry = Quarantined(
                    row["id"], row["reason"], row["detail"], size_bytes, mtime_ns, row.get("settings") or ""
                )
                entries[entry.id] = entry
            except (KeyError, TypeError, ValueError):
                continue
    return entries
