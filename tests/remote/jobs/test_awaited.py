"""A training that waits for its data shows the job that makes them: its log and how far it is. On a real agent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from support.engine.results_world import NOW, state_of, with_job
from support.screen.in_terminal import eventually, on_screen

from t2v_core.specs import ShapesSpec, TrainSpec
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.screens.train import TrainScreen
from t2v_tui.store.events import LaunchBegun
from t2v_tui.store.state import JobKey, LaunchPhase, LaunchView
from t2v_tui.text.dependency import at_work_for
from t2v_tui.widgets.launch_panel import text_of
from t2v_tui.widgets.log.view import LogView
from t2v_tui.workers.services import Services

# Counts clips as preprocessing does, until `go` lies in its workspace.
COUNTS = """
import json, os, pathlib, time
job = pathlib.Path("jobs") / os.environ["T2V_JOB"]
with (job / "events.jsonl").open("a") as events:
    clips = {"kind": "progress", "done": 120, "total": 2376, "unit": "clips"}
    for event in ({"kind": "stage", "name": "latents"}, clips):
        events.write(json.dumps({"t": time.time(), **event}) + "\\n")
print("at work", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.02)
"""
ENDS = ["python3", "-c", "print('trains')"]


@on_screen
async def test_while_its_data_are_made_train_shows_the_log_and_progress_of_that(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    services = Services(workspace)
    jobs = services.jobs("local")
    data = JobKey("local", jobs.submit("preprocess", ShapesSpec(), argv=["python3", "-c", COUNTS]).job)
    training = JobKey("local", jobs.submit("train", TrainSpec(device="cpu"), argv=ENDS, after=data.job).job)
    app = CockpitApp(workspace, services=services, first="train")
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await eventually(pilot, lambda: app.state.shown == training and isinstance(app.screen, TrainScreen))
            app.live.tell(
                LaunchBegun(LaunchView("train", "local", LaunchPhase.WORKING, app.now(), "train", job=training))
            )
            log = app.screen.query_one(LogView)
            await eventually(pilot, lambda: data.job in str(log.border_title))
            assert "which the training waits for" in str(log.border_title)

            def panel() -> str:
                launch = app.state.launch
                return str(text_of(app.state, launch, 100)) if launch else ""

            await eventually(pilot, lambda: "preprocess: latents 120 of 2,376 clips" in panel())
            (tmp_path / "go").touch()
            await eventually(pilot, lambda: training.job in str(log.border_title))
            assert "waits for" not in str(log.border_title)
            await eventually(pilot, lambda: app.state.jobs[training].row.state == "succeeded")
    finally:
        (tmp_path / "go").touch()
        services.close()


def test_of_several_that_wait_for_one_another_it_is_the_one_at_work(tmp_path: Path) -> None:
    state, shapes = with_job(state_of(Workspace(tmp_path)), "shapes", "running")
    state, preprocess = with_job(state, "preprocess", "queued", after=shapes.job)
    state, train = with_job(state, "train", "queued", after=preprocess.job)
    assert at_work_for(state, train) == shapes
    ended = replace(state.jobs[shapes], row=replace(state.jobs[shapes].row, state="succeeded", ended_t=NOW))
    assert at_work_for(replace(state, jobs={**state.jobs, shapes: ended}), train) == preprocess
    assert at_work_for(state, shapes) == shapes
    assert at_work_for(state, JobKey("vm", "unknown")) == JobKey("vm", "unknown")
