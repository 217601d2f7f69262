"""Clips that could not be used, with the reason, so that nobody meets them twice: `quarantine.csv`."""

from __future__ import annotations

import csv
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from t2v_core.data.annotations.msrvtt import Clip
from t2v_core.disk.files import staged_file
from t2v_core.disk.private import open_own

# Came up while some frames were decoded: with other frames it may not. All reasons but these are the file's own.
OF_FRAMES = frozenset({"corrupt-frame", "decode-error", "size-change", "duplicate-timestamps"})
# The VAE or the stride does not get along with the clip, however well it decodes.
OF_SETTINGS = frozenset({"non-finite-latents", "too-short"})
# The settings of an entry by `t2v data check`, which decodes every frame.
EVERY_FRAME = "every-frame"
LOCK_FILE = ".quarantine.lock"


@dataclass(frozen=True)
class Quarantined:
    """One line of the file. size_bytes and mtime_ns tell whether the clip was replaced since; −1 when it is not there.

    reason: a slug: `UnreadableClip.reason`, timeout and decoder-crash (`t2v data check`), or non-finite-latents
    settings: the fingerprint under which it was so, or EVERY_FRAME; empty when the file itself is bad
    """

    id: str
    reason: str
    detail: str
    size_bytes: int
    mtime_ns: int
    settings: str = ""


class Quarantine:
    """The entries of one data set. Every change is written at once, whole, and keeps what others have written since."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = _quarantined_in(path)

    def holds(self, clip: Clip, settings: str) -> bool:
        """Tell whether the clip is known to be bad, with the same file still, and the same settings if they matter."""
        entry = self.entries.get(clip.video_id)
        if entry is None or not _counts(entry, settings):
            return False
        return (entry.size_bytes, entry.mtime_ns) == file_state(clip.path)

    def add(self, clip: Clip, reason: str, detail: str, settings: str = "") -> None:
        """Note a clip that cannot be used, with its file's size and time of change as they are now."""
        self.update([Quarantined(clip.video_id, reason, detail, *file_state(clip.path), settings)])

    def release(self, video_id: str) -> None:
        """Strike out a clip that has been replaced by one that can be used."""
        if video_id in self.entries:
            self.update(released=[video_id])

    def update(self, added: Iterable[Quarantined] = (), released: Iterable[str] = ()) -> None:
        """Make several changes in one write, or none when nothing changes."""
        with self._locked():
            before = _quarantined_in(self.path)
            after = {name: entry for name, entry in before.items() if name not in set(released)}
            after |= {entry.id: entry for entry in added}
            self.entries = after
            if after != before or not self.path.is_file():
                self._write()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """`t2v data check` and `t2v preprocess` may run at the same time; the lock ends with the process."""
        with os.fdopen(open_own(self.path.with_name(LOCK_FILE), os.O_WRONLY), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _write(self) -> None:
        with (
            staged_file(self.path) as partial,
            partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            writer = csv.DictWriter(file, [field.name for field in fields(Quarantined)])
            writer.writeheader()
            writer.writerows(asdict(self.entries[video_id]) for video_id in sorted(self.entries))


def _counts(entry: Quarantined, settings: str) -> bool:
    """Entries of former versions have a reason of decoding without settings: their clips are tried again."""
    if entry.reason == "not-permitted":  # mended without a change of the file
        return False
    if not entry.settings:
        return entry.reason not in OF_FRAMES
    return entry.settings in (EVERY_FRAME, settings)


def settings_of(reason: str, fingerprint: str) -> str:
    """Return what an entry with this reason holds for: `fingerprint` alone, or "" for any settings."""
    return fingerprint if reason in OF_FRAMES | OF_SETTINGS else ""


def file_state(path: Path) -> tuple[int, int]:
    """Return size in bytes and time of change in ns; (−1, −1) for no file."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _quarantined_in(path: Path) -> dict[str, Quarantined]:
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
