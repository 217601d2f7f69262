"""Which clip goes into which shard: a matter of the clip list alone, whoever makes the shards and whatever interrupts.

Shard k is for the k-th run of `shard_clips` clips of the list. What is stored stays where it is; clips that come to a
run whose shard stands already (a new file, a longer list) go into shards after all runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any


@dataclass(frozen=True)
class PlannedShard:
    """A shard that is to be made. Clips that turn out to be unusable leave no gap and are not replaced.

    name: of its file; bucket: that its clips are in, empty where the set has one size and length
    """

    name: str
    video_ids: list[str]
    bucket: str = ""


@dataclass(frozen=True)
class SplitPlan:
    """What is to be made of one split's latents, or of its text embeddings.

    settings: everything that changes the values of a row, as it stands in the shards
    ready: clips or captions that are stored already
    done: those, and the clips known to be unusable
    total: all of them
    """

    shards: list[PlannedShard]
    settings: dict[str, Any]
    ready: int
    done: int
    total: int

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SplitPlan:
        """Build one from what `dataclasses.asdict` made of it."""
        return cls(**(values | {"shards": [PlannedShard(**shard) for shard in values["shards"]]}))


def plan_shards(
    video_ids: Sequence[str],
    missing: Collection[str],
    standing: Collection[int],
    shard_clips: int,
    buckets: Mapping[str, str] | None = None,
) -> list[PlannedShard]:
    """Plan the shards for the clips of the list that are `missing`, each of one bucket.

    standing: numbers of the shards that are there; buckets: of clips, by id, where there are several
    """
    runs = _runs_by_bucket(video_ids, shard_clips, buckets or {})
    wanted = [(bucket, [name for name in run if name in missing]) for bucket, run in runs]
    late = [name for number, (_, names) in enumerate(wanted) if number in standing for name in names]
    planned = [(number, *run) for number, run in enumerate(wanted) if run[1] and number not in standing]
    free = (number for number in count(len(runs)) if number not in standing)
    late_runs = _runs_by_bucket(late, shard_clips, buckets or {})
    planned += [(number, *run) for number, run in zip(free, late_runs, strict=False)]
    return [PlannedShard(shard_name(number), names, bucket) for number, bucket, names in planned]


def shard_name(number: int) -> str:
    """Return the file name of a shard, such as shard-00007.safetensors."""
    return f"shard-{number:05}.safetensors"


def _runs_by_bucket(video_ids: Sequence[str], length: int, buckets: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Runs of the list, those of a bucket side by side."""
    groups: dict[str, list[str]] = {}
    for name in video_ids:
        groups.setdefault(buckets.get(name, ""), []).append(name)
    return [(bucket, run) for bucket in sorted(groups) for run in _runs(groups[bucket], length)]


def _runs(video_ids: Sequence[str], length: int) -> list[list[str]]:
    return [list(video_ids[begin : begin + length]) for begin in range(0, len(video_ids), length)]
