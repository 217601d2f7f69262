"""Which clip goes into which shard: a matter of the clip list alone, whoever makes the shards and whatever interrupts.

Shard k is for the k-th run of `shard_clips` clips of the list. What is stored stays where it is; clips that come to a
run whose shard stands already (a new file, a longer list) go into shards after all runs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any


@dataclass(frozen=True)
class PlannedShard:
    """A shard that is to be made. Clips that turn out to be unusable leave no gap and are not replaced.

    name: of its file
    """

    name: str
    video_ids: list[str]


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
    video_ids: Sequence[str], missing: Collection[str], standing: Collection[int], shard_clips: int
) -> list[PlannedShard]:
    """Plan the shards for the clips of the list that are `missing`.

    standing: numbers of the shards that are there
    """
    runs = _runs(video_ids, shard_clips)
    wanted = [[name for name in run if name in missing] for run in runs]
    late = [name for number, names in enumerate(wanted) if number in standing for name in names]
    planned = [(number, names) for number, names in enumerate(wanted) if names and number not in standing]
    free = (number for number in count(len(runs)) if number not in standing)
    planned += zip(free, _runs(late, shard_clips), strict=False)
    return [PlannedShard(shard_name(number), names) for number, names in planned]


def shard_name(number: int) -> str:
    """Return the file name of a shard, such as shard-00007.safetensors."""
    return f"shard-{number:05}.safetensors"


def _runs(video_ids: Sequence[str], length: int) -> list[list[str]]:
    return [list(video_ids[begin : begin + length]) for begin in range(0, len(video_ids), length)]
