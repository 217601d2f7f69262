"""Checkpoints, Videos, Generate, Vid2Vid and Data as they look at two sizes: empty, at work, with a host unheard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.engine.results_world import NOW, add_checkpoint, add_video, results, state_of, with_job
from support.screen.in_terminal import on_screen
from textual.pilot import Pilot
from textual.widgets import Input

from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.library.inventory import There
from t2v_tui.library.local import checkpoints_here, videos_here
from t2v_tui.screens.bases.library_screen import LibraryScreen
from t2v_tui.screens.data import DataScreen
from t2v_tui.store.state import Reach, RunView, Sample, State
from t2v_tui.widgets.video.player import Player

SIZES = [(120, 40), (80, 24)]
SCREENS = ["checkpoints", "videos", "generate", "vid2vid", "data"]
Snapshot = Callable[..., bool]


def app_of(name: str, state: State) -> CockpitApp:
    return CockpitApp(Workspace(state.workspace), services=None, state=state, now=lambda: NOW, first=name)


async def settled(pilot: Pilot[Any]) -> None:
    """Until three looks in a row find no worker at work."""
    quiet = 0
    while quiet < 3:
        await pilot.pause(0.02)
        quiet = 0 if any(not worker.is_finished for worker in pilot.app.workers) else quiet + 1


def stand_still(*steps: Callable[[Pilot[Any]], Awaitable[None]]) -> Callable[[Pilot[Any]], Awaitable[None]]:
    """Before a picture is taken: what was read is there, videos are decoded, no cursor blinks."""

    async def run(pilot: Pilot[Any]) -> None:
        screen = pilot.app.screen
        for entry in screen.query(Input):
            entry.cursor_blink = False
        await settled(pilot)
        for step in steps:
            await step(pilot)
            await settled(pilot)
        for entry in screen.query(Input):
            entry._cursor_visible = True
        await pilot.pause(0.1)

    return run


def pressing(*keys: str) -> Callable[[Pilot[Any]], Awaitable[None]]:
    async def press(pilot: Pilot[Any]) -> None:
        await pilot.press(*keys)

    return press


def known_there(folder: Path) -> Callable[[Pilot[Any]], Awaitable[None]]:
    """What the host would say of a workspace."""

    async def tell(pilot: Pilot[Any]) -> None:
        screen = pilot.app.screen
        assert isinstance(screen, LibraryScreen)
        there = Workspace(folder)
        said = There("vm", checkpoints_here(there), videos_here(there), is_read=True)
        screen.post_message(LibraryScreen.ThereRead(said))
        await pilot.pause()

    return tell


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SCREENS)
def test_with_nothing_there_a_screen_says_how_to_begin(
    name: str, size: tuple[int, int], tmp_path: Path, snap_compare: Snapshot
) -> None:
    app = app_of(name, state_of(Workspace(tmp_path), host="local"))
    assert snap_compare(app, terminal_size=size, run_before=stand_still())


@pytest.mark.parametrize("size", SIZES)
def test_checkpoints_of_both_places_stand_side_by_side(
    size: tuple[int, int], tmp_path: Path, snap_compare: Snapshot
) -> None:
    results(tmp_path / "here")
    for epoch, loss in ((5, 0.4211), (15, 0.1187), (25, 0.0954)):
        add_checkpoint(tmp_path / "there", epoch, loss=loss, size=60_000 if epoch != 5 else 61_000)
    app = app_of("checkpoints", state_of(Workspace(tmp_path / "here")))
    before = stand_still(known_there(tmp_path / "there"), pressing("j", "j"))
    assert snap_compare(app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SCREENS)
def test_as_long_as_a_host_has_not_answered_a_screen_says_whom_it_asks(
    name: str, size: tuple[int, int], tmp_path: Path, snap_compare: Snapshot
) -> None:
    app = app_of(name, state_of(Workspace(tmp_path), reach=Reach.ASKING))
    assert snap_compare(app, terminal_size=size, run_before=stand_still())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["checkpoints", "videos", "data"])
def test_a_host_that_could_not_say_what_it_has_is_not_one_that_has_nothing(
    name: str, size: tuple[int, int], tmp_path: Path, snap_compare: Snapshot
) -> None:
    why, hint = "the workspace ~/text2video of vm cannot be read", "t2v doctor --host vm"

    async def refuse(pilot: Pilot[Any]) -> None:
        if name == "data":
            pilot.app.screen.post_message(DataScreen.ThereRead("vm", why=f"{why} → {hint}"))
        else:
            pilot.app.screen.post_message(LibraryScreen.ThereRead(There("vm", why=why, hint=hint)))

    app = app_of(name, state_of(Workspace(tmp_path)))
    assert snap_compare(app, terminal_size=size, run_before=stand_still(refuse))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SCREENS)
def test_a_host_that_is_not_heard_hides_nothing_that_is_here(
    name: str, size: tuple[int, int], tmp_path: Path, snap_compare: Snapshot
) -> None:
    state = state_of(results(tmp_path), reach=Reach.LOST)
    vm = state.hosts["vm"]
    lost = replace(vm, link=replace(vm.link, why="nothing was heard from the agent for 10 s"))
    app = app_of(name, replace(state, hosts={**state.hosts, "vm": lost}))
    assert snap_compare(app, terminal_size=size, run_before=stand_still())


@pytest.mark.parametrize("size", SIZES)
def test_videos_show_what_made_them(size: tuple[int, int], tmp_path: Path, snap_compare: Snapshot) -> None:
    results(tmp_path / "here")
    add_video(tmp_path / "there", "a-green-square-9.mp4", "a green square", age_s=50)
    app = app_of("videos", state_of(Workspace(tmp_path / "here")))
    before = stand_still(known_there(tmp_path / "there"), pressing("j", "j", "j"))
    assert snap_compare(app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
def test_videos_as_pictures(size: tuple[int, int], tmp_path: Path, snap_compare: Snapshot) -> None:
    results(tmp_path / "here")
    add_video(tmp_path / "there", "a-green-square-9.mp4", "a green square", age_s=50)
    app = app_of("videos", state_of(Workspace(tmp_path / "here")))
    before = stand_still(known_there(tmp_path / "there"), pressing("c"), pressing("right", "right", "down"))
    assert snap_compare(app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
def test_before_a_checkpoint_is_deleted_the_question_says_that_it_is_the_only_copy(
    size: tuple[int, int], tmp_path: Path, snap_compare: Snapshot
) -> None:
    app = app_of("checkpoints", state_of(results(tmp_path), host="local"))
    assert snap_compare(app, terminal_size=size, run_before=stand_still(pressing("j", "D")))


@pytest.mark.parametrize("size", SIZES)
def test_a_video_that_is_drawn_says_how_far_it_is(
    size: tuple[int, int], tmp_path: Path, snap_compare: Snapshot
) -> None:
    state, drawn = with_job(state_of(results(tmp_path), host="local"), "generate")
    state, _ = with_job(state, "generate", "queued", place_in_queue=2, needs_gpu=True)
    run = RunView(stage="sample", detail="20 euler steps", done=12, total=20, unit="steps")
    app = app_of("generate", replace(state, runs={drawn: run}))
    assert snap_compare(app, terminal_size=size, run_before=stand_still())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "verb"), [("generate", "generate"), ("vid2vid", "refine")])
def test_what_cannot_be_drawn_says_why_and_what_to_do(
    name: str, verb: str, size: tuple[int, int], tmp_path: Path, snap_compare: Snapshot
) -> None:
    why = {"reason": "there is no complete checkpoint in checkpoints", "hint": "train a model (t2v train)"}
    state, failed = with_job(state_of(results(tmp_path), host="local"), verb, "failed", code=2, ended_t=NOW - 5, **why)

    async def choose(pilot: Pilot[Any]) -> None:
        pilot.app.screen.watch_job(failed)

    assert snap_compare(app_of(name, state), terminal_size=size, run_before=stand_still(choose))


@pytest.mark.parametrize("size", SIZES)
def test_before_and_after_stand_side_by_side(size: tuple[int, int], tmp_path: Path, snap_compare: Snapshot) -> None:
    state, done = with_job(state_of(results(tmp_path), host="local"), "refine", "succeeded", code=0, ended_t=NOW - 5)
    state = replace(state, runs={done: RunView(samples=(Sample("outputs/refined.mp4", "sharper", 0),))})

    async def choose(pilot: Pilot[Any]) -> None:
        screen = pilot.app.screen
        screen.arrive({"input": "outputs/a-red-square-moving-right-7.mp4", "prompt": "a red square, sharper"})
        screen.watch_job(done)
        await settled(pilot)
        for player in screen.query(Player):
            player._stand_still()
            player.picture.turn_to(0)

    assert snap_compare(app_of("vid2vid", state), terminal_size=size, run_before=stand_still(choose))


@pytest.mark.parametrize("size", SIZES)
def test_data_that_is_prepared_says_how_far_and_what_was_set_aside(
    size: tuple[int, int], tmp_path: Path, snap_compare: Snapshot
) -> None:
    data = tmp_path / "data" / "msr-vtt"
    for folder in ("videos", "annotations"):
        (data / folder).mkdir(parents=True)
    for number in range(12):
        (data / "videos" / f"video{number}.mp4").write_bytes(b"a clip")
    (data / "annotations" / "train_9k.json").write_text("[]")
    (data / "quarantine.csv").write_text(
        "id,reason,detail,size_bytes,mtime_ns,settings\nvideo3,corrupt-frame,a frame at 1.20 s is damaged,1,1,\n"
    )
    state, job = with_job(state_of(Workspace(tmp_path), host="local"), "preprocess")
    run = RunView(
        stage="latents train", detail="9000 clips to encode", done=5400, total=9000, unit="clips", rate=60.0,
        warnings=("video3 cannot be used: a frame at 1.20 s is damaged",),
    )  # fmt: skip
    app = app_of("data", replace(state, runs={job: run}))
    assert snap_compare(app, terminal_size=size, run_before=stand_still())


@on_screen
async def test_no_size_of_the_terminal_breaks_a_screen(tmp_path: Path) -> None:
    state = state_of(results(tmp_path), host="local")
    app = app_of("checkpoints", state)
    async with app.run_test(size=(120, 40)) as pilot:
        for key, keys in (("2", ""), ("3", "c"), ("6", ""), ("5", ""), ("4", "")):
            await pilot.press("escape", key, *keys)
            for size in ((10, 3), (160, 50), (1, 1), (80, 24)):
                await pilot.resize_terminal(*size)
        await settled(pilot)
