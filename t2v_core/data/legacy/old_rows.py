"""Many files of one tensor each, read and checked by several threads into the rows of shards."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2v_core.data.encode.encode_clips import DTYPES
from t2v_core.data.legacy.old_tensors import BadTensorFile, buffer_for, read_old_tensor
from t2v_core.data.store.shard_set import Entry
from t2v_core.disk.opening import read_soon
from t2v_core.machine import cores
from t2v_core.processes.in_order import in_order

# More of them wait for each other: a third of the work on a clip holds the interpreter.
FEWEST_READERS, MOST_READERS = 3, 8
# What a thread does between two looks at the queue. A disk is fast only when it is asked for many files at once: a
# group is asked for as a whole, in three quarters of the time that eight threads take which ask for one file each.
GROUP_FILES = 16
# A spread is told as well by every sixteenth value, in a tenth of the time.
SPREAD_STEP = 16

# A clip's id and its file.
File = tuple[str, Path]


@dataclass(frozen=True)
class OldRow:
    """A file that can be used, and is in its row.

    entry: what tells whether the file is still the same one
    spread: standard deviation of its values
    """

    entry: Entry
    spread: float


@dataclass(frozen=True)
class ReadShard:
    """rows: (files, *shape), in the stored dtype; found: of each row what it is, or why its file cannot be used"""

    rows: Tensor
    found: list[OldRow | BadTensorFile]

    def usable(self) -> Tensor:
        """Return the rows of the files that can be used."""
        usable = [number for number, found in enumerate(self.found) if isinstance(found, OldRow)]
        return self.rows if len(usable) == len(self.rows) else self.rows[usable]


@dataclass(frozen=True)
class _Group:
    """files: neighbours; rows: where their values go; shard: the whole shard's rows, of its last group"""

    files: Sequence[File]
    rows: Tensor
    shard: Tensor | None


def readers() -> int:
    """Return how many threads read on this machine."""
    return min(MOST_READERS, max(FEWEST_READERS, cores()))


@contextmanager
def read_shards(
    shards: Iterable[Sequence[File]],
    shape: tuple[int, ...],
    dtype: str,
    told: Callable[[int], object],
    *,
    threads: int | None = None,
) -> Iterator[Iterator[ReadShard]]:
    """Give the files of each shard, read; the next shard's while one is taken in; all in the order given.

    shape: of one file's values, which are float32
    dtype: of the rows, one of DTYPES
    told: called with the number of files that have been read since; what it raises ends the reading
    threads: how many; by themselves, `readers()`. They change nothing of what is read
    What waits ready is at most two groups a thread, in whole shards. Its end ends the work.
    """
    threads = threads or readers()
    work = partial(_read_group, shape=shape, dtype=dtype)
    groups = _groups(shards, shape, dtype)
    with in_order(work, groups, threads=threads, ahead=2 * threads, name="old-files") as done:
        yield _into_shards(done, told)


def _into_shards(
    done: Iterable[tuple[_Group, list[OldRow | BadTensorFile]]], told: Callable[[int], object]
) -> Iterator[ReadShard]:
    found: list[OldRow | BadTensorFile] = []
    for group, read in done:
        found += read
        told(len(read))
        if group.shard is not None:
            yield ReadShard(group.shard, found)
            found = []


def _groups(shards: Iterable[Sequence[File]], shape: tuple[int, ...], dtype: str) -> Iterator[_Group]:
    for files in shards:
        rows = torch.empty((len(files), *shape), dtype=DTYPES[dtype])
        for begin in range(0, len(files), GROUP_FILES):
            end = begin + GROUP_FILES
            yield _Group(files[begin:end], rows[begin:end], rows if end >= len(files) else None)


def _read_group(group: _Group, shape: tuple[int, ...], dtype: str) -> tuple[_Group, list[OldRow | BadTensorFile]]:
    torch.set_num_threads(1)  # of this thread alone: torch would begin others for a clip's values in each reader
    read_soon(path for _, path in group.files)
    buffer = buffer_for(shape)
    rows = zip(group.files, group.rows, strict=True)
    return group, [_read_row(file, row, dtype, buffer) for file, row in rows]


def _read_row(file: File, row: Tensor, dtype: str, buffer: bytearray) -> OldRow | BadTensorFile:
    video_id, path = file
    try:
        old = read_old_tensor(video_id, path, tuple(row.shape), buffer)
    except BadTensorFile as error:
        return error
    row.copy_(old.values)
    if old.largest > torch.finfo(row.dtype).max and not row.isfinite().all():  # a little more is rounded down to it
        return BadTensorFile("non-finite-values", f"{dtype} cannot hold the values of {path.name}")
    return OldRow(old.entry, _spread(old.values.reshape(-1).numpy()))


def _spread(values: NDArray[np.float32]) -> float:
    """Their standard deviation, near enough to tell scaled latents from unscaled ones."""
    values = values[::SPREAD_STEP]
    squares = float(np.einsum("i,i->", values, values)) / len(values)
    return math.sqrt(max(0.0, squares - float(values.mean()) ** 2))
