"""What each verb returns: the fields of its `done` event, beside the seconds.

A verb makes its class and `run_job.py` writes it; whoever needs more than the paths of a result reads it back with
`Result.of`. Paths are relative to the workspace, or absolute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from t2v_core.disk.typed_json import Misfit, read_as
from t2v_core.events.fields import Json, plain


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a verb returns."""

    def plain(self) -> dict[str, Json]:
        """Return the fields by name, as JSON has them."""
        return plain(self)

    @classmethod
    def of(cls, said: Mapping[str, Json]) -> Self | None:
        """Return the result that a `done` event holds; None when it is another verb's, or lacks something.

        said: what else it holds is passed over
        """
        try:
            return read_as(cls, said)
        except Misfit:
            return None


@dataclass(frozen=True, kw_only=True)
class ShapesMade(Result):
    """Of `shapes`. written, skipped: clips that were drawn, and that were there already"""

    data: str
    annotations: tuple[str, ...]
    clips: int
    test_clips: int
    written: int
    skipped: int


@dataclass(frozen=True, kw_only=True)
class DataChecked(Result):
    """Of `check`, in clips. paths: of the report and the contact sheet"""

    clips: int
    usable: int
    unusable: int
    without_caption: int
    duplicates: int
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Preprocessed(Result):
    """Of `preprocess`. skipped: clips that were there already; bytes: of all that lies there now"""

    clips: int
    captions: int
    quarantined: int
    skipped: int
    bytes: int
    data: str
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ManifestsWritten(Result):
    """Of `manifest`. written: files that are new; paths: of all"""

    clips: int
    captions: int
    written: int
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LatentsImported(Result):
    """Of `import-latents`. skipped: clips that were there already"""

    clips: int
    captions: int
    quarantined: int
    skipped: int
    data: str
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CheckpointsImported(Result):
    """Of `import-checkpoint`. skipped: those that were there already; paths: of these and the new ones"""

    imported: int
    skipped: int
    refused: int
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Trained(Result):
    """Of `train`. loss: of the last step; None when there was nothing left to do"""

    checkpoint: str
    steps: int
    loss: float | None = None
    held_out_loss: float | None


@dataclass(frozen=True, kw_only=True)
class VideoMade(Result):
    """Of `generate`, `refine` and `add-noise`, which says its strength."""

    video: str
    settings: str
    frames: int
    fps: float
    strength: float | None = None


@dataclass(frozen=True, kw_only=True)
class SheetMade(Result):
    """Of `sheet`. video: shows all; cells: each one's own; kept: so many of them were there already"""

    video: str
    settings: str
    cells: tuple[str, ...]
    kept: int
    columns: int


@dataclass(frozen=True, kw_only=True)
class Evaluated(Result):
    """Of `evaluate`. scores: the file that holds them"""

    scores: str
    clips: int
    videos: int


@dataclass(frozen=True, kw_only=True)
class JobsDone(Result):
    """Of `serve`."""

    jobs: int


@dataclass(frozen=True, kw_only=True)
class Finding(Result):
    """One check of `doctor`, as `t2v_core.diagnosis.check.Check` describes it."""

    name: str
    state: str
    sentence: str
    mend: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis(Result):
    """Of `doctor`. healthy: nothing is bad"""

    healthy: bool
    checks: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class KilledRun(Result):
    """One of `verify-resume`'s trainings that was killed and resumed, compared with one that was not.

    killed:            where, in words
    steps_done:        before the kill; resumed_at: the last step of the checkpoint it went on from
    left_half_written: files of the checkpoint that was being written
    differing:         names of the tensors that are not the same to the last bit, of `tensors`
    """

    killed: str
    steps_done: int
    resumed_at: int
    left_half_written: tuple[str, ...]
    order_is_same: bool
    tensors: int
    differing: tuple[str, ...]
    largest_difference: float


@dataclass(frozen=True, kw_only=True)
class ResumeVerified(Result):
    """Of `verify-resume`. between_two_whole_runs: the largest difference, None where there can be none"""

    exact: bool
    largest_difference: float
    cases: tuple[KilledRun, ...]
    between_two_whole_runs: float | None
    preset: str
    steps: int
    processes: int
    device: str
    took_s: float
