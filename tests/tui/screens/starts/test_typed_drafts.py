"""While a prompt is typed Generate shows a draft of it, by the shipped fast model in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.engine.results_world import NOW, state_of
from support.screen.in_terminal import eventually, on_screen
from textual.pilot import Pilot

import t2v_tui.screens.generate
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.screens.generate import GenerateScreen
from t2v_tui.settings import Tui
from t2v_tui.widgets.entries import Choice
from t2v_tui.widgets.pane import Pane
from t2v_tui.workers.services import Services


def app_in(folder: Path, services: Services, settings: Tui | None = None) -> CockpitApp:
    workspace = Workspace(folder)
    return CockpitApp(
        workspace, services=services, state=state_of(workspace, host="local"), now=lambda: NOW, first="generate",
        settings=settings,
    )  # fmt: skip


async def ready(pilot: Pilot[None], app: CockpitApp, checkpoint: str) -> GenerateScreen:
    screen = app.screen
    assert isinstance(screen, GenerateScreen)
    await eventually(pilot, lambda: screen.here.is_read)
    screen.query_one("#in-checkpoint", Choice).choose(checkpoint)
    return screen


@on_screen
async def test_a_pause_in_typing_shows_a_draft_and_more_typing_another_one(tmp_path: Path) -> None:
    services = Services(Workspace(tmp_path))
    app = app_in(tmp_path, services)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            screen = await ready(pilot, app, "embedded")
            await pilot.press(*"a red circle")
            await eventually(pilot, lambda: screen.draft is not None)
            first = screen.draft
            assert first is not None
            assert (first.width, first.height, len(first.frames)) == (64, 64, 8)
            assert screen.result.film is not None
            assert screen.result.is_playing
            assert screen.query_one("#result-box", Pane).border_title == "draft"
            pid = screen._drafter.pid
            assert pid is not None
            await pilot.press(*" moving right")
            await eventually(pilot, lambda: screen.draft is not first)
            assert screen.draft is not None
            assert screen.draft.frames != first.frames
            assert screen._drafter.pid == pid
            await pilot.press("ctrl+a", "ctrl+k")
            await eventually(pilot, lambda: screen.draft is None and screen.result.film is None)
    finally:
        services.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@on_screen
async def test_the_next_key_gives_up_a_draft_before_it_is_asked_for(tmp_path: Path) -> None:
    services = Services(Workspace(tmp_path))
    app = app_in(tmp_path, services)
    asked: list[str] = []
    kept, t2v_tui.screens.generate.DRAFT_AFTER_S = t2v_tui.screens.generate.DRAFT_AFTER_S, 3600.0
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            screen = await ready(pilot, app, "embedded-fast")
            ask = screen._drafter.ask

            async def noted(prompt: str, seed: int) -> bool:
                asked.append(prompt)
                return await ask(prompt, seed)

            screen._drafter.ask = noted  # type: ignore[method-assign]
            await pilot.press(*"a red squar")
            assert screen._pause is not None
            t2v_tui.screens.generate.DRAFT_AFTER_S = 0.01
            await pilot.press("e")
            await eventually(pilot, lambda: screen.draft is not None)
            assert asked == ["a red square"]
    finally:
        t2v_tui.screens.generate.DRAFT_AFTER_S = kept
        services.close()


@on_screen
async def test_nothing_is_drafted_with_a_checkpoint_of_ones_own_or_where_it_is_switched_off(tmp_path: Path) -> None:
    off = Tui()
    off.drafts = False
    for checkpoint, settings in (("checkpoints/checkpoint_epoch_15", None), ("embedded", off)):
        services = Services(Workspace(tmp_path))
        app = app_in(tmp_path, services, settings)
        try:
            async with app.run_test(size=(120, 40)) as pilot:
                screen = await ready(pilot, app, checkpoint)
                await pilot.press(*"a red circle")
                assert screen._pause is None
                assert screen._drafter.pid is None
        finally:
            services.close()
