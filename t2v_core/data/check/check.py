"""`t2v data check`: every clip decoded once, whole, before anything is spent on it."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2v_core.data.annotations.msrvtt import Annotations, clip_files, join_annotations, present_splits, report
from t2v_core.data.annotations.overlap import in_natural_order
from t2v_core.data.check.check_report import CheckedSet, make_report
from t2v_core.data.check.check_text import in_text
from t2v_core.data.check.check_workers import CheckWorkers, Task
from t2v_core.data.check.checked_clips import Checked, CheckedClips
from t2v_core.data.check.contact_sheet import spread, write_contact_sheet
from t2v_core.data.quarantine import EVERY_FRAME, OF_SETTINGS, Quarantine, Quarantined, file_state, settings_of
from t2v_core.disk.files import require_writable, staged_file, write_json
from t2v_core.disk.plain_json import read_table
from t2v_core.errors import InvalidRequest, WorkFailed
from t2v_core.events.results import DataChecked
from t2v_core.job import Job
from t2v_core.specs import DataCheckSpec
from t2v_core.workspace import Dataset

REPORT, TEXT, SHEET, JOURNAL = "report.json", "report.txt", "contact_sheet.jpg", "clips.jsonl"


def check_data(spec: DataCheckSpec, job: Job) -> DataChecked:
    """Decode every file of `videos/`, join the captions, find duplicates, and write what was found to `check/`.

    Clips that cannot be used go into `quarantine.csv`; that is a finding, not a failure. What was decoded before and
    has not changed is not decoded again. Returns counts and paths.
    Raises InvalidRequest for a data set that is not one, WorkFailed when no clip can be used, Stopped.
    """
    dataset = Dataset(job.workspace.resolve(spec.data))
    splits, files = _annotations_and_files(dataset, job)
    folder = dataset.root / "check"
    require_writable(folder)
    quarantine = Quarantine(dataset.quarantine)
    journal = CheckedClips(folder / JOURNAL)
    workers = CheckWorkers(spec.workers or os.cpu_count() or 1, timeout_s=spec.timeout_s, while_waiting=job.check_stop)
    try:
        with workers:
            _decode(files, journal, workers, job)
            found = CheckedSet(dataset, splits, {name: _known(journal, path) for name, path in files.items()})
            described = make_report(found, spec) | {"contact_sheet": _make_sheet(found, files, folder, workers, job)}
    finally:
        journal.close()
        _settle(quarantine, splits, files, journal)
    write_json(folder / REPORT, described)
    with staged_file(folder / TEXT) as partial:
        partial.write_text(in_text(described), encoding="utf-8")
    return _result(described, found, folder, job)


def _annotations_and_files(dataset: Dataset, job: Job) -> tuple[list[Annotations], dict[str, Path]]:
    """The splits that have annotations, their oddities said, and the files by id. Raises InvalidRequest."""
    if not dataset.root.is_dir():
        raise InvalidRequest(
            f"there is no data set at {dataset.root}", hint="name another with --data, or make one: t2v data shapes"
        )
    files = clip_files(dataset)
    if not files:
        raise InvalidRequest(f"{dataset.videos} holds no clips", hint="put them there: video0.mp4, video1.mp4, …")
    splits = [join_annotations(dataset, split) for split in present_splits(dataset)]
    if not splits:
        job.events.warning(
            "there are no annotations: clips are checked, captions are not",
            hint=f"put train_9k.json into {job.workspace.relative(dataset.annotations)}",
        )
    for sentence in report(dataset, splits) if splits else []:
        job.events.warning(sentence)
    return splits, {name: files[name] for name in in_natural_order(files)}


def _decode(files: dict[str, Path], journal: CheckedClips, workers: CheckWorkers, job: Job) -> None:
    """Every file that is not known as it is now; each is noted as soon as it is done."""
    states = {path: file_state(path) for path in files.values()}
    todo = [path for path in files.values() if journal.get(path, timeout_s=workers.timeout_s) is None]
    done = len(files) - len(todo)
    job.events.stage("decode", f"{len(todo)} clips to decode, {done} decoded before")
    for number, (task, answer) in enumerate(workers.run(Task("check", path) for path in todo), start=done + 1):
        checked = Checked.from_answer(task.path.name, states[task.path], answer)
        journal.add(checked)
        if checked.facts is None:
            job.events.warning(f"{task.path.name} cannot be used: {checked.detail} ({checked.reason})")
        job.events.progress(number, len(files), "clips")


def _known(journal: CheckedClips, path: Path) -> Checked:
    """What the journal says of a file, whatever limit it was decoded under."""
    known = journal.get(path, timeout_s=0)
    if known is None:
        raise WorkFailed(f"{path} changed while it was checked", hint="run the same command again")
    return known


def _settle(
    quarantine: Quarantine, splits: Sequence[Annotations], files: dict[str, Path], journal: CheckedClips
) -> None:
    """Write down what is bad, under every id that names the file; what turns out to be good is released."""
    names: defaultdict[Path, set[str]] = defaultdict(set)
    for part in splits:
        for clip in part.clips:
            names[clip.path].add(clip.video_id)
    bad: list[Quarantined] = []
    good: list[str] = []
    for stem, path in files.items():
        known, ids = journal.get(path, timeout_s=0), names[path] or {stem}
        if known is None:
            continue
        if known.facts is None:
            state, settings = (known.size_bytes, known.mtime_ns), settings_of(known.reason, EVERY_FRAME)
            bad += [Quarantined(name, known.reason, known.detail, *state, settings) for name in ids]
        else:
            listed = [name for name in ids if name in quarantine.entries]
            good += [name for name in listed if quarantine.entries[name].reason not in OF_SETTINGS]
    quarantine.update(bad, good)


def _make_sheet(
    found: CheckedSet, files: dict[str, Path], folder: Path, workers: CheckWorkers, job: Job
) -> dict[str, Any]:
    """Write the contact sheet, unless the one that is there shows just these files; returns what it shows."""
    ids = spread(list(found.usable))
    shows = {"clips": ids, "files": _fingerprint([files[name] for name in ids])}
    if not ids or (_read_json(folder / REPORT).get("contact_sheet") == shows and (folder / SHEET).is_file()):
        return shows
    job.events.stage("contact sheet", f"{len(ids)} clips")
    tiles = {task.path: answer for task, answer in workers.run(Task("picture", files[name]) for name in ids)}
    drawn = [(name, tiles[files[name]]) for name in ids if "rgb" in tiles[files[name]]]
    if drawn:
        write_contact_sheet(folder / SHEET, drawn)
    return shows


def _fingerprint(paths: list[Path]) -> str:
    states = [(path.name, *file_state(path)) for path in paths]
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()[:12]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_table(path)
    except (OSError, ValueError):
        return {}


def _result(described: dict[str, Any], found: CheckedSet, folder: Path, job: Job) -> DataChecked:
    """Raises WorkFailed when no clip can be used."""
    text = job.workspace.relative(folder / TEXT)
    if not found.usable:
        name, first = next(iter(found.clips.items()))
        raise WorkFailed(f"none of {len(found.clips)} clips can be used; {name}: {first.detail}", hint=f"see {text}")
    duplicates = described["duplicates"]
    return DataChecked(
        clips=len(found.clips),
        usable=len(found.usable),
        unusable=len(found.clips) - len(found.usable),
        without_caption=len(described["captions"]["clips_without"]),
        duplicates=sum(len(group) - 1 for group in [*duplicates["same_bytes"], *duplicates["same_picture"]]),
        paths=(str(text), str(job.workspace.relative(folder / SHEET))),
    )
