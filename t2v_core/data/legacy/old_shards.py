"""The previous system's files, one a clip, become the shards of a set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from t2v_core.data.annotations.msrvtt import Clip
from t2v_core.data.legacy.old_files import release, set_aside
from t2v_core.data.legacy.old_rows import OldRow, ReadShard, read_shards
from t2v_core.data.legacy.old_tensors import BadTensorFile
from t2v_core.data.quarantine import Quarantine
from t2v_core.data.store.shard_plan import PlannedShard
from t2v_core.data.store.shard_set import Entry, ShardSet
from t2v_core.data.store.shard_writer import ShardWriter
from t2v_core.disk.files import sha256
from t2v_core.job import Job
from t2v_core.machine import cores
from t2v_core.processes.in_order import in_order

# Of the usable files of a shard and their rows: the tensors to be stored, and what the shard says of each row.
Packed = tuple[dict[str, Tensor], list[Entry]]
Pack = Callable[[list[OldRow], Tensor], Packed]


@dataclass
class OldShards:
    """What the import of latents and that of text have in common.

    clips: of the split, by id; the `path` of each is its `.pt` file
    shape, dtype: of one file's values, and how they are stored (one of DTYPES)
    unit: what progress counts
    """

    shards: ShardSet
    clips: dict[str, Clip]
    shape: tuple[int, ...]
    dtype: str
    unit: str
    quarantine: Quarantine
    job: Job
    _done: int = field(default=0, init=False)

    def missing(self) -> list[str]:
        """Return the ids of the clips that are in no shard, without those whose file is known to be bad."""
        absent = [name for name in self.clips if name not in self.shards.places]
        return [name for name in absent if not self.quarantine.holds(self.clips[name], self.shards.fingerprint)]

    def make(self, missing: list[str], shard_clips: int, pack: Pack) -> None:
        """Read the missing clips' files and write their shards; of a file that cannot be used, note why.

        Raises what `pack` raises, Stopped and, when the disk takes no more, WorkFailed; shards that are whole stay.
        """
        planned = self.shards.plan(list(self.clips), set(missing), shard_clips)
        self._done = len(self.clips) - len(missing)
        self._tell(0)
        files = ([(name, self.clips[name].path) for name in shard.video_ids] for shard in planned)
        with (
            ShardWriter() as writer,
            read_shards(files, self.shape, self.dtype, self._tell) as shards,
        ):
            for shard, read in zip(planned, shards, strict=True):
                if usable := self._usable(shard, read):
                    tensors, entries = pack(usable, read.usable())
                    metadata = {"settings": self.shards.settings, "rows": entries}
                    writer.write(self.shards.directory / shard.name, tensors, metadata)
        self.shards.adopt(planned)
        self.shards.note_checksums(writer.checksums)
        self._hash_others()

    def _hash_others(self) -> None:
        """Read back what a run wrote that was broken off: its checksums went with it. Raises Stopped."""
        paths = self.shards.unhashed()
        if not paths:
            return
        self.job.events.stage("checksums", f"of {len(paths)} shards that an earlier run made")
        with in_order(sha256, paths, threads=cores(), ahead=2 * cores(), name="checksums") as checksums:
            for done, (path, checksum) in enumerate(zip(paths, checksums, strict=True), 1):
                self.job.check_stop()
                self.job.events.progress(done, len(paths), "shards")
                self.shards.note_checksums({path.name: checksum})

    def _tell(self, read: int) -> None:
        self.job.check_stop()
        self._done += read
        self.job.events.progress(self._done, len(self.clips), self.unit)

    def _usable(self, shard: PlannedShard, read: ReadShard) -> list[OldRow]:
        usable = []
        for name, row in zip(shard.video_ids, read.found, strict=True):
            if isinstance(row, BadTensorFile):
                settings = self.shards.fingerprint if row.reason == "non-finite-values" else ""
                set_aside(self.quarantine, self.clips[name], row, self.job, settings)
            else:
                release(self.quarantine, name)
                usable.append(row)
        return usable
