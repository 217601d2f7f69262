"""Samples of a training on another machine come here while it is watched, over real SSH, and only when they may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.engine.results_world import add_video
from support.hosts.far_host import Far, far_host
from support.hosts.far_services import FarServices
from support.screen.in_terminal import eventually, on_screen

from remote.transfer.turn import Turn
from t2v_core.specs import TrainSpec
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.settings import Tui, read_tui
from t2v_tui.widgets.transfers import Transfers
from t2v_tui.widgets.video.last_sample import LastSample

# Tells of the samples that lie in its workspace as soon as a file says that they do, until `go` is there.
SAMPLES = """
import json, os, pathlib, sys, time
job, told = pathlib.Path("jobs") / os.environ["T2V_JOB"], set()
print("at work", flush=True)
while not pathlib.Path("go").exists():
    for tell in sorted(pathlib.Path(".").glob("tell-*")):
        if tell.name not in told:
            told.add(tell.name)
            epoch = int(tell.name[5:])
            event = {"t": time.time(), "kind": "sample", "step": epoch * 540, "prompt": "a [red] square",
                     "video": f"outputs/samples/checkpoint_epoch_{epoch}/0.mp4"}
            with (job / "events.jsonl").open("a") as events:
                events.write(json.dumps(event) + "\\n")
    time.sleep(0.02)
"""


def make_sample(far: Far, epoch: int) -> Path:
    """As training does: the file first, then the word."""
    video = add_video(far.there, f"samples/checkpoint_epoch_{epoch}/0.mp4", "a red square", seed=epoch, epoch=epoch)
    (far.there / f"tell-{epoch}").touch()
    return video


@contextmanager
def watched(folder: Path, **settings: bool) -> Iterator[tuple[Far, CockpitApp]]:
    """A training on the far host, and an app that shows it."""
    with far_host(folder) as far:
        far.write_settings()
        chosen = Tui()
        for name, value in settings.items():
            setattr(chosen, name, value)
        with far.jobs() as jobs:
            jobs.submit("train", TrainSpec(device="cpu"), argv=["python3", "-c", SAMPLES])
        services = FarServices(far.here, far)
        try:
            yield far, CockpitApp(far.here, services=services, settings=chosen, first="train")
        finally:
            far.go()
            services.close()


def shown(app: CockpitApp) -> Path | None:
    return app.screen.query_one(LastSample).player.path


def says(app: CockpitApp) -> str:
    return str(app.screen.query_one(Transfers).render())


@on_screen
async def test_the_newest_sample_comes_by_itself_and_plays_and_so_does_the_next(tmp_path: Path) -> None:
    with watched(tmp_path) as (far, app):
        async with app.run_test(size=(120, 40)) as pilot:
            for epoch in (5, 10):
                there = make_sample(far, epoch)
                here = far.here.root / there.relative_to(far.there)
                await eventually(pilot, lambda here=here: shown(app) == here)
                assert here.read_bytes() == there.read_bytes()
                assert here.with_suffix(".json").exists()
                pane = app.screen.query_one(LastSample)
                await eventually(pilot, lambda pane=pane: pane.player.film is not None)
                assert pane.player.is_playing
                assert pane.border_subtitle == r"a \[red] square"
            assert says(app).count("↓") == 1
            assert "sample 5,400" in says(app)


@on_screen
async def test_a_sample_of_an_earlier_training_under_the_same_name_is_not_shown_as_the_new_one(tmp_path: Path) -> None:
    with watched(tmp_path) as (far, app):
        async with app.run_test(size=(120, 40)) as pilot:
            there = make_sample(far, 5)
            here = far.here.root / there.relative_to(far.there)
            await eventually(pilot, lambda: shown(app) == here)
            add_video(far.there, "samples/checkpoint_epoch_5/0.mp4", "a blue square", epoch=5)
            (far.there / "tell-5").rename(far.there / "tell-05")  # said once more, as by a run that began anew
        again = CockpitApp(far.here, services=app.services, first="train")
        async with again.run_test(size=(120, 40)) as pilot:
            await eventually(pilot, lambda: shown(again) == here)
            assert here.read_bytes() == there.read_bytes()


@on_screen
async def test_nothing_comes_beside_another_transfer_and_nothing_is_said_of_it(tmp_path: Path) -> None:
    with watched(tmp_path) as (far, app):
        turn = Turn(far.here, "t2v pull of everything")
        assert turn.take() == ""
        async with app.run_test(size=(120, 40)) as pilot:
            there = make_sample(far, 5)
            pane = app.screen.query_one(LastSample)
            await eventually(pilot, lambda: "3 pulls it" in str(pane.player.said.render()))
            assert not (far.here.root / there.relative_to(far.there)).exists()
            assert not app.state.transfers
            assert not app._notifications
            turn.give()


@on_screen
async def test_switched_off_it_says_how_to_bring_it(tmp_path: Path) -> None:
    with watched(tmp_path, samples_home=False) as (far, app):
        async with app.run_test(size=(120, 40)) as pilot:
            make_sample(far, 5)
            pane = app.screen.query_one(LastSample)
            await eventually(pilot, lambda: "is on vm; 3 pulls it" in str(pane.player.said.render()))
            assert not app.state.transfers


def test_it_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / "t2v.toml").write_text("[tui]\nsamples_home = false\n")
    assert not read_tui(Workspace(tmp_path)).samples_home
    assert read_tui(Workspace(tmp_path / "none")).samples_home
