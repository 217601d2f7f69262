"""A video that waits for a training says so and until when, and can be drawn beside it or on this machine instead."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.engine.results_world import NOW, state_of, with_job
from support.hosts.agent_here import WAITS
from support.hosts.far_host import Far
from support.screen.far_app import app_with_host
from support.screen.in_terminal import eventually, on_screen
from support.screen.watched_app import Watched

import remote.launch.beside
from remote.jobs.client import HostJobs
from remote.jobs.metrics import MachineSample
from remote.replies.machine import GpuSample
from t2v_core.specs import GenerateSpec, TrainSpec
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.cli.main import main
from t2v_tui.screens.generate import GenerateScreen
from t2v_tui.store.state import JobKey, JobView, RunView, State
from t2v_tui.text.waiting import beside, free_of, waits_in_words

STEP = {"kind": "step", "step": 6000, "total": 10_000, "loss": 0.31}


def waiting(folder: Path, *, left_s: float | None = 3600.0, more: int = 0) -> tuple[State, JobView]:
    """A training on the host and a video that waits for it; as many other videos before that."""
    state, train = with_job(state_of(Workspace(folder)), "train", host="vm", needs_gpu=True, last_event=STEP)
    for _ in range(more):
        state, _ = with_job(state, "generate", "queued", host="vm", needs_gpu=True)
    state, video = with_job(state, "generate", "queued", host="vm", needs_gpu=True, place_in_queue=1 + more)
    later = replace(state.jobs[video].row, queued_t=NOW - 10)
    state = replace(state, jobs={**state.jobs, video: replace(state.jobs[video], row=later)})
    run = RunView(done=6000, total=10_000, unit="steps", rate=None if left_s is None else 4000 / left_s)
    return replace(state, runs={train: run}), state.jobs[video]


def test_it_says_what_it_waits_for_and_until_when(tmp_path: Path) -> None:
    state, video = waiting(tmp_path, more=2)
    until = time.strftime("%H:%M", time.localtime(NOW + 3600))
    assert waits_in_words(video, state, NOW).splitlines() == [
        "it waits for the training on vm: 6000 of 10000 steps, loss 0.31",
        f"about 1:00:00 to go: until {until}",
        "and then for 2 jobs before it",
    ]


def test_a_pace_that_is_not_known_is_not_made_up(tmp_path: Path) -> None:
    state, video = waiting(tmp_path, left_s=None)
    assert "how long that takes is not known yet" in waits_in_words(video, state, NOW)
    alone = replace(state, jobs={video.key: video})
    assert waits_in_words(video, alone, NOW) == ""


GPU = GpuSample(0, "A100", memory_used_mib=50_000, memory_total_mib=80_000)
MACHINE = MachineSample((GPU,), "", 5.0, 64 * 10**9, 32 * 10**9, 10**12)
SILENT = replace(MACHINE, gpus=(replace(GPU, memory_used_mib=None),))


@pytest.mark.parametrize(
    ("machine", "least", "fits", "words"),
    [
        (MACHINE, 20 * 10**9, True, "it takes 20.0 GB, and 31.5 GB of the GPU's 83.9 GB are free"),
        (MACHINE, 30 * 10**9, False, "it takes 30.0 GB, and only 31.5 GB"),  # what is free is never all to be had
        (MACHINE, None, None, "what it takes is not known"),
        (replace(MACHINE, gpus=()), 20 * 10**9, True, "32.0 GB of the machine's 64.0 GB are free"),
        (SILENT, 20 * 10**9, None, "what memory is free there is not known"),
        (None, 20 * 10**9, None, "what memory is free there is not known"),
    ],
)
def test_the_estimate_decides_whether_it_runs_beside(
    machine: MachineSample | None, least: int | None, fits: bool | None, words: str
) -> None:
    found = beside(free_of(machine), least)
    assert found.fits is fits
    assert words in found.words


@dataclass
class Both:
    """A training that goes on until it is told to end, and a video behind it."""

    far: Far
    jobs: HostJobs
    train: JobKey
    video: JobKey


@pytest.fixture
def both(far: Far) -> Iterator[Both]:
    with far.jobs() as jobs:
        train = jobs.submit("train", TrainSpec(), argv=[sys.executable, "-c", WAITS, "0"]).job
        program = [sys.executable, "-c", "print(1)"]
        video = jobs.submit(
            "generate", GenerateSpec(prompt="a red square", checkpoint=Path("embedded")), argv=program
        ).job
        yield Both(far, jobs, JobKey("vm", train), JobKey("vm", video))
        far.go()
        far.end_of(jobs, train)


@on_screen
async def test_where_the_estimate_says_that_it_fits_the_video_is_drawn_while_the_training_goes_on(both: Both) -> None:
    video, jobs = both.video, both.jobs
    async with app_with_host(both.far, "generate", CockpitApp, works_there=False) as (pilot, app):
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        await eventually(pilot, lambda: video in app.state.jobs)
        screen.watch_job(video)
        await eventually(pilot, lambda: "it waits for the training on vm" in screen.result._sentence)
        assert "b   runs it beside that" in screen.result._sentence
        await pilot.press("escape", "b")
        await eventually(pilot, lambda: app.state.jobs[video].row.state == "succeeded")
        assert jobs.row(both.train.job).state == "running"


def test_from_a_shell_what_does_not_fit_is_begun_only_when_that_is_said(
    both: Both, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(both.far.config))
    monkeypatch.setattr(remote.launch.beside, "least_bytes", lambda *_: 10**15)
    asked = ["--workspace", str(both.far.here.root), "ask", "beside", both.video.job, "--host", "vm"]
    assert main(asked) == 2
    said = capsys.readouterr().err
    assert "it takes 1.0 PB, and only" in said
    assert "--anyway" in said
    assert both.jobs.row(both.video.job).state == "queued"
    assert main([*asked, "--anyway"]) == 0
    assert both.far.end_of(both.jobs, both.video.job)
    assert main(asked) == 2
    assert "waits for no turn: it is succeeded" in capsys.readouterr().err


@on_screen
async def test_on_this_machine_instead_ends_what_waits_there_only_once_it_has_begun_here(both: Both) -> None:
    video, jobs = both.video, both.jobs
    async with app_with_host(both.far, "generate", Watched, works_there=False) as (pilot, app):
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        await eventually(pilot, lambda: video in app.state.jobs)
        screen.watch_job(video)
        await eventually(pilot, lambda: bool(screen.drawing.specs.get(video)))
        await pilot.press("escape", "H")
        await eventually(pilot, lambda: len(app.asked) == 1)
        assert (app.asked[0].verb, app.asked[0].host) == ("generate", "local")
        assert app.asked[0].values["prompt"] == "a red square"
        assert jobs.row(video.job).state == "queued"
        screen.has_started(JobKey("local", "20251124-160000-generate-0000"))
        await eventually(pilot, lambda: app.state.jobs[video].row.state == "stopped")
        assert jobs.row(both.train.job).state == "running"


@on_screen
async def test_what_this_machine_lacks_is_said_and_the_video_goes_on_waiting(tmp_path: Path) -> None:
    state, video = waiting(tmp_path)
    app = Watched(Workspace(tmp_path), services=None, state=state, now=lambda: NOW, first="generate")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        screen.drawing.specs[video.key] = {"prompt": "x", "checkpoint": "checkpoints/checkpoint_epoch_9"}
        screen.watch_job(video.key)
        await pilot.press("escape", "H")
        said = "checkpoints/checkpoint_epoch_9 is not on this machine"
        await eventually(pilot, lambda: any(said in str(one.title) for one in app._notifications))
        assert not app.asked
