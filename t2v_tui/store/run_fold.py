"""What a followed job says, folded: by a thread from events into a piece, on the screen's side into a run."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace

from t2v_core.events import (
    CheckpointEvent,
    Event,
    ProgressEvent,
    SampleEvent,
    ScoreEvent,
    StageEvent,
    StepEvent,
    WarningEvent,
)
from t2v_tui.store.events import RunPiece
from t2v_tui.store.state import Curve, JobKey, RunView, Sample

# Over so many reports the rate is taken; a worker that speaks 30 times a second then tells of the last 3 s.
RECENT = 100
KEPT_SAMPLES, KEPT_WARNINGS = 200, 20


class Fold:
    """Gathers events in the thread that hears them: 100,000 steps take a second, which no screen has."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.held_out: list[tuple[int, float]] = []
        self.checkpoint_steps: list[int] = []
        self.checkpoints: list[str] = []
        self.samples: list[Sample] = []
        self.warnings: list[str] = []
        self.stage: tuple[str, str] | None = None
        self.count: tuple[float, float, str] | None = None
        self.recent: list[tuple[float, float]] = []
        self.epoch: int | None = None
        self.samples_per_s: float | None = None
        self.heard_t: float | None = None

    def take(self, event: Event) -> None:
        """Fold one more event in."""
        self.heard_t = event.t
        match event:
            case StepEvent(step, int(total)):
                self.count = (float(step), float(total), "steps")
                self.recent.append((event.t, float(step)))
                self._figures(event)
            case ProgressEvent(done, total, unit):
                self.count = (float(done), float(total), unit)
                self.recent.append((event.t, float(done)))
            case StageEvent(name, detail):
                self.stage, self.count = (name, detail), None
                self.recent.clear()
            case ScoreEvent(value=value, step=int(step)) if value is not None:
                self.held_out.append((step, float(value)))
            case CheckpointEvent(path, step=step):
                self.checkpoints.append(path)
                self.checkpoint_steps += [] if step is None else [step]
            case SampleEvent(video, settings, prompt, said):
                step = said if said is not None else self.steps[-1] if self.steps else 0
                self.samples.append(Sample(video, prompt, step, settings or ""))
            case WarningEvent(message):
                self.warnings.append(message)

    def piece(self, job: JobKey, *, is_first: bool, link_why: str | None = None) -> RunPiece:
        """Return what was gathered."""
        return RunPiece(
            job, is_first, tuple(self.steps), tuple(self.losses), tuple(self.held_out), tuple(self.checkpoint_steps),
            tuple(self.checkpoints), tuple(self.samples), tuple(self.warnings), self.stage, self.count,
            tuple(self.recent[-RECENT:]), self.epoch, self.samples_per_s, self.heard_t, link_why,
        )  # fmt: skip

    def _figures(self, event: StepEvent) -> None:
        if event.loss is not None:
            self.steps.append(event.step)
            self.losses.append(float(event.loss))
        self.epoch = self.epoch if event.epoch is None else event.epoch
        self.samples_per_s = self.samples_per_s if event.samples_per_s is None else event.samples_per_s


def joined(run: RunView, piece: RunPiece) -> RunView:
    """Return the run after one more piece."""
    if piece.stage is not None:
        stage, detail = piece.stage
        run = replace(run, stage=stage, detail=detail, recent=(), rate=None, done=0.0, total=0.0, unit="")
    if piece.count is not None:
        run = replace(run, done=piece.count[0], total=piece.count[1], unit=piece.count[2])
    recent = (*run.recent, *piece.recent)[-RECENT:]
    known_step = int(run.curve.steps[-1]) if run.curve.steps else 0
    samples = tuple(one if one.step else replace(one, step=known_step) for one in piece.samples)
    return replace(
        run,
        recent=recent,
        rate=rate_of(recent),
        epoch=run.epoch if piece.epoch is None else piece.epoch,
        loss=piece.losses[-1] if piece.losses else run.loss,
        held_out_loss=piece.held_out[-1][1] if piece.held_out else run.held_out_loss,
        samples_per_s=run.samples_per_s if piece.samples_per_s is None else piece.samples_per_s,
        curve=_curve(run.curve, piece, samples),
        samples=(*run.samples, *samples)[-KEPT_SAMPLES:],
        checkpoints=(*run.checkpoints, *piece.checkpoints),
        warnings=(*run.warnings, *piece.warnings)[-KEPT_WARNINGS:],
        heard_t=run.heard_t if piece.heard_t is None else piece.heard_t,
        link_why=run.link_why if piece.link_why is None else piece.link_why,
    )


def _curve(curve: Curve, piece: RunPiece, samples: tuple[Sample, ...]) -> Curve:
    if not (piece.steps or piece.held_out or piece.checkpoint_steps or samples):
        return curve
    marks = dict.fromkeys((*curve.samples, *(one.step for one in samples)))
    return Curve(
        _longer(curve.steps, piece.steps),
        _longer(curve.losses, piece.losses),
        (*curve.held_out, *piece.held_out),
        (*curve.checkpoints, *piece.checkpoint_steps),
        tuple(marks),
    )


def _longer(known: Sequence[float], more: Sequence[float]) -> Sequence[float]:
    """In arrays: of a million steps a tuple takes four times as much memory, and ten times as long to copy."""
    return (known if isinstance(known, array) else array("d", known)) + array("d", more)


def rate_of(recent: tuple[tuple[float, float], ...]) -> float | None:
    """Return the rate a second; None until two reports tell."""
    if len(recent) < 2:
        return None
    (t0, first), (t1, last) = recent[0], recent[-1]
    return (last - first) / (t1 - t0) if t1 > t0 and last > first else None
