"""Which samples of a training go into a report: as many as its size allows, from the first checkpoint to the last."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from t2v_core.data.video.beside import find_settings, read_settings
from t2v_core.disk.opening import read_bytes
from t2v_core.errors import EngineError
from t2v_core.events import SampleEvent
from t2v_core.workspace import Workspace
from t2v_tui.workers.sample_sync import in_workspace

SUFFIX = ".mp4"
# More columns than this are no longer looked at one by one.
MOST_CHECKPOINTS, MOST_PROMPTS = 8, 6


@dataclass(frozen=True)
class Shown:
    """One video. data: its bytes in base64"""

    step: int
    prompt: str
    data: str


@dataclass(frozen=True)
class Samples:
    """Those of a run.

    prompts:  in the order of their first sample
    steps:    rising
    videos:   by (prompt, step)
    told:     how many samples its events tell of; missing: of those chosen, how many are not here or not this run's
    """

    prompts: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    videos: dict[tuple[str, int], Shown] | None = None
    told: int = 0
    missing: int = 0

    @property
    def shown(self) -> int:
        """Return how many videos there are."""
        return len(self.videos or {})


def samples_of(workspace: Workspace, job: str, told: Sequence[SampleEvent], most_bytes: int) -> Samples:
    """Choose and read samples of at most so many bytes together: fewer checkpoints first, then fewer prompts.

    A path that leads out of `outputs/` is not followed: events may come from another machine, and a report is sent on.
    """
    latest = {(one.prompt, one.step or 0): one for one in told}
    prompts = tuple(dict.fromkeys(one.prompt for one in told))[:MOST_PROMPTS]
    files = {
        place: file for place, one in latest.items() if (file := _sample_file(workspace, job, one.video)) is not None
    }
    sizes = {place: file.stat().st_size for place, file in files.items() if place[0] in prompts}
    wanted = len([place for place in latest if place[0] in prompts])
    steps = spread(sorted({step for _, step in sizes}), MOST_CHECKPOINTS)
    while _bytes(sizes, prompts, steps) > most_bytes and (len(steps) > 1 or len(prompts) > 1):
        steps, prompts = (spread(steps, len(steps) - 1), prompts) if len(steps) > 1 else (steps, prompts[:-1])
    if _bytes(sizes, prompts, steps) > most_bytes:
        steps = []
    videos = {
        (prompt, step): Shown(step, prompt, base64.b64encode(data).decode())
        for prompt in prompts
        for step in steps
        if (prompt, step) in sizes and (data := _bytes_of(files[prompt, step])) is not None
    }
    kept = tuple(prompt for prompt in prompts if any(place[0] == prompt for place in videos))
    return Samples(kept, tuple(steps), videos, len(latest), wanted - len(sizes))


def spread(steps: Sequence[int], most: int) -> list[int]:
    """Return at most so many of them, the first and the last among these; of one, the last."""
    if len(steps) <= most:
        return list(steps)
    if most == 1:
        return [steps[-1]]
    return [steps[round(number * (len(steps) - 1) / (most - 1))] for number in range(most)]


def _bytes(sizes: dict[tuple[str, int], int], prompts: Sequence[str], steps: Sequence[int]) -> int:
    """As base64, in which three bytes are four."""
    return sum(size for (prompt, step), size in sizes.items() if prompt in prompts and step in steps) * 4 // 3


def _sample_file(workspace: Workspace, job: str, video: str) -> Path | None:
    """Where it lies; None when it is not here, is no video of `outputs/`, or another run has written over it."""
    name = PurePosixPath(in_workspace(video))
    path = workspace.root / name
    try:
        real, outputs = path.resolve(), workspace.outputs.resolve()
        if name.suffix.lower() != SUFFIX or not real.is_relative_to(outputs) or not real.is_file():
            return None
    except (OSError, ValueError, RuntimeError):
        return None
    beside = find_settings(path)
    made_by = None if beside is None else read_settings(beside).get("job")
    return real if made_by in (None, job) else None


def _bytes_of(path: Path) -> bytes | None:
    try:
        return read_bytes(path)
    except (OSError, ValueError, EngineError):
        return None
