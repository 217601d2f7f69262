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
from test_result_flows import Watched

from remote.jobs.client import HostJobs
from remote.jobs.metrics import MachineSample
from remote.replies.machine import GpuSample
from t2v_core.specs import GenerateSpec, TrainSpec
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.screens.generate import GenerateScreen
from t2v_tui.screens.panels.dialogs import Confirm
from t2v_tui.store.state import JobKey, JobView, RunView, State
from t2v_tui.text.waiting import beside, waits_in_words

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


@pytest.mark.parametrize(
    ("used", "total", "fits", "words"),
    [
        (20_000, 80_000, True, "62.9 GB of 83.9 GB are free, and the training, which draws samples too, holds 21.0 GB"),
        (50_000, 80_000, False, "only 31.5 GB of 83.9 GB are free, less than the 52.4 GB"),
        (None, 80_000, None, "no GPU memory of vm is known"),
    ],
)
def test_whether_it_fits_beside_is_told_by_what_the_training_holds(
    used: float | None, total: float, fits: bool | None, words: str, tmp_path: Path
) -> None:
    state, video = waiting(tmp_path)
    gpu = GpuSample(0, "A100", memory_used_mib=used, memory_total_mib=total)
    vm = replace(state.hosts["vm"], machine=MachineSample((gpu,), "", 5.0, None, None, 10**12))
    found = beside(video, replace(state, hosts={**state.hosts, "vm": vm}), is_open_model=False)
    assert found.fits is fits
    assert words in found.words


def test_of_an_open_model_the_training_s_memory_says_nothing(tmp_path: Path) -> None:
    state, video = waiting(tmp_path)
    gpu = GpuSample(0, "A100", memory_used_mib=1000, memory_total_mib=80_000)
    vm = replace(state.hosts["vm"], machine=MachineSample((gpu,), "", 5.0, None, None, 10**12))
    found = beside(video, replace(state, hosts={**state.hosts, "vm": vm}), is_open_model=True)
    assert found.fits is None
    assert "t2v estimate --model" in found.words


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
        video = jobs.submit("generate", GenerateSpec(prompt="a red square"), argv=program).job
        yield Both(far, jobs, JobKey("vm", train), JobKey("vm", video))
        far.go()
        far.end_of(jobs, train)


@on_screen
async def test_after_a_yes_the_video_is_drawn_while_the_training_goes_on(both: Both) -> None:
    video, jobs = both.video, both.jobs
    async with app_with_host(both.far, "generate", CockpitApp, works_there=False) as (pilot, app):
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        await eventually(pilot, lambda: video in app.state.jobs)
        screen.watch_job(video)
        await eventually(pilot, lambda: "it waits for the training on vm" in screen.result._sentence)
        assert "b   runs it beside that" in screen.result._sentence
        await pilot.press("escape", "b")
        await eventually(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await eventually(pilot, lambda: app.state.jobs[video].row.state == "succeeded")
        assert jobs.row(both.train.job).state == "running"


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
