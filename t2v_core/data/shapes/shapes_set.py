"""The built-in world as a data set on disk: H.264 clips, captions in MSR-VTT's form, and the truth about each."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from t2v_core.data.annotations.annotation_forms import ANNOTATION_FILES
from t2v_core.data.annotations.clip_manifest import MANIFEST_FILES
from t2v_core.data.shapes.shapes import CLIP_CRF, MOTIONS, Scene, all_scenes, render
from t2v_core.data.video.frames import write_video
from t2v_core.disk.files import require_space, write_json
from t2v_core.disk.plain_json import read_table
from t2v_core.errors import InvalidRequest
from t2v_core.events.results import ShapesMade
from t2v_core.job import Job
from t2v_core.processes.alone import DATASET_LOCK, alone
from t2v_core.specs import ShapesSpec
from t2v_core.workspace import Dataset

SPEC_FILE = "shapes_spec.json"
TRUTH_FILE = "shapes.json"

# Measured: 8 frames of 64 × 64 take 2.7 kB at CLIP_CRF, most of it the file's own tables; reckoned generously.
BYTES_A_PIXEL = 0.1
BYTES_A_FILE = 2048


def make_set(spec: ShapesSpec, job: Job) -> ShapesMade:
    """Write `videos/`, `annotations/` and `shapes.json` under `spec.data`; clips that are there already are kept.

    Every clip follows from the seed and its number alone, so an interrupted set is finished as if it had not been.
    Returns paths and counts. Raises InvalidRequest for a folder that holds other videos or that another run writes
    into, Stopped between clips.
    """
    dataset = Dataset(job.workspace.resolve(spec.data))
    with alone(dataset.root, DATASET_LOCK, job):
        return _make(dataset, spec, job)


def _make(dataset: Dataset, spec: ShapesSpec, job: Job) -> ShapesMade:
    _claim(dataset, spec, job)
    scenes = plan(spec)
    missing = [number for number in range(len(scenes)) if not _video(dataset, number).is_file()]
    clip_bytes = int(spec.frames * spec.size**2 * BYTES_A_PIXEL) + BYTES_A_FILE
    require_space(dataset.root, len(missing) * clip_bytes, f"a set of {len(scenes)} clips")
    job.events.stage("clips", f"{len(missing)} of {len(scenes)} to draw")
    for done, number in enumerate(missing, start=len(scenes) - len(missing)):
        job.check_stop()
        job.events.progress(done, len(scenes), "clips")
        rng = np.random.default_rng([spec.seed, number])
        clip = render(scenes[number], rng, frames=spec.frames, size=spec.size)
        write_video(_video(dataset, number), clip, fps=spec.fps, crf=CLIP_CRF)
    job.events.progress(len(scenes), len(scenes), "clips")
    annotations = _write_words(dataset, spec, scenes)
    return ShapesMade(
        data=str(job.workspace.relative(dataset.root)),
        annotations=tuple(str(job.workspace.relative(path)) for path in annotations),
        clips=spec.clips,
        test_clips=spec.test_clips,
        written=len(missing),
        skipped=len(scenes) - len(missing),
    )


def plan(spec: ShapesSpec) -> list[Scene]:
    """Return the scene of every clip by number: training clips first, then test clips.

    Of the test clips every other is held out.
    """
    order = np.random.default_rng([spec.seed]).permutation(len(all_scenes()))
    shuffled = [all_scenes()[i] for i in order]
    seen = [scene for scene in shuffled if not scene.is_held_out]
    held_out = [scene for scene in shuffled if scene.is_held_out]
    training = [seen[i % len(seen)] for i in range(spec.clips)]
    pairs = ((held_out if i % 2 else seen, i // 2) for i in range(spec.test_clips))
    return training + [scenes[i % len(scenes)] for scenes, i in pairs]


def _claim(dataset: Dataset, spec: ShapesSpec, job: Job) -> None:
    """Make the folder this spec's own: remove what another spec left there, and never touch another data set."""
    wanted = spec.model_dump(mode="json", exclude={"data"})
    file = dataset.root / SPEC_FILE
    try:
        found = read_table(file)
    except FileNotFoundError:
        if dataset.videos.is_dir() and any(dataset.videos.iterdir()):
            raise InvalidRequest(
                f"{dataset.root} holds a data set that 'shapes' did not make", hint="name another folder with --data"
            ) from None
        found = wanted
    except ValueError:
        found = {}
    if found != wanted:
        changed = ", ".join(f"{k} {found.get(k)} → {v}" for k, v in wanted.items() if found.get(k) != v)
        job.events.warning(f"the set at {job.workspace.relative(dataset.root)} is made again: {changed}")
        _clear(dataset)
    for partial in dataset.videos.glob(".partial-*"):
        partial.unlink(missing_ok=True)
    write_json(file, wanted)


def _clear(dataset: Dataset) -> None:
    """What says that the set is whole goes first, so that a kill in between leaves nothing that looks whole."""
    names = [*(names[0] for names in ANNOTATION_FILES.values()), *MANIFEST_FILES.values()]
    words = [dataset.root / TRUTH_FILE, *(dataset.annotations / name for name in names)]
    for path in (*words, *dataset.videos.glob("video*.mp4")):
        path.unlink(missing_ok=True)


def _video(dataset: Dataset, number: int) -> Path:
    return dataset.videos / f"video{number}.mp4"


def _write_words(dataset: Dataset, spec: ShapesSpec, scenes: list[Scene]) -> list[Path]:
    """Annotation files as Hugging Face's MSR-VTT has them (train: a list of captions; test: one), then the truth."""
    rows = [_row_of_scene(spec, number, scene) for number, scene in enumerate(scenes)]
    for row, scene in zip(rows[: spec.clips], scenes, strict=False):
        row["caption"] = scene.captions()
    train, test = (dataset.annotations / ANNOTATION_FILES[split][0] for split in ("train", "test"))
    write_json(train, rows[: spec.clips])
    write_json(test, rows[spec.clips :])
    truth = {f"video{i}": asdict(scene) | {"held_out": scene.is_held_out} for i, scene in enumerate(scenes)}
    write_json(dataset.root / TRUTH_FILE, truth)
    return [train, test]


def _row_of_scene(spec: ShapesSpec, number: int, scene: Scene) -> dict[str, Any]:
    return {
        "video_id": f"video{number}",
        "video": f"video{number}.mp4",
        "caption": scene.caption,
        "source": "shapes",
        "category": MOTIONS.index(scene.motion),
        "start time": 0.0,
        "end time": spec.frames / spec.fps,
        "id": number,
    }
