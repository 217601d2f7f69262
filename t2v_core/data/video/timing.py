"""How long a clip is and how fast, from its frames' timestamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.video.stream import VideoStream

from t2v_core.data.video.container import UnreadableClip

# What players take a film for that says no rate at all, a single picture among them.
FALLBACK_FPS = 25.0
# A picture a day, and the fastest cameras that play in real time; beyond that, timestamps are in a wrong unit.
SLOWEST_FPS, FASTEST_FPS = 1 / 86_400, 1000.0


@dataclass(frozen=True)
class Timing:
    """times_s: when each frame starts, in order of showing; fps: an average"""

    times_s: list[float]
    fps: float

    @property
    def span_s(self) -> float:
        """Return the time from the first frame's start to the last one's."""
        return self.times_s[-1] - self.times_s[0]

    @property
    def duration_s(self) -> float:
        """Return the time from the first frame's start to the last one's end."""
        return self.span_s + 1 / self.fps

    @property
    def unevenness_s(self) -> float:
        """Return how far the frames are, at most, from where an even rate has them."""
        begin = self.times_s[0]
        return max(abs(time - begin - number / self.fps) for number, time in enumerate(self.times_s))


def timing_of(path: Path, stream: VideoStream, pts: Sequence[int | None]) -> Timing:
    """Return the timing of the frames that the file shows.

    pts: of all of them, in the stream's time base, None where it has none

    Frames without timestamps, as those of a raw H.264 stream, follow each other at the rate that the pictures' own
    headers name, else at 25 a second as FFmpeg has it; so do those whose timestamps cannot be meant.
    Raises UnreadableClip for a rate that no film has, where the header names no other.
    """
    known = sorted(time for time in pts if time is not None)
    if len(known) < len(pts):
        return _numbered(len(pts), _possible(stream.codec_context.framerate, stream.average_rate) or FALLBACK_FPS)
    tick_s = float(stream.time_base or 0)
    span_s = (known[-1] - known[0]) * tick_s
    measured, declared = (len(known) - 1) / span_s if span_s > 0 else 0.0, float(stream.average_rate or 0)
    # After an edit list or a bad remux the header's rate does not fit the timestamps; and half a frame is what rounding
    # may add up to: Matroska's 33 ms a frame are 30.3 a second, and off by 0.7 s after a minute of 29.97.
    off = abs(declared * span_s - (len(known) - 1))
    is_fitting = measured == 0 or (off < 0.5 and abs(declared / measured - 1) < 0.02)
    if fps := _possible(declared if is_fitting else None, measured):
        return Timing([time * tick_s for time in known], fps)
    if fps := _possible(declared, stream.guessed_rate, stream.codec_context.framerate):
        return _numbered(len(pts), fps)
    if measured:
        shown = f"{measured:,.0f} frames per second" if measured > 1 else f"a frame every {1 / measured:,.0f} seconds"
        raise UnreadableClip(path, "impossible-rate", f"its timestamps say {shown}")
    return _numbered(len(pts), FALLBACK_FPS)


def _numbered(count: int, fps: float) -> Timing:
    return Timing([number / fps for number in range(count)], fps)


def exact_rate(fps: float) -> Fraction:
    """Return the rate as a film's header holds it: 29.97 is 30000/1001, and a picture an hour 1/3600."""
    return Fraction(fps).limit_denominator(1001) if fps >= 1 else 1 / Fraction(1 / fps).limit_denominator(1001)


def bounded(fps: float) -> float:
    """Return the nearest rate that a film can have: what nobody asked for must not end a training."""
    return min(max(fps, SLOWEST_FPS), FASTEST_FPS)


def _possible(*rates: Fraction | float | None) -> float | None:
    """The first rate that a film can have."""
    return next((float(rate) for rate in rates if rate and SLOWEST_FPS <= rate <= FASTEST_FPS), None)
