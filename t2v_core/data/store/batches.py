"""Which clips, which captions and which noise a step sees: functions of (seed, epoch, step), so nothing to restore."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Generator, Tensor

from t2v_core.data.store.latents import LatentStore
from t2v_core.models.conditioning import Conditioning
from t2v_core.models.text import TextEmbedding


@dataclass(frozen=True)
class Batch:
    """What one forward pass needs from the data.

    latents: (batch, frames, channels, height, width) float32; all on the CPU
    """

    video_ids: tuple[str, ...]
    latents: Tensor
    prompts: Conditioning


def generator_for(*parts: object) -> Generator:
    """Return a generator whose stream depends on `parts` and on nothing else."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@dataclass(frozen=True)
class BatchPlan:
    """The order of a training run.

    clips: rows of the store to train on
    batch_size: clips a forward pass; accumulation, world_size: forward passes a step of each process that the run was
        begun with, and how many those were. Another number may go on with it: their product stays.
    groups: of the clips, by their place in `clips`, that lie in the same shard; at_once: shards that are shuffled
        together, where not all can be had at once; 0 shuffles all clips
    A step whose clips run out begins the order again, so small sets still fill a batch; what is left over at the end of
    an epoch waits for another epoch's order.
    """

    clips: Sequence[int]
    batch_size: int
    accumulation: int
    world_size: int
    seed: int
    groups: tuple[tuple[int, ...], ...] = ()
    at_once: int = 0

    @property
    def clips_per_step(self) -> int:
        """Return the clips that all processes together take in one step."""
        return self.batch_size * self.passes_per_step

    @property
    def passes_per_step(self) -> int:
        """Return the forward passes that all processes together make in one step."""
        return self.accumulation * self.world_size

    def passes(self, rank: int, processes: int, step: int = 0) -> range:
        """Return the numbers of the forward passes of a step that one of so many processes makes."""
        return range(rank, self.passes_per_step, processes)

    @property
    def usual_clips_per_step(self) -> float:
        """Return the clips of a step, as a mean over an epoch."""
        return self.clips_per_step

    @property
    def steps_per_epoch(self) -> int:
        """Return the whole steps that fit into an epoch; 1 for a set smaller than a step."""
        return max(1, len(self.clips) // self.clips_per_step)

    def epoch_of(self, step: int) -> int:
        """Return the epoch that a step belongs to; both are counted from 0."""
        return step // self.steps_per_epoch

    def clips_in(self, step: int) -> int:
        """Return the clips that count in a step."""
        return self.clips_per_step

    def counted(self, step: int, number: int) -> int:
        """Return how many clips of a forward pass count."""
        return self.batch_size

    def rows(self, step: int, number: int) -> list[int]:
        """Return the rows of the store for one forward pass of a step, by its number in it."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = self._order(epoch)
        begin = place * self.clips_per_step + number * self.batch_size
        return [self.clips[order[i % len(order)]] for i in range(begin, begin + self.batch_size)]

    def groups_soon(self, step: int) -> list[int]:
        """Return the numbers of the groups that a step draws from and, after them, of those that come next.

        Where all are shuffled together that is all of them, by when they are first needed.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        done = place * self.clips_per_step
        if not self.at_once:
            order, group_of = self._order(epoch), {at: k for k, group in enumerate(self.groups) for at in group}
            return list(dict.fromkeys(group_of[at] for at in order[done:] + order[:done]))
        runs = _runs_of_shards(len(self.groups), self.at_once, self.seed, epoch)
        current = 0
        while current + 1 < len(runs) and done >= (count := sum(len(self.groups[one]) for one in runs[current])):
            done, current = done - count, current + 1
        soon = [one for run in runs[current : current + 2] for one in run]
        if current + 1 == len(runs):
            soon += _runs_of_shards(len(self.groups), self.at_once, self.seed, epoch + 1)[0]
        return list(dict.fromkeys(soon))

    def _order(self, epoch: int) -> list[int]:
        if not self.at_once:
            return _order(len(self.clips), self.seed, epoch)
        if epoch not in self._orders:
            self._orders.clear()
            self._orders[epoch] = _order_by_shards(self.groups, self.at_once, self.seed, epoch)
        return self._orders[epoch]

    @cached_property
    def _orders(self) -> dict[int, list[int]]:
        return {}


def _runs_of_shards(count: int, at_once: int, seed: int, epoch: int) -> list[list[int]]:
    """The shards of an epoch, shuffled, so many at a time."""
    drawn: list[int] = torch.randperm(count, generator=generator_for(seed, "shards", epoch)).tolist()
    return [drawn[begin : begin + at_once] for begin in range(0, count, at_once)]


def _order_by_shards(groups: Sequence[Sequence[int]], at_once: int, seed: int, epoch: int) -> list[int]:
    """Of an epoch's clips, where shards are read once: those of some shards, shuffled, then those of the next."""
    order: list[int] = []
    for number, run in enumerate(_runs_of_shards(len(groups), at_once, seed, epoch)):
        clips = [at for shard in run for at in groups[shard]]
        drawn = torch.randperm(len(clips), generator=generator_for(seed, "order", epoch, number)).tolist()
        order += [clips[at] for at in drawn]
    return order


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> list[int]:
    """Of an epoch's clips. Drawn once: of 100,000 clips it takes 4 ms, more than reading a batch."""
    order: list[int] = torch.randperm(count, generator=generator_for(seed, "order", epoch)).tolist()
    return order


def pick_caption(count: int, seed: int, epoch: int, video_id: str) -> int:
    """Choose one of a clip's `count` captions, another one each epoch."""
    return int(torch.randint(count, (), generator=generator_for(seed, "caption", epoch, video_id)))


def load_batch(store: LatentStore, rows: Sequence[int], seed: int, epoch: int, *, captions: int | None = None) -> Batch:
    """Read the latents of `rows` and one caption of each clip: of its first `captions`, or of all."""
    video_ids = tuple(store.video_ids[row] for row in rows)
    counts = [min(count, captions or count) for count in map(store.caption_count, rows)]
    prompts = [
        store.caption(row, pick_caption(count, seed, epoch, name))
        for row, count, name in zip(rows, counts, video_ids, strict=True)
    ]
    return Batch(video_ids, store.latents(rows), Conditioning.of(prompts))


def drop_captions(prompts: Conditioning, null: TextEmbedding, dropped: Tensor) -> Conditioning:
    """Put the null prompt where `dropped` (batch,) is True."""
    tokens, mask, pooled = prompts.tokens.clone(), prompts.mask.clone(), prompts.pooled.clone()
    length = len(null.tokens)
    if tokens.shape[1] < length:
        tokens = torch.nn.functional.pad(tokens, (0, 0, 0, length - tokens.shape[1]))
        mask = torch.nn.functional.pad(mask, (0, length - mask.shape[1]))
    tokens[dropped] = 0
    tokens[dropped, :length] = null.tokens.to(tokens)
    mask[dropped] = torch.arange(mask.shape[1]) < length
    pooled[dropped] = null.pooled.to(pooled) if null.pooled.numel() else pooled[dropped]
    return Conditioning(tokens, mask, pooled)


def split_held_out(video_ids: Sequence[str], wanted: int) -> tuple[list[int], list[int]]:
    """Return the rows to train on and the rows held out.

    The same clips are held out whatever the order of the set, at most a tenth of it.
    """
    count = min(wanted, len(video_ids) // 10)
    by_hash = sorted(range(len(video_ids)), key=lambda row: hashlib.sha256(video_ids[row].encode()).digest())
    held_out = set(by_hash[:count])
    return [row for row in range(len(video_ids)) if row not in held_out], sorted(held_out)
