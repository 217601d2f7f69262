"""A folder of shards that grows until it is whole, whatever interrupts it.

Rows go into numbered shards as `shard_plan` has it, and `manifest.json`, written last, says which row is which clip.
Work that is done is what stands in whole shards of the same settings; nothing else is remembered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2v_core.data.store.shard_plan import PlannedShard, plan_shards
from t2v_core.data.store.shards import TornShard, read_metadata
from t2v_core.disk.files import MANIFEST, STAGING, sha256, write_json
from t2v_core.disk.formats import SHARD_FORMAT, is_later, made_later
from t2v_core.disk.plain_json import MOST_MANIFEST_BYTES, read_table
from t2v_core.errors import WorkFailed
from t2v_core.job import Job

# One row's description, as JSON: always "video_id"; the rest is its maker's.
Entry = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a row lies: file name and number of the clip within it."""

    shard: str
    row: int
    entry: Entry


class ShardSet:
    """One split's latents, or its text embeddings, while they are being made.

    settings: everything that changes the values of a row; shards made with other settings are removed on opening
    changed: which settings differ from the shards that were found, such as "frames 8 → 16"; empty when none do
    torn: names of files that were not whole shards, and are gone
    Raises InvalidRequest, with everything as it was, for a folder of a later t2v.
    """

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self.directory = directory
        self.settings: dict[str, Any] = json.loads(json.dumps(settings | {"version": SHARD_FORMAT}))
        self.places: dict[str, Place] = {}
        self.changed: list[str] = []
        self.torn: list[str] = []
        self._written: set[str] = set()
        self._checksums: dict[str, str] = {}
        paths = sorted(directory.glob("shard-*.safetensors"))
        for path in paths:
            with suppress(TornShard):
                _require_known_format(directory, read_metadata(path)["settings"])
        self._sweep()
        for path in paths:
            self._adopt(path)

    @property
    def fingerprint(self) -> str:
        """Return the settings in twelve letters."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:12]

    def _sweep(self) -> None:
        """Remove what a killed run was in the middle of; nobody else writes here yet (see `preprocess`)."""
        for partial in self.directory.glob(f"{STAGING}*"):
            partial.unlink(missing_ok=True)

    def _adopt(self, path: Path) -> None:
        try:
            settings, rows = _opened(path)
        except TornShard:
            self.torn.append(path.name)
            path.unlink()
            return
        if settings != self.settings:
            self.changed = self.changed or _differences(settings, self.settings)
            (self.directory / MANIFEST).unlink(missing_ok=True)
            path.unlink()
            return
        self._note(path.name, rows)

    def _note(self, name: str, entries: list[Entry]) -> None:
        self.places |= {entry["video_id"]: Place(name, row, entry) for row, entry in enumerate(entries)}

    def keep(self, is_current: Callable[[Entry], bool]) -> list[str]:
        """Forget rows whose source has changed since; returns their ids."""
        stale = [name for name, place in self.places.items() if not is_current(place.entry)]
        for name in stale:
            del self.places[name]
        return stale

    def plan(
        self,
        video_ids: Sequence[str],
        missing: Collection[str],
        shard_clips: int,
        buckets: Mapping[str, str] | None = None,
    ) -> list[PlannedShard]:
        """Plan the shards that are to be made; whoever makes them, `adopt` brings them in. buckets: of clips, by id"""
        standing = {int(path.stem.removeprefix("shard-")) for path in self.directory.glob("shard-*.safetensors")}
        planned = plan_shards(video_ids, missing, standing, shard_clips, buckets)
        if {shard.name for shard in planned} & read_manifest(self.directory).get("files", {}).keys():
            (self.directory / MANIFEST).unlink()  # its checksums are those of lost shards
        return planned

    def adopt(self, planned: Iterable[PlannedShard]) -> None:
        """Take in shards that were made since; one without a usable clip was not written."""
        for shard in planned:
            if (self.directory / shard.name).is_file():
                self._written.add(shard.name)
                self._adopt(self.directory / shard.name)

    def require(self, video_ids: Iterable[str]) -> None:
        """Raise WorkFailed when a row is not there although it was made."""
        if lost := [name for name in video_ids if name not in self.places]:
            raise WorkFailed(
                f"{len(lost)} clips ({', '.join(lost[:5])}) were encoded and are gone from {self.directory}",
                hint="run again, with nothing else at work on this data set",
            )

    def seal(self, video_ids: list[str], about: dict[str, Any], extra_files: tuple[str, ...] = ()) -> None:
        """Write the manifest over the rows of `video_ids` (those that are there), unless it says just that already.

        about: what readers need to know of the whole set
        """
        rows = [self.places[name] for name in video_ids if name in self.places]
        names = sorted({place.shard for place in rows}) + list(extra_files)
        clips = [place.entry | {"shard": place.shard, "row": place.row} for place in rows]
        known = read_manifest(self.directory)
        manifest = about | {"settings": self.settings, "clips": clips, "files": self._files(names, known)}
        if json.loads(json.dumps(manifest)) != known:
            write_json(self.directory / MANIFEST, manifest)
        self._remove_unused()

    def unhashed(self) -> list[Path]:
        """Return the shards that `seal` would have to read back for their checksums."""
        known = read_manifest(self.directory)
        paths = [self.directory / name for name in sorted({place.shard for place in self.places.values()})]
        return [path for path in paths if self._checksum(path, known) is None]

    def note_checksums(self, checksums: Mapping[str, str]) -> None:
        """Take in sha256 in hex by file name, of shards as they are now."""
        self._checksums |= checksums

    def _checksum(self, path: Path, known: dict[str, Any]) -> str | None:
        """A shard is never changed once it is there, so a checksum that is known is not reckoned again."""
        if path.name in self._checksums or path.name in self._written:
            return self._checksums.get(path.name)
        before = known.get("files", {}).get(path.name, {})
        is_known = path.name.startswith("shard-") and before.get("size_bytes") == path.stat().st_size
        return str(before["sha256"]) if is_known else None

    def _files(self, names: list[str], known: dict[str, Any]) -> dict[str, Any]:
        """Sizes and checksums."""
        paths = [self.directory / name for name in names]
        return {
            path.name: {"size_bytes": path.stat().st_size, "sha256": self._checksum(path, known) or sha256(path)}
            for path in paths
        }

    def _remove_unused(self) -> None:
        """Shards none of whose rows are valid any more, and what was put by of shards that a stop broke off."""
        used = {place.shard for place in self.places.values()}
        for path in self.directory.glob("*shard-*.safetensors"):
            if path.name not in used:
                path.unlink()


def _opened(path: Path) -> tuple[dict[str, Any], list[Entry]]:
    """A shard's settings and rows. Raises TornShard, also when one of them does not say which clip it is of."""
    metadata = read_metadata(path)
    rows = metadata.get("rows", [])
    if not all(isinstance(row, dict) and isinstance(row.get("video_id"), str) for row in rows):
        raise TornShard(f"{path}: a row names no clip")
    return metadata["settings"], rows


def read_manifest(directory: Path) -> dict[str, Any]:
    """Read the manifest as it stands; empty when there is none or it cannot be read."""
    try:
        return read_table(directory / MANIFEST, MOST_MANIFEST_BYTES)
    except (OSError, ValueError):
        return {}


def report_changes(job: Job, shards: ShardSet, what: str, stale: list[str]) -> None:
    """Say why rows that were there are made again."""
    if shards.changed:
        job.events.warning(f"the {what} are made again: {', '.join(shards.changed)}")
    if shards.torn:
        job.events.warning(f"{len(shards.torn)} shards of the {what} were incomplete and are made again")
    if stale:
        job.events.warning(f"{len(stale)} clips changed since the {what} were made ({', '.join(sorted(stale)[:5])})")


def _require_known_format(directory: Path, settings: dict[str, Any]) -> None:
    """Raise InvalidRequest for shards that a later t2v wrote: they are neither read wrongly nor removed."""
    if is_later(settings.get("version"), SHARD_FORMAT):
        raise made_later(f"what is preprocessed in {directory}", settings["version"], SHARD_FORMAT)


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """`frames 8 → 16` for each setting that differs; hashes and tables only by name."""
    changed = [key for key in after | before if before.get(key) != after.get(key)]
    return [
        f"{key} {before.get(key)} → {after.get(key)}"
        if all(len(str(side.get(key))) <= 12 for side in (before, after))
        else f"another {key.replace('_', ' ')}"
        for key in changed
    ]
