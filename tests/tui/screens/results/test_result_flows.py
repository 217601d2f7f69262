"""What is done from the screens of results, on real workspaces: removed, pulled, asked for, watched, refined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.engine.results_world import NOW, add_checkpoint, add_video, results, state_of
from support.engine.small_data_sets import add_data_set
from support.hosts.far_host import far_host
from support.hosts.far_services import FarServices
from support.screen.in_terminal import eventually, on_screen
from support.screen.watched_app import Watched
from textual.pilot import Pilot
from textual.widgets import Button, Input

from t2v_core.disk.files import incompleteness
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.library.prompts import read_prompts
from t2v_tui.screens.checkpoints import CheckpointsScreen
from t2v_tui.screens.data import DataScreen
from t2v_tui.screens.generate import GenerateScreen
from t2v_tui.screens.panels.dialogs import Confirm
from t2v_tui.screens.vid2vid import Vid2VidScreen
from t2v_tui.screens.videos import VideosScreen
from t2v_tui.widgets.entries import Choice, PromptInput
from t2v_tui.workers.services import Services

# Removing


@on_screen
async def test_a_checkpoint_goes_only_after_another_key_than_the_one_that_asked(tmp_path: Path) -> None:
    workspace = results(tmp_path)
    services = Services(workspace)
    app = CockpitApp(workspace, services=services, state=state_of(workspace, host="local"), now=lambda: NOW)
    app._first_screen = "checkpoints"
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await eventually(pilot, lambda: isinstance(app.screen, CheckpointsScreen) and len(app.screen.pairs) == 4)
            await pilot.press("j", "D")
            await eventually(pilot, lambda: isinstance(app.screen, Confirm))
            assert isinstance(app.screen, Confirm)
            assert "ONLY COPY" in app.screen.question.lines[1]
            assert "Z brings it back within 24 h; its 121 kB is freed after that" in app.screen.question.lines[2]
            assert app.screen.query_one("#cancel", Button).has_focus
            await pilot.press("D", "enter")
            await eventually(pilot, lambda: isinstance(app.screen, CheckpointsScreen))
            assert (workspace.checkpoints / "checkpoint_epoch_15").is_dir()
            await pilot.press("D")
            await eventually(pilot, lambda: isinstance(app.screen, Confirm))
            await pilot.press("y")
            await eventually(pilot, lambda: not (workspace.checkpoints / "checkpoint_epoch_15").exists())
            await eventually(pilot, lambda: isinstance(app.screen, CheckpointsScreen) and len(app.screen.pairs) == 3)
            await pilot.press("Z")
            await eventually(pilot, lambda: isinstance(app.screen, CheckpointsScreen) and len(app.screen.pairs) == 4)
            assert incompleteness(workspace.checkpoints / "checkpoint_epoch_15") is None
    finally:
        services.close()


# Pulling


@on_screen
async def test_a_checkpoint_of_the_host_is_pulled_whole_and_then_both_are_the_same(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        add_checkpoint(far.there, 25, loss=0.0954, size=3_000_000)
        add_video(far.there, "a-red-square-7.mp4", "a red square", seed=7)
        services = FarServices(far.here, far)
        app = CockpitApp(far.here, services=services, first="checkpoints")
        try:
            async with app.run_test(size=(120, 40)) as pilot:
                await eventually(pilot, lambda: "vm" in app.state.hosts)
                app.choose_host("vm")
                screen = app.screen
                assert isinstance(screen, CheckpointsScreen)
                screen.read_anew()
                await eventually(pilot, lambda: [pair.name for pair in screen.pairs] == ["checkpoint_epoch_25"])
                assert screen.pairs[0].is_only_copy(here=False)
                await pilot.press("p")
                await eventually(pilot, lambda: bool(screen.pairs) and screen.pairs[0].is_same)
                await eventually(pilot, lambda: any(one.state == "done" for one in app.state.transfers))
                await pilot.press("3")
                await eventually(pilot, lambda: isinstance(app.screen, VideosScreen) and bool(app.screen.videos))
                videos = app.screen
                assert isinstance(videos, VideosScreen)
                await eventually(pilot, lambda: videos.videos[0].prompt == "a red square")
                await pilot.press("p")
                await eventually(pilot, lambda: videos.videos[0].is_here and bool(videos.player.film))
        finally:
            services.close()


@pytest.mark.slow
@on_screen
async def test_a_video_that_a_host_has_drawn_comes_here_by_itself_and_plays(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        services = FarServices(far.here, far)
        app = CockpitApp(far.here, services=services, first="generate")
        try:
            async with app.run_test(size=(120, 40)) as pilot:
                await eventually(pilot, lambda: "vm" in app.state.hosts)
                app.choose_host("vm")
                screen = app.screen
                assert isinstance(screen, GenerateScreen)
                screen.show(app.state, app.now())
                screen.query_one("#host", Choice).choose("vm")
                screen.query_one("#in-checkpoint", Choice).choose("embedded")
                screen.query_one("#in-steps", Input).value = "4"
                await pilot.press(*"a red circle moving left", "enter")
                await eventually(pilot, lambda: screen.result.path is not None and screen.result.film is not None)
                assert screen.result.path == far.here.root / "outputs" / "a-red-circle-moving-left-0.mp4"
                assert screen.result.is_playing
                assert (far.there / "outputs" / "a-red-circle-moving-left-0.mp4").is_file()
                said = json.loads(screen.result.path.with_suffix(".json").read_text())
                assert said["spec"]["steps"] == 4
        finally:
            services.close()


# Asking


def start_keys(pilot: Pilot[Any]) -> PromptInput:
    screen = pilot.app.screen
    assert isinstance(screen, GenerateScreen | Vid2VidScreen)
    return screen.prompt


@on_screen
async def test_a_prompt_and_settings_become_what_the_engine_is_asked(tmp_path: Path) -> None:
    app = Watched(results(tmp_path), services=None, state=state_of(Workspace(tmp_path), host="local"), first="generate")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        await eventually(pilot, lambda: screen.here.is_read)
        screen.query_one("#in-steps", Input).value = "30"
        screen.query_one("#in-checkpoint", Choice).choose("checkpoints/checkpoint_epoch_15")
        await pilot.press(*"a red square", "enter")
        await eventually(pilot, lambda: bool(app.asked))
        assert (app.asked[0].verb, app.asked[0].host) == ("generate", "local")
        assert app.asked[0].values == {
            "prompt": "a red square", "steps": "30", "checkpoint": "checkpoints/checkpoint_epoch_15", "preview": True,
        }  # fmt: skip
        assert read_prompts(app.workspace) == ["a red square"]
        screen.prompt.value = ""
        await pilot.press("up")
        assert screen.prompt.value == "a red square"


@on_screen
async def test_a_setting_that_cannot_be_is_said_where_it_stands_and_nothing_starts(tmp_path: Path) -> None:
    app = Watched(
        Workspace(tmp_path), services=None, state=state_of(Workspace(tmp_path), host="local"), first="generate"
    )
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        await pilot.press(*"a red square")
        steps = screen.query_one("#in-steps", Input)
        steps.focus()
        await pilot.press(*"2000")
        await eventually(pilot, lambda: steps.has_class("-invalid"))
        assert "less than or equal to 1000" in str(screen.query_one("#about").render())
        await pilot.press("ctrl+g")
        await pilot.pause()
        assert not app.asked


@on_screen
async def test_a_video_is_made_again_with_another_seed_and_its_own_settings(tmp_path: Path) -> None:
    app = Watched(results(tmp_path), services=None, state=state_of(Workspace(tmp_path), host="local"), first="videos")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, VideosScreen)
        await eventually(pilot, lambda: len(screen.videos) == 5)
        await pilot.press("j", "a")
        await eventually(pilot, lambda: bool(app.asked))
        values = dict(app.asked[0].values)
        assert values.pop("seed") != 3
        assert values == {
            "prompt": "a blue circle growing", "steps": 20, "guidance_scale": 2.0,
            "checkpoint": "checkpoints/checkpoint_epoch_10",
        }  # fmt: skip


@on_screen
async def test_refine_goes_from_a_video_to_a_new_file_beside_it(tmp_path: Path) -> None:
    app = Watched(results(tmp_path), services=None, state=state_of(Workspace(tmp_path), host="local"), first="videos")
    async with app.run_test(size=(120, 40)) as pilot:
        videos = app.screen
        assert isinstance(videos, VideosScreen)
        await eventually(pilot, lambda: len(videos.videos) == 5)
        await pilot.press("j", "j", "r")
        await eventually(pilot, lambda: isinstance(app.screen, Vid2VidScreen))
        screen = app.screen
        assert isinstance(screen, Vid2VidScreen)
        await eventually(pilot, lambda: screen.before.film is not None and screen.here.is_read)
        await pilot.press("enter")
        await eventually(pilot, lambda: bool(app.asked))
        assert app.asked[0].verb == "refine"
        assert app.asked[0].values["input"] == "outputs/a-red-square-moving-right-7.mp4"
        assert app.asked[0].values["output"] == "outputs/a-red-square-moving-right-7-refined.mp4"
        assert app.asked[0].values["prompt"] == "a red square moving right"


# Data


@on_screen
async def test_the_built_in_world_is_prepared_for_the_models_that_are_shipped(tmp_path: Path) -> None:
    add_data_set(tmp_path, "clips", has_captions=False)
    add_data_set(tmp_path, "shapes", is_world=True)
    app = Watched(Workspace(tmp_path), services=None, state=state_of(Workspace(tmp_path), host="local"), first="data")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, DataScreen)
        await eventually(pilot, lambda: screen.chosen is not None)
        await pilot.press("p", "b")  # no captions; and the world is there already
        await pilot.press("c", "j", "p")
        await eventually(pilot, lambda: len(app.asked) == 2)
        assert [(one.verb, one.values) for one in app.asked] == [
            ("check", {"data": "data/clips"}),
            (
                "preprocess",
                {"data": "data/shapes", "vae": "embedded", "text_encoder": "embedded", "frames": 8, "size": 64},
            ),
        ]


@on_screen
async def test_a_prompt_with_brackets_is_text_and_no_markup(tmp_path: Path) -> None:
    add_checkpoint(tmp_path, 15, loss=0.1)
    add_video(tmp_path, "odd.mp4", "[/] a [red] square [link='x']", epoch=15)
    app = Watched(
        Workspace(tmp_path), services=None, state=state_of(Workspace(tmp_path), host="local"), first="checkpoints"
    )
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, CheckpointsScreen)
        await eventually(pilot, lambda: screen.player.film is not None)
        await pilot.press("3")
        await eventually(pilot, lambda: isinstance(app.screen, VideosScreen) and bool(app.screen.videos))
        await eventually(pilot, lambda: "[/] a [red] square" in str(app.screen.query_one("#facts").render()))
