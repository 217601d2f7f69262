"""`t2v demo` from heading to summary, with a stand-in for the engine that leaves results as the real one does."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from remote.jobs import foreground as jobs
from t2v_tui.cli.engine import demo
from t2v_tui.cli.main import main

# Called as the engine is: VERB JOBDIR. It fails at the verb named in the workspace's file `broken`.
ENGINE = """
import json, sys
from pathlib import Path
from t2v_core.events import DoneEvent, ErrorEvent, EventWriter, ScoreEvent, StepEvent
verb, directory = sys.argv[1], Path(sys.argv[2])
root = directory.parent.parent
spec = json.loads((directory / "spec.json").read_text())
events = EventWriter(directory / "events.jsonl")
broken = root / "broken"
if broken.exists() and broken.read_text() == verb:
    events.emit(ErrorEvent("out of luck", "try again", 1))
    sys.exit(1)
for step in range(1, 50) if verb == "train" else ():
    events.emit(StepEvent(step, 49, loss=1 / step, samples_per_s=10.0))
if verb == "evaluate":
    events.emit(ScoreEvent("clip_score", 0.25))
paths = {"shapes": "data/shapes", "preprocess": "data/shapes/latents", "train": "checkpoints/checkpoint_epoch_22",
         "evaluate": "outputs/scores.json"}
path = paths.get(verb) or spec["output"]
(root / path).mkdir(parents=True, exist_ok=True)
events.emit(DoneEvent(2.0, extra={"checkpoint" if verb == "train" else "video": path}))
"""

Ran = Callable[[], tuple[int, str, str]]


@pytest.fixture
def run_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ran:
    def stand_in(job: jobs.JobHandle) -> jobs.Run:
        return jobs.run_here(job, argv=[sys.executable, "-c", ENGINE, job.verb, str(job.directory)])

    def run() -> tuple[int, str, str]:
        code = main(["demo", "toy"])
        said = capsys.readouterr()
        return code, said.out, said.err

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "run_here", stand_in)
    return run


def test_the_demo_does_the_whole_job_and_tells_what_it_did(run_demo: Ran, tmp_path: Path) -> None:
    code, out, said = run_demo()
    assert code == 0
    videos = ("fresh", "shipped", "noisy", "refined")
    assert out.splitlines() == [f"toy/outputs/demo-{name}.mp4" for name in videos]
    headings = [f"{number} of {len(demo.STEPS)}  {step.name}" for number, step in enumerate(demo.STEPS, 1)]
    assert [heading for heading in headings if heading not in said] == []
    assert "training loss over optimiser steps" in said
    assert "clip_score\t0.25" in said
    assert "   0:02  Train a model from scratch" in said
    assert f"  cd {tmp_path / 'toy'}" in said
    verbs = [path.name.split("-", 2)[2].rsplit("-", 1)[0] for path in (tmp_path / "toy/jobs").iterdir()]
    assert sorted(verbs) == sorted(step.verb for step in demo.STEPS)


def test_a_second_run_skips_what_is_done_and_redoes_what_follows_a_gap(run_demo: Ran, tmp_path: Path) -> None:
    run_demo()
    assert run_demo()[2].count("already done: kept") == 8
    (tmp_path / "toy/outputs/demo-noisy.mp4").rmdir()
    assert run_demo()[2].count("already done: kept") == 5


def test_a_step_that_fails_ends_the_demo_and_the_next_run_goes_on_there(run_demo: Ran, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/broken").write_text("train")
    code, out, said = run_demo()
    assert (code, out) == (1, "")
    assert "error: out of luck\nhint:  try again\nlog:   " in said
    (tmp_path / "toy/broken").unlink()
    code, _, said = run_demo()
    assert (code, said.count("already done: kept")) == (0, 2)


def test_an_interrupted_training_is_resumed(run_demo: Ran, tmp_path: Path) -> None:
    checkpoint = tmp_path / "toy/checkpoints/checkpoint_epoch_11"
    checkpoint.mkdir(parents=True)
    (checkpoint / "manifest.json").write_text('{"files": {}}')
    run_demo()
    spec = json.loads(next((tmp_path / "toy/jobs").glob("*-train-*/spec.json")).read_text())
    assert spec["resume"] is True
