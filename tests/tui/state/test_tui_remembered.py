"""What the app knows when it is opened again: what lay on a host that is off now, and what its jobs were asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.engine.results_world import NOW, add_checkpoint, add_video, results, state_of
from support.screen.in_terminal import eventually, on_screen

from remote.hosts.host import LocalHost
from remote.jobs.client import HostJobs
from t2v_core.events import ErrorEvent
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.library.inventory import There, recall_there, remember_there
from t2v_tui.library.local import checkpoints_here, scores_here, videos_here
from t2v_tui.library.on_host import checkpoints_there, described_there, videos_there
from t2v_tui.library.views import CheckpointView, VideoView
from t2v_tui.screens.bases.library_screen import LibraryScreen
from t2v_tui.screens.videos import VideosScreen
from t2v_tui.store.state import JobKey, LinkView, Reach, State
from t2v_tui.text.event_log import line_of
from t2v_tui.workers.asked_for import spec_of
from t2v_tui.workers.services import Services

CLOSED = '[host.vm]\naddress = "127.0.0.1"\nport = 1\n'  # nobody listens there


def inventory_of(there: Path) -> There:
    workspace = Workspace(there)
    with HostJobs(LocalHost(workspace), workspace) as jobs:
        videos = tuple(described_there(jobs, video) for video in videos_there(jobs))
        return There("vm", checkpoints_there(jobs), videos, is_read=True, seen_t=NOW - 10_800)


def test_what_a_host_has_is_remembered_whole(tmp_path: Path) -> None:
    results(tmp_path / "there")
    here, there = Workspace(tmp_path / "here"), inventory_of(tmp_path / "there")
    remember_there(here, there)
    recalled = recall_there(here, "vm")
    assert recalled == there
    assert recalled.seen_t == NOW - 10_800
    assert any(video.prompt for video in recalled.videos)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"seen_t": 1}', b'{"seen_t":1,"checkpoints":[{}],"videos":[]}']
)
def test_a_damaged_memory_of_a_host_is_forgotten(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / ".t2v/tui/there/vm.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    assert recall_there(Workspace(tmp_path), "vm") == There("vm")


@on_screen
async def test_opened_again_with_its_host_away_the_lists_are_there_with_their_age(tmp_path: Path) -> None:
    results(tmp_path / "there")
    here = tmp_path / "here"
    here.mkdir()
    (here / "t2v.toml").write_text(CLOSED)
    workspace = Workspace(here)
    remember_there(workspace, inventory_of(tmp_path / "there"))
    state = state_of(workspace, reach=Reach.LOST)
    lost = replace(state.hosts["vm"], link=LinkView(Reach.LOST, NOW - 60, NOW - 10_800, None, "no answer"))
    state = replace(state, hosts={**state.hosts, "vm": lost})
    services = Services(workspace)
    app = CockpitApp(workspace, services=services, state=state, now=lambda: NOW, first="videos")
    app.listening.close()  # the state is given
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: isinstance(app.screen, VideosScreen) and len(app.screen.videos) == 5)
        screen = app.screen
        assert isinstance(screen, LibraryScreen)
        assert screen.known_there().seen_t == NOW - 10_800
        assert "as of 3 h ago" in screen.about_there(NOW, 200)
    services.close()


def test_a_queue_names_its_jobs_with_their_host_away(tmp_path: Path) -> None:
    (tmp_path / "t2v.toml").write_text(CLOSED)
    workspace, job = Workspace(tmp_path), JobKey("vm", "20261125-021501-generate-3f2a")
    there = Workspace(tmp_path / "there")
    spec = there.jobs / job.job / "spec.json"
    spec.parent.mkdir(parents=True)
    spec.write_text('{"prompt": "a red circle", "seed": 7}')
    services = Services(workspace)
    services._open["vm"] = HostJobs(LocalHost(there), there)
    assert spec_of(services, job)["prompt"] == "a red circle"
    services.close()
    assert spec_of(Services(workspace), job)["seed"] == 7


def made_anew(root: Path) -> None:
    root.mkdir()


def a_file(root: Path) -> None:
    root.write_text("a file")


@pytest.mark.parametrize("put", [made_anew, a_file, lambda _: None], ids=["another folder", "a file", "nothing"])
@on_screen
async def test_whatever_stands_in_the_place_of_a_deleted_workspace_is_not_it(
    tmp_path: Path, put: Callable[[Path], object]
) -> None:
    root = tmp_path / "mine"
    root.mkdir()
    app = CockpitApp(Workspace(root), services=None, state=State(root), first="train")
    async with app.run_test(size=(120, 40)):
        assert not app.guard.find_gone()
        shutil.rmtree(root)
        put(root)
        app.guard.find_gone()
        assert app.guard.is_gone
        assert not app.guard.may_change()


@on_screen
async def test_a_workspace_that_is_deleted_under_the_app_is_said_to_be_gone_and_not_made_again(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    results(root)
    workspace = Workspace(root)
    services = Services(workspace)
    app = CockpitApp(workspace, services=services, first="train")
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: app.state.chosen.link.reach is Reach.UP)
        shutil.rmtree(root)
        await eventually(pilot, lambda: any("no longer there" in one.title for one in app._notifications))
        app.remember()
        await pilot.press("t")
        await pilot.press("4")
        await eventually(pilot, lambda: app.current_mode == "generate")
        await pilot.press(*"red", "enter")
        await pilot.pause()
        assert app.state.launch is None
        assert not root.exists()
    services.close()


@on_screen
async def test_the_newest_video_is_under_the_cursor_until_it_is_moved(tmp_path: Path) -> None:
    workspace = results(tmp_path)
    app = CockpitApp(workspace, services=None, state=state_of(workspace, host="local"), now=lambda: NOW, first="videos")
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: isinstance(app.screen, VideosScreen) and len(app.screen.videos) == 5)
        screen = app.screen
        assert isinstance(screen, VideosScreen)
        add_video(tmp_path, "newest.mp4", "a red square, again", age_s=1)
        screen.read_anew()
        await eventually(pilot, lambda: screen.table.chosen == "outputs/newest.mp4")
        await pilot.press("j")
        await eventually(pilot, lambda: screen.table.chosen == "outputs/refined.mp4")
        add_video(tmp_path, "newer.mp4", "a red square, again", age_s=0)
        screen.read_anew()
        await eventually(pilot, lambda: len(screen.videos) == 7)
        assert screen.table.chosen == "outputs/refined.mp4"


def test_what_has_not_changed_is_not_opened_again_and_what_has_is(tmp_path: Path) -> None:
    workspace = results(tmp_path)

    def read() -> tuple[list[CheckpointView], list[VideoView]]:
        return checkpoints_here(workspace), videos_here(workspace)

    before = read()
    assert all(
        one is other for old, new in zip(before, read(), strict=True) for one, other in zip(old, new, strict=True)
    )
    video = next(one for one in before[1] if one.path.endswith("refined.mp4"))
    beside = (tmp_path / video.path).with_suffix(".json")
    beside.write_text(beside.read_text().replace("sharper", "softer"))
    add_checkpoint(tmp_path, 25, loss=0.1)
    (tmp_path / "checkpoints/checkpoint_epoch_5/trainer.json").write_text('{"step": 1}')
    (tmp_path / "checkpoints/checkpoint_epoch_10/ema.safetensors").unlink()
    checkpoints, videos = ({one.path: one for one in part} for part in read())
    assert "softer" in videos[video.path].prompt
    assert checkpoints["checkpoints/checkpoint_epoch_25"].loss == 0.1
    assert checkpoints["checkpoints/checkpoint_epoch_5"].step == 1
    assert not checkpoints["checkpoints/checkpoint_epoch_10"].is_complete
    assert scores_here(workspace)


@pytest.mark.parametrize(("code", "is_fault"), [(4, False), (130, False), (1, True), (2, True)])
def test_a_stop_that_was_asked_for_is_no_error_in_the_log(code: int, is_fault: bool) -> None:
    line = line_of(ErrorEvent("stopped on request", "--resume", code, t=1.0))
    assert ("ERROR" in line) is is_fault
    assert "stopped on request" in line
