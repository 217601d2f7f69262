"""Clips decoded and resized in the background, in order, so that the VAE never waits for one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from t2v_core.data.annotations.msrvtt import Clip
from t2v_core.data.quarantine import file_state
from t2v_core.data.store.buckets import Bucket
from t2v_core.data.store.shard_set import Entry
from t2v_core.data.video.decode import UnreadableClip, read_frames
from t2v_core.data.video.resize import shrink_to
from t2v_core.disk.files import sha256
from t2v_core.machine import cores
from t2v_core.processes.in_order import in_order

# FFmpeg lets other threads run while it decodes. Beyond eight, an H100 would not encode faster than clips come.
MAX_THREADS = 8
MAX_BYTES_AHEAD = 1 << 30


@dataclass(frozen=True)
class ReadyClip:
    """frames: (count, height, width, 3) uint8; entry: what a manifest says of the file and of the frames picked"""

    frames: Tensor
    entry: Entry


def decode_ahead(
    clips: Iterable[tuple[Clip, Bucket]],
    *,
    largest: Bucket,
    ahead: int,
    stride: int | None = None,
    processes: int = 1,
) -> AbstractContextManager[Iterator[tuple[Clip, ReadyClip | UnreadableClip]]]:
    """Give each clip in the order given with its frames, or why it cannot be read; about `ahead` clips wait ready.

    clips: each with the size and number of its frames; largest: of these
    stride: frames between the picked ones; None spreads them evenly
    processes: how many of this machine do the same
    Its end ends the background work.
    """
    threads = min(MAX_THREADS, max(1, cores() // processes))
    ahead = max(1, min(ahead + threads, MAX_BYTES_AHEAD // (largest.frames * largest.height * largest.width * 3)))

    def prepared(wanted: tuple[Clip, Bucket]) -> tuple[Clip, ReadyClip | UnreadableClip]:
        clip, bucket = wanted
        return clip, _prepare(clip, bucket.frames, stride, bucket.size)

    return in_order(prepared, clips, threads=threads, ahead=ahead, name="decode")


def _prepare(clip: Clip, frames: int, stride: int | None, size: tuple[int, int]) -> ReadyClip | UnreadableClip:
    try:
        decoded = read_frames(clip.path, frames, stride, shrink=shrink_to(size))
        source = _describe_source(clip)
    except UnreadableClip as error:
        return error
    except OSError as error:
        return UnreadableClip(clip.path, "decode-error", error.strerror or str(error))
    entry: Entry = source | {
        "indices": decoded.indices,
        "source_fps": decoded.source_fps,
        "effective_fps": decoded.effective_fps,
        "duration_s": decoded.duration_s,
        "total_frames": decoded.total_frames,
    }
    if decoded.pixel_aspect != 1:
        entry["pixel_aspect"] = float(decoded.pixel_aspect)
    return ReadyClip(torch.from_numpy(decoded.frames), entry)


def _describe_source(clip: Clip) -> Entry:
    """What tells whether a clip's file is still the one that was encoded."""
    size_bytes, mtime_ns = file_state(clip.path)
    return {
        "video_id": clip.video_id,
        "file": clip.path.name,
        "size_bytes": size_bytes,
        "mtime_ns": mtime_ns,
        "sha256": sha256(clip.path),
    }


def is_same_source(clip: Clip, entry: Entry) -> bool:
    """Tell whether the file has not changed; a copy with another date is read and its checksum compared."""
    size_bytes, mtime_ns = file_state(clip.path)
    if size_bytes != entry["size_bytes"]:
        return False
    return bool(mtime_ns == entry["mtime_ns"] or sha256(clip.path) == entry["sha256"])
