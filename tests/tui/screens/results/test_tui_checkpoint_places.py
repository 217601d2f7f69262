"""Checkpoints of a run with a folder of its own are its checkpoints, and what made a video is asked for where it is."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.engine.results_world import NOW, add_checkpoint, add_video, results, state_of, with_job
from support.hosts.far_host import far_host
from support.hosts.far_services import FarServices
from support.screen.in_terminal import eventually, on_screen

from remote.hosts.host import LocalHost
from remote.jobs.client import HostJobs
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.library.inventory import There
from t2v_tui.library.local import checkpoints_here, videos_here
from t2v_tui.library.on_host import checkpoints_there
from t2v_tui.library.trash import bring_back, deleted, put_away
from t2v_tui.library.views import checkpoint_asked, shown_name
from t2v_tui.messages import GoTo
from t2v_tui.screens.bases.library_screen import LibraryScreen
from t2v_tui.screens.bases.sampling_screen import SamplingScreen
from t2v_tui.screens.checkpoints import CheckpointsScreen
from t2v_tui.screens.videos import VideosScreen
from t2v_tui.widgets.entries import Choice

RUN = "20261125-1309"


def with_own_folder(root: Path) -> Workspace:
    """One run in `checkpoints/` itself, and one that was begun anew beside it."""
    for epoch in (3, 36):
        add_checkpoint(root, epoch, loss=0.4)
    folder = root / "checkpoints" / RUN
    folder.mkdir()
    shutil.move(root / "checkpoints/checkpoint_epoch_3", folder / "checkpoint_epoch_3")
    return Workspace(root)


def test_both_places_list_the_checkpoints_in_the_folder_of_a_run_and_not_the_folder(tmp_path: Path) -> None:
    workspace = with_own_folder(tmp_path)
    here = checkpoints_here(workspace)
    assert [(view.name, view.step, view.is_complete) for view in here] == [
        (f"{RUN}/checkpoint_epoch_3", 3 * 540, True), ("checkpoint_epoch_36", 36 * 540, True),
    ]  # fmt: skip
    with HostJobs(LocalHost(workspace), workspace) as jobs:
        there = checkpoints_there(jobs)
    assert sorted((view.path, view.step, view.files) for view in there) == sorted(
        (view.path, view.step, view.files) for view in here
    )


def test_an_empty_or_torn_folder_is_still_one_that_can_be_removed(tmp_path: Path) -> None:
    workspace = with_own_folder(tmp_path)
    (workspace.checkpoints / "left-over").mkdir()
    views = {view.name: view for view in checkpoints_here(workspace)}
    assert not views["left-over"].is_complete
    with HostJobs(LocalHost(workspace), workspace) as jobs:
        assert {view.name for view in checkpoints_there(jobs)} == set(views)


def test_one_of_them_is_deleted_and_brought_back_alone(tmp_path: Path) -> None:
    workspace = with_own_folder(tmp_path)
    put_away(workspace, [f"checkpoints/{RUN}/checkpoint_epoch_3"], NOW)
    assert [view.name for view in checkpoints_here(workspace)] == [RUN, "checkpoint_epoch_36"]
    (one,) = deleted(workspace)
    bring_back(workspace, one)
    assert f"{RUN}/checkpoint_epoch_3" in {view.name for view in checkpoints_here(workspace)}


def test_its_name_is_short_and_it_is_asked_for_with_its_folder() -> None:
    assert shown_name(f"{RUN}/checkpoint_epoch_36") == "1309/ep 36"
    assert shown_name(f"{RUN}/checkpoint_step_132") == "1309/st 132"
    assert checkpoint_asked(f"/far/checkpoints/{RUN}/checkpoint_epoch_3") == f"checkpoints/{RUN}/checkpoint_epoch_3"
    assert checkpoint_asked("/a/checkpoints/checkpoints/checkpoint_epoch_3") == "checkpoints/checkpoint_epoch_3"


def app_of(folder: Path, screen: str) -> CockpitApp:
    state = state_of(Workspace(folder))
    return CockpitApp(Workspace(folder), services=None, state=state, now=lambda: NOW, first=screen)


def said(app: CockpitApp) -> str:
    return "\n".join(f"{one.title}\n{one.message}" for one in app._notifications)


@on_screen
async def test_a_video_whose_checkpoint_is_not_here_is_refined_with_one_that_is(tmp_path: Path) -> None:
    results(tmp_path)
    app = app_of(tmp_path, "vid2vid")
    async with app.run_test(size=(120, 40)) as pilot:
        gone = {"input": "outputs/refined.mp4", "is_here": True, "checkpoint": "/vm/checkpoints/checkpoint_epoch_99"}
        app.post_message(GoTo("vid2vid", gone))
        await eventually(pilot, lambda: "epoch 99 is not on local: the latest one there" in said(app))
        assert isinstance(app.screen, SamplingScreen)
        assert app.screen.form.values.get("checkpoint") is None
        kept = {**gone, "checkpoint": "/vm/checkpoints/checkpoint_epoch_15"}
        app.post_message(GoTo("vid2vid", kept))
        screen = app.screen
        await eventually(pilot, lambda: screen.form.values.get("checkpoint") == "checkpoints/checkpoint_epoch_15")


@on_screen
async def test_without_any_checkpoint_here_the_shipped_one_refines(tmp_path: Path) -> None:
    add_video(tmp_path, "one.mp4", "a red square", epoch=15)
    app = app_of(tmp_path, "vid2vid")
    async with app.run_test(size=(120, 40)) as pilot:
        video = {"input": "outputs/one.mp4", "checkpoint": "checkpoints/checkpoint_epoch_15"}
        app.post_message(GoTo("vid2vid", video))
        await eventually(pilot, lambda: "the shipped model is used instead" in said(app))
        assert isinstance(app.screen, SamplingScreen)
        assert app.screen.form.values["checkpoint"] == "embedded"


@on_screen
async def test_a_checkpoint_that_lies_on_the_host_only_is_used_there(tmp_path: Path) -> None:
    far = tmp_path / "far"
    add_checkpoint(far, 36, loss=0.1)
    app = app_of(tmp_path / "near", "generate")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, SamplingScreen)
        there = There("vm", checkpoints_here(Workspace(far)), videos_here(Workspace(far)), is_read=True)
        screen.post_message(LibraryScreen.ThereRead(there))
        await pilot.pause()
        screen.query_one("#host", Choice).choose("local")
        app.post_message(GoTo("generate", {"checkpoint": "checkpoints/checkpoint_epoch_36"}))
        await eventually(pilot, lambda: screen.query_one("#host", Choice).value == "vm")
        assert screen.form.values["checkpoint"] == "checkpoints/checkpoint_epoch_36"


@on_screen
async def test_the_facts_of_one_in_a_folder_name_that_folder(tmp_path: Path) -> None:
    with_own_folder(tmp_path)
    app = app_of(tmp_path, "checkpoints")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = app.screen
        assert isinstance(screen, CheckpointsScreen)
        await eventually(pilot, lambda: len(screen.pairs) == 2)
        pair = next(pair for pair in screen.pairs if "/" in pair.name)
        assert screen._facts(pair).plain.startswith(f"checkpoints/{RUN}/checkpoint_epoch_3 · tiny · epoch 3\n")


@on_screen
async def test_who_waits_for_a_training_hears_that_it_may_remove_the_checkpoint(tmp_path: Path) -> None:
    add_checkpoint(tmp_path, 18, loss=0.4)
    state, _ = with_job(state_of(Workspace(tmp_path), host="local"), "train")
    app = CockpitApp(Workspace(tmp_path), services=None, state=state, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.switch_mode("generate")
        screen = app.screen
        assert isinstance(screen, SamplingScreen)
        screen.start({"prompt": "a red circle"})
        await pilot.pause()
        assert "may be gone" not in said(app)
        screen.start({"prompt": "a red circle", "checkpoint": "checkpoints/checkpoint_epoch_18"})
        await eventually(pilot, lambda: "keeps only its newest and best: epoch 18 may be gone" in said(app))


@on_screen
async def test_videos_of_a_host_are_listed_with_their_prompts(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        for epoch in (1, 2, 3):
            add_video(far.there, f"samples/checkpoint_epoch_{epoch}/0.mp4", f"a red square, {epoch}", age_s=epoch)
        services = FarServices(far.here, far)
        app = CockpitApp(far.here, services=services, first="videos")
        try:
            async with app.run_test(size=(120, 40)) as pilot:
                await eventually(pilot, lambda: "vm" in app.state.hosts)
                app.choose_host("vm")
                screen = app.screen
                assert isinstance(screen, VideosScreen)
                screen.read_anew()
                titles = [f"a red square, {epoch}" for epoch in (1, 2, 3)]
                await eventually(pilot, lambda: [video.title for video in screen.videos] == titles)
        finally:
            services.close()
