"""How long a clip is and how fast, from its frames' timestamps."""

from __future__ import annotations

from dataclasses import dataclass

from av.video.stream import VideoStream

# What a single picture without any rate is taken to be.
FALLBACK_FPS = 25.0


@dataclass(frozen=True)
class Timing:
    """tick_s: seconds a unit of pts; span_s: from the first frame's start to the last one's; fps: an average"""

    tick_s: float
    span_s: float
    fps: float

    @property
    def duration_s(self) -> float:
        """To the last frame's end."""
        return self.span_s + 1 / self.fps


def timing_of(stream: VideoStream, pts: list[int]) -> Timing:
    """Of the frames that the file shows; pts: all of them, sorted, in the stream's time base."""
    tick_s = float(stream.time_base or 0)
    span_s = (pts[-1] - pts[0]) * tick_s
    return Timing(tick_s, span_s, _frame_rate(stream, (len(pts) - 1) / span_s if span_s > 0 else 0.0))


def _frame_rate(stream: VideoStream, measured: float) -> float:
    """The header's rate where it fits the timestamps: after an edit list or a bad remux it does not."""
    declared = float(stream.average_rate or 0)
    if declared > 0 and (measured == 0 or abs(declared / measured - 1) < 0.02):
        return declared
    return measured or FALLBACK_FPS
