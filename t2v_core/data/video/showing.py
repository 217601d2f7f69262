"""How long each picture of a gif or webp stands, so that the animation lasts as long as the video.

Both say whole ticks a picture, so a rate such as 30 a second needs pictures of 3 and of 4 ticks; and browsers show what
stands for 10 ms or less for 100 ms, so beyond that rate pictures are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from t2v_core.data.video.timing import FASTEST_FPS, SLOWEST_FPS
from t2v_core.errors import InvalidRequest


@dataclass(frozen=True)
class Ticks:
    """What a format can say of a picture's time. tick_s: its unit; least, most: ticks a picture"""

    tick_s: float
    least: int
    most: int

    @property
    def fastest_fps(self) -> float:
        """Return the most frames a second that the format can show."""
        return 1 / (self.least * self.tick_s)


# GIF89a has 16 bits of hundredths, WebP's ANMF chunk 24 bits of thousandths.
ANIMATIONS = {".gif": Ticks(0.01, 2, 2**16 - 1), ".webp": Ticks(0.001, 11, 2**24 - 1)}


@dataclass(frozen=True)
class Showing:
    """indices: the frames that are written; ticks: how long each of them stands; fps: how many a second, on average"""

    indices: list[int]
    ticks: list[int]
    fps: float


def showing(count: int, fps: float, format_: Ticks) -> Showing:
    """Spread `count` frames over the time that they take, right to half a tick in all."""
    total = max(format_.least, round(count / fps / format_.tick_s))
    shown = min(count, total // format_.least)
    starts = [round(number * total / shown) for number in range(shown + 1)]
    ticks = [end - begin for begin, end in pairwise(starts)]
    return Showing(
        [number * count // shown for number in range(shown)], ticks, fps if shown == count else shown * fps / count
    )


def require_rate(path: Path, fps: float) -> float:
    """Return `fps`, when a video of that name can have it; known before the work.

    Raises InvalidRequest with the number.
    """
    if not SLOWEST_FPS <= fps <= FASTEST_FPS:
        raise InvalidRequest(
            f"{path.name} cannot have {fps:,.6g} frames per second",
            hint=f"a frame a day ({SLOWEST_FPS:.3g}) … {FASTEST_FPS:,.0f}",
        )
    format_ = ANIMATIONS.get(path.suffix.lower())
    if format_ is not None and 1 / fps > format_.most * format_.tick_s:
        raise InvalidRequest(
            f"{path.name} cannot show a picture for {1 / fps:,.0f} seconds: a {path.suffix.lower()[1:]} can for "
            f"{format_.most * format_.tick_s:,.0f}",
            hint=f"write an mp4: {path.with_suffix('.mp4').name}",
        )
    return fps


def words_on_rate(path: Path, count: int, fps: float) -> str:
    """Say what a gif or webp of this rate does not show; empty when it shows every frame."""
    format_ = ANIMATIONS.get(path.suffix.lower())
    if format_ is None or (shown := len(showing(count, fps, format_).indices)) == count:
        return ""
    kind = path.suffix.lower()[1:]
    return (
        f"a {kind} shows at most {format_.fastest_fps:.0f} frames per second, and the video has {fps:.4g}: "
        f"{shown} of {count} frames are in it"
    )
