"""Where a verb writes its video: the place that was asked for, or a name that nothing has yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from t2v_core.data.video.beside import is_free, require_settings_place
from t2v_core.data.video.frames import Written, require_video_target, write_video
from t2v_core.data.video.orientation import SQUARE
from t2v_core.data.video.sound import Sound
from t2v_core.disk.files import NewName


@dataclass(frozen=True)
class Target:
    """One video to be.

    is_new: take the first free one of `path`, `NAME-2`, …; else replace what is there. The name is chosen when the
        video is written: chosen before, two runs would choose the same.
    """

    path: Path
    is_new: bool = False

    def checked(self) -> Target:
        """Return the target itself, when a video and its .json can be written there; known before the work.

        Raises InvalidRequest as `require_video_target` and `require_settings_place`.
        """
        require_video_target(self.path)
        if not self.is_new:
            require_settings_place(self.path)
        return self

    def write(
        self,
        frames: Iterable[NDArray[np.uint8]],
        *,
        fps: float,
        pixel_aspect: Fraction = SQUARE,
        sound: Sound | None = None,
    ) -> tuple[Path, Written]:
        """Write the video; returns where it lies and what is in it. Arguments as of `write_video`."""
        if not self.is_new:
            return self.path, write_video(self.path, frames, fps=fps, pixel_aspect=pixel_aspect, sound=sound)
        name = NewName(is_free)
        written = write_video(self.path, frames, fps=fps, pixel_aspect=pixel_aspect, sound=sound, land=name)
        return name.path, written
