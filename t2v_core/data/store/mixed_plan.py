"""The order of a training run on clips of several sizes and lengths: each forward pass has clips of one bucket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise

import torch

from t2v_core.data.store.batches import BatchPlan, generator_for


@dataclass(frozen=True)
class MixedPlan(BatchPlan):
    """As `BatchPlan`, of clips of several buckets: a function of (seed, epoch, step), whoever makes which pass.

    buckets: rows of the store, those of a bucket together; `clips` are all of them

    Every clip comes once an epoch. So that no bucket's rest is left out, batches of a bucket are as equal as they can
    be, and some are smaller than `batch_size`; steps have as equal numbers of them as they can. Which have which clips,
    and which make a step together, is drawn anew each epoch. Within a step those of a bucket are side by side, so that
    processes that make them at the same time take as long. A process for which a step has no batch left makes the pass
    of another one, and its clips do not count.
    """

    buckets: tuple[tuple[int, ...], ...] = ()

    @property
    def usual_clips_per_step(self) -> float:
        """Return the clips of a step, as a mean over an epoch."""
        return len(self.clips) / self.steps_per_epoch

    @property
    def steps_per_epoch(self) -> int:
        """Return the steps in which every clip comes once."""
        return max(1, -(-self._batch_count // self.passes_per_step))

    @property
    def _batch_count(self) -> int:
        return sum(-(-len(bucket) // self.batch_size) for bucket in self.buckets)

    def passes(self, rank: int, processes: int, step: int = 0) -> range:
        """Return the numbers of the forward passes of a step that one of so many processes makes: as many as others."""
        in_turns = -(-len(self._batches_of(step)) // processes) * processes
        return range(rank, min(in_turns, self.passes_per_step), processes)

    def clips_in(self, step: int) -> int:
        """Return the clips that count in a step."""
        return sum(len(places) for _, places in self._batches_of(step))

    def counted(self, step: int, number: int) -> int:
        """Return how many clips of a forward pass count: all, or none of what only keeps a process company."""
        batches = self._batches_of(step)
        return len(batches[number][1]) if number < len(batches) else 0

    def rows(self, step: int, number: int) -> list[int]:
        """Return the rows of the store for one forward pass of a step, by its number in it."""
        batches = self._batches_of(step)
        bucket, places = batches[number % len(batches)]
        return [self.buckets[bucket][place] for place in places]

    def _batches_of(self, step: int) -> list[tuple[int, tuple[int, ...]]]:
        epoch, place = divmod(step, self.steps_per_epoch)
        batches = _batches(tuple(map(len, self.buckets)), self.batch_size, self.seed, epoch)
        begin, end = (len(batches) * cut // self.steps_per_epoch for cut in (place, place + 1))
        return sorted(batches[begin:end])


def plan_for(
    buckets: Sequence[Sequence[int]], batch_size: int, accumulation: int, world_size: int, seed: int
) -> BatchPlan:
    """Return the order of a run on clips of one bucket or of several."""
    if len(buckets) <= 1:
        return BatchPlan(list(chain(*buckets)), batch_size, accumulation, world_size, seed)
    together = tuple(map(tuple, buckets))
    return MixedPlan(list(chain(*buckets)), batch_size, accumulation, world_size, seed, buckets=together)


@lru_cache(maxsize=2)
def _batches(clips: tuple[int, ...], batch_size: int, seed: int, epoch: int) -> list[tuple[int, tuple[int, ...]]]:
    """An epoch's batches in their order: the number of its bucket, and places within that."""
    found: list[tuple[int, tuple[int, ...]]] = []
    for number, length in enumerate(clips):
        order = torch.randperm(length, generator=generator_for(seed, "order", epoch, number)).tolist()
        count = -(-length // batch_size)
        cuts = [len(order) * cut // count for cut in range(count + 1)]
        found += [(number, tuple(order[begin:end])) for begin, end in pairwise(cuts)]
    places = torch.randperm(len(found), generator=generator_for(seed, "batches", epoch)).tolist()
    return [found[place] for place in places]
