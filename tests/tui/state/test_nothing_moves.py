"""`--no-animation`: videos stand still until they are played, nothing slides, no cursor blinks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.engine.results_world import NOW, results, state_of, with_job
from support.screen.in_terminal import eventually, on_screen
from textual.widgets import Input

from t2v_tui.app import CockpitApp
from t2v_tui.screens.generate import GenerateScreen
from t2v_tui.screens.train import TrainScreen
from t2v_tui.settings import Tui
from t2v_tui.store.state import RunView, Sample
from t2v_tui.widgets.video.last_sample import LastSample

VIDEO = "outputs/a-red-square-moving-right-7.mp4"


def app_of(folder: Path, verb: str, *, moves: bool) -> CockpitApp:
    """With one job of that verb, which has made a video."""
    workspace, settings = results(folder), Tui()
    settings.animation = moves
    state, key = with_job(state_of(workspace, host="local"), verb, "succeeded", ended_t=NOW)
    state = replace(state, runs={key: RunView(samples=(Sample(VIDEO, "a red square", 1),))}, shown=key)
    return CockpitApp(workspace, services=None, settings=settings, state=state, now=lambda: NOW, first=verb)


@pytest.mark.parametrize("moves", [True, False])
@on_screen
async def test_the_last_sample_plays_by_itself_only_where_things_move(tmp_path: Path, moves: bool) -> None:
    app = app_of(tmp_path, "train", moves=moves)
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: isinstance(app.screen, TrainScreen))
        player = app.screen.query_one(LastSample).player
        await eventually(pilot, lambda: player.film is not None)
        assert player.is_playing is moves
        assert app.animation_level == ("full" if moves else "none")
        player.focus()
        await pilot.press("space")
        assert player.is_playing is not moves


@pytest.mark.parametrize("moves", [True, False])
@on_screen
async def test_what_was_drawn_plays_by_itself_only_where_things_move(tmp_path: Path, moves: bool) -> None:
    app = app_of(tmp_path, "generate", moves=moves)
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: isinstance(app.screen, GenerateScreen))
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        await eventually(pilot, lambda: isinstance(app.focused, Input))
        assert isinstance(app.focused, Input)
        await pilot.pause()
        assert app.focused.cursor_blink is moves
        screen.drawing.watched = next(iter(app.state.jobs))
        screen.redraw()
        await eventually(pilot, lambda: screen.result.film is not None)
        screen.redraw()
        assert screen.result.is_playing is moves
