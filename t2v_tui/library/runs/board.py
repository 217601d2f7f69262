"""The trainings there are as rows: from what hosts say of their jobs, their settings, their events and the bill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from remote.cost.ledger import Ledger, Session
from remote.replies.job_row import JobRow
from t2v_core.disk.plain_json import read_table
from t2v_core.disk.typed_json import read_as
from t2v_core.errors import EngineError
from t2v_core.events import DoneEvent, StepEvent
from t2v_core.events.results import Trained
from t2v_core.workspace import Workspace
from t2v_tui.library.folders import once, read_folder
from t2v_tui.library.runs.labels import Label
from t2v_tui.library.runs.measured import Measured
from t2v_tui.store.runs import RunRow
from t2v_tui.store.state import LOCAL, JobKey

HELD_OUT = "held_out_loss"
# The first of these that an evaluation has is its main one; all are better when larger.
SCORES = ("unseen_obeyed_all", "seen_obeyed_all", "clip_generated")
MOST_SCORE_FILES = 5000


@dataclass(frozen=True)
class Scored:
    """One evaluation, by its main score.

    checkpoint: its path as it was said; t: when it was written, Unix seconds; all_scores: by name, as the file has them
    """

    checkpoint: str
    name: str
    value: float
    t: float
    all_scores: Mapping[str, Any] = field(default_factory=dict)


def events_of(workspace: Workspace, job: JobKey) -> Path:
    """Return the file with a run's events, or with what came here of them."""
    from remote.jobs.spool import Spool

    if job.host == LOCAL:
        return workspace.jobs / job.job / "events.jsonl"
    return Spool.of(workspace, job.host, job.job).events


def row_of(
    key: JobKey,
    job: JobRow,
    *,
    settings: Mapping[str, Any],
    label: Label,
    measured: Measured | None,
    scored: Iterable[Scored],
    sessions: Sequence[Session],
    now_t: float,
) -> RunRow:
    """Return what is known of one run.

    settings: with defaults; empty while they are not known
    scored:   evaluations of this run's own checkpoints
    sessions: of its host; none where nobody is paid
    """
    loss, held_out = _losses(job, measured)
    best = max(scored, key=lambda one: one.value, default=None)
    until_t = job.ended_t or now_t
    said = _newest_step(job)
    return RunRow(
        key, job.state, label.name, label.note, str(settings.get("preset", "")), str(settings.get("data", "")),
        step=max(measured.step if measured else 0, said[0]), total=said[1] or (measured.total if measured else 0),
        loss=loss, held_out=held_out, score=best.value if best else None, score_name=best.name if best else "",
        usd=sum(one.usd(job.started_t, until_t) for one in sessions) if sessions and job.started_t else None,
        seconds=max(0.0, until_t - job.started_t) if job.started_t else None, began_t=job.began_t,
    )  # fmt: skip


def _losses(job: JobRow, measured: Measured | None) -> tuple[float | None, float | None]:
    """Of the newest step, and the lowest held-out; what the job's last event says stands in for what is not read."""
    loss = measured.newest.get("loss") if measured else None
    held_out = measured.lowest[HELD_OUT][1] if measured and HELD_OUT in measured.lowest else None
    event = job.newest
    if isinstance(event, StepEvent):
        loss = event.loss if loss is None else loss
    elif isinstance(event, DoneEvent) and (result := Trained.of(event.extra)) is not None:
        loss = result.loss if loss is None else loss
        held_out = result.held_out_loss if held_out is None else held_out
    return loss, held_out


def _newest_step(job: JobRow) -> tuple[int, int]:
    event = job.newest
    if isinstance(event, StepEvent):
        return event.step, event.total or 0
    result = Trained.of(event.extra) if isinstance(event, DoneEvent) else None
    return (result.steps, result.steps) if result is not None else (0, 0)


def sessions_of(workspace: Workspace, host: str) -> list[Session]:
    """Return when a host's VM ran and for how much; nothing of this machine, or when the ledger cannot be read."""
    if host == LOCAL:
        return []
    try:
        return Ledger.of(workspace, host).sessions()
    except EngineError:
        return []


def evaluations(workspace: Workspace) -> list[Scored]:
    """Return the main score of every evaluation of this workspace, oldest first; what cannot be read is left out."""
    folder = workspace.outputs / "scores"
    files = sorted((name, stamp) for name, stamp in read_folder(str(folder)).files.items() if name.endswith(".json"))
    found = [
        once("evaluation", str(folder / name), stamp, partial(_evaluation, folder / name, stamp[1] / 1e9))
        for name, stamp in files[:MOST_SCORE_FILES]
    ]
    return sorted((one for one in found if one is not None), key=lambda one: one.t)


@dataclass(frozen=True)
class _Evaluation:
    """A file that `t2v evaluate` wrote."""

    checkpoint: str
    scores: Mapping[str, Any]


def _evaluation(path: Path, t: float) -> Scored | None:
    try:
        said = read_as(_Evaluation, read_table(path))
    except (OSError, ValueError):
        return None
    tables = {name: found for name in SCORES if isinstance(found := said.scores.get(name), dict)}
    values = {name: value for name, one in tables.items() if isinstance(value := one.get("value"), int | float)}
    return next((Scored(said.checkpoint, name, float(value), t, said.scores) for name, value in values.items()), None)


def scores_by_run(
    scored: Sequence[Scored], checkpoints: Mapping[JobKey, Sequence[tuple[float, float, str]]]
) -> dict[JobKey, list[Scored]]:
    """Return the evaluations of each run: of a path that several runs wrote, of the last that had by then.

    checkpoints: of each run (step, Unix time, path)
    """
    written = sorted((t, _tail(path), key) for key, all_ in checkpoints.items() for _, t, path in all_)
    found: dict[JobKey, list[Scored]] = {}
    for one in scored:
        tail = _tail(one.checkpoint)
        writers = [key for t, path, key in written if path == tail and t <= one.t]
        if writers:
            found.setdefault(writers[-1], []).append(one)
    return found


def _tail(path: str) -> str:
    """Of a checkpoint's path what is said of it everywhere: `checkpoint_epoch_5`, or `mine/checkpoint_epoch_5`."""
    parts = PurePosixPath(path).parts
    below = parts[parts.index("checkpoints") + 1 :] if "checkpoints" in parts[:-1] else parts[-1:]
    return "/".join(below)
