"""Buckets: the sizes and lengths that the clips of one set may have. Each clip goes into the one that suits it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isclose, log

from t2v_core.errors import InvalidRequest
from t2v_core.format import counted

FORM = re.compile(r"(\d{1,5})[x×](\d{1,5})[x×](\d{1,5})")
# More are a mistake: each is a stack of shards, and batches of its own.
MOST = 64


@dataclass(frozen=True)
class Bucket:
    """A size in pixels and a number of frames."""

    frames: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.height, self.width

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (frames, height, width)."""
        return self.frames, self.height, self.width

    @property
    def name(self) -> str:
        """Return it as `--buckets` has it, such as 832x480x81."""
        return f"{self.width}x{self.height}x{self.frames}"

    def needs(self, stride: int | None) -> int:
        """Return how many frames a clip must have to fill it."""
        return self.frames if stride is None else (self.frames - 1) * stride + 1


class TooShort(ValueError):
    """A clip fills no bucket of its shape."""


def read_buckets(text: str) -> tuple[Bucket, ...]:
    """Read `WxHxF,WxHxF,…`; each once, in an order that does not depend on that of the text.

    Raises InvalidRequest for another form.
    """
    found = set()
    for part in text.split(","):
        match = FORM.fullmatch(part.strip())
        if match is None or "0" in match.groups():
            raise InvalidRequest(
                f"--buckets: {part.strip() or 'nothing'} is no size and length",
                hint="each is width x height x frames, with commas between them: --buckets 832x480x81,480x832x81; "
                "or --buckets auto",
            )
        width, height, frames = map(int, match.groups())
        found.add(Bucket(frames, height, width))
    if len(found) > MOST:
        raise InvalidRequest(f"--buckets names {len(found)} sizes and lengths", hint=f"name {MOST} at most")
    return tuple(sorted(found, key=lambda one: (one.width / one.height, one.width, one.frames)))


def names_of(buckets: Iterable[Bucket]) -> str:
    """Return what `read_buckets` reads."""
    return ",".join(bucket.name for bucket in buckets)


def bucket_for(buckets: Iterable[Bucket], width: int, height: int, frames: int, stride: int | None) -> Bucket:
    """Choose the bucket of a clip: the nearest aspect ratio, of these the longest that it fills, of these the largest.

    width, height: in pixels as they are shown; frames: that the clip has; stride: between those that are taken
    Raises TooShort when it fills none of that ratio.
    """

    def distance(bucket: Bucket) -> float:
        return abs(log(bucket.width / bucket.height) - log(width / height))

    buckets = tuple(buckets)
    nearest = min(map(distance, buckets))
    alike = [bucket for bucket in buckets if isclose(distance(bucket), nearest, abs_tol=1e-9)]
    filled = [bucket for bucket in alike if bucket.needs(stride) <= frames]
    if not filled:
        shortest = min(alike, key=lambda bucket: bucket.needs(stride))
        raise TooShort(
            f"it has {counted(frames, 'frame')} and is {width}×{height}, and the shortest bucket of that shape, "
            f"{shortest.name}, needs {shortest.needs(stride)}"
        )
    return max(filled, key=lambda bucket: (bucket.frames, bucket.width * bucket.height))


def shares_in_words(clips: Mapping[str, int]) -> str:
    """Say how many clips are in each bucket: `832×480, 81 frames: 12 clips; …`"""
    return "; ".join(
        f"{width}×{height}, {counted(int(frames), 'frame')}: {counted(count, 'clip')}"
        for (width, height, frames), count in ((name.split("x"), count) for name, count in clips.items())
    )
