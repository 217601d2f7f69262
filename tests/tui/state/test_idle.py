"""When nothing happens nothing is done: no file is read again, and nothing is drawn that reads as it did."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.engine.ended_jobs import add_ended, of_training
from support.engine.results_world import NOW, results
from support.files_read import files_opened
from support.screen.in_terminal import eventually, on_screen
from support.screen.tui_states import MACHINE
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from t2v_core.workspace import Workspace
from t2v_tui import blinking
from t2v_tui.app import CockpitApp
from t2v_tui.registry import SCREENS
from t2v_tui.settings import Tui
from t2v_tui.store.events import MachineReceived, RowsReceived
from t2v_tui.store.state import JobKey, JobView, RunView, Sample, State
from t2v_tui.widgets.video import player as player_module
from t2v_tui.widgets.video.player import Player
from t2v_tui.workers.services import Services

VIDEO = "outputs/a-red-square-moving-right-7.mp4"


class Watched(CockpitApp):
    """Counts what it writes to the terminal, and what it hears of its jobs."""

    def __init__(self, workspace: Workspace, **options: Any) -> None:
        super().__init__(workspace, **options)
        self.painted = self.answers = 0
        self._tell, self.live.tell = self.live.tell, self._counted  # type: ignore[method-assign]

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        self.painted += renderable is not None
        super()._display(screen, renderable)

    def _counted(self, news: Any) -> None:
        self.answers += isinstance(news, RowsReceived)
        self._tell(news)


def long_used(folder: Path) -> Workspace:
    """Everything that screens look at again and again, a day old."""
    workspace = results(folder)
    add_ended(folder, "train", time.time() - 7200, of_training(30), preset="tiny")
    data = folder / "data/msr-vtt"
    for part in ("videos", "annotations", "latents/train"):
        (data / part).mkdir(parents=True)
    (data / "videos/video0.mp4").touch()
    (data / "annotations/train_9k.json").write_text("[]")
    (data / "latents/train/manifest.json").write_text(json.dumps({"clips": ["video0"], "files": {}}))
    (data / "quarantine.csv").write_text("id,reason,detail\nvideo1,truncated,no index\n")
    return workspace


def app_of(workspace: Workspace, services: Services | None, first: str = "train", **settings: bool) -> Watched:
    chosen = Tui()
    chosen.animation = settings.get("moves", False)
    return Watched(workspace, services=services, settings=chosen, now=lambda: NOW, first=first)


def timers_of(app: CockpitApp) -> Iterator[Timer]:
    """Those that go on by themselves: of the app, of the screen that is up, and of all that is on it."""
    for node in (app, app.screen, *app.screen.walk_children(Widget)):
        yield from (one for one in list(node._timers) if one._callback and one._repeat is None and one._active.is_set())


async def one_round(app: Watched, pilot: Any) -> None:
    """All that time alone would bring, at once: each timer's call, and the drawing that comes every few seconds."""
    app.live._drawn_t = app._remembered_t = -1e9
    for timer in timers_of(app):
        if timer._callback is not None:
            timer._callback()
    await eventually(pilot, lambda: all(one.is_finished for one in app.workers))
    await pilot.pause()
    await eventually(pilot, lambda: not awaits_drawing(app.screen))


def awaits_drawing(screen: Screen[Any]) -> bool:
    """Something was changed, and is laid out or painted at the screen's next update."""
    is_asked = screen._layout_required or screen._repaint_required or screen._scroll_required
    return bool(is_asked or screen._dirty_widgets or screen._compositor._dirty_regions)


@on_screen
async def test_a_round_of_every_timer_reads_and_writes_nothing_on_any_screen(tmp_path: Path) -> None:
    workspace = long_used(tmp_path)
    app = app_of(workspace, services=None)
    job = JobKey("local", next(workspace.jobs.iterdir()).name)
    rows = Services(workspace).rows("local").rows
    app.live.state = replace(
        app.state, jobs={job: JobView(job, rows[0], NOW)}, shown=job,
        runs={job: RunView(samples=(Sample(VIDEO, "a red square", 1),))},
    )  # fmt: skip
    async with app.run_test(size=(120, 40)) as pilot:
        for entry in SCREENS:
            await app.switch_mode(entry.name)
            await settle(app, pilot)
            before = app.painted
            with files_opened(tmp_path) as opened:
                await one_round(app, pilot)
            assert (entry.name, opened, app.painted - before) == (entry.name, [], 0)


async def settle(app: Watched, pilot: Any) -> None:
    """Until all is read and drawn, for which there is no event: until three rounds in a row bring nothing."""
    quiet = 0
    for _ in range(200):
        before = app.painted
        await one_round(app, pilot)
        quiet = quiet + 1 if app.painted == before else 0
        if quiet == 3:
            return
    raise AssertionError("it is drawn again and again")


@on_screen
async def test_an_answer_of_the_host_that_says_what_it_said_draws_nothing(tmp_path: Path) -> None:
    add_ended(tmp_path, "train", time.time() - 7200, of_training(30))
    services = Services(Workspace(tmp_path))
    app = app_of(Workspace(tmp_path), services, first="jobs")
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(
            pilot, lambda: app.answers > 0 and bool(app.state.shown_run and app.state.shown_run.curve.steps)
        )
        for _ in range(3):
            await settle(app, pilot)
            known, before, answers = app.state.jobs, app.painted, app.answers
            app.listening.wake("local")
            await eventually(pilot, lambda answers=answers: app.answers > answers)  # type: ignore[misc]
            await pilot.pause()
            assert app.state.jobs is known
            assert app.painted == before
    services.close()


@on_screen
async def test_how_a_machine_does_is_drawn_only_where_it_is_shown(tmp_path: Path) -> None:
    app = app_of(results(tmp_path), services=None, first="jobs")
    app.live.state = State(tmp_path, {"local": Services(Workspace(tmp_path)).here()})
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(app, pilot)
        before = app.painted
        app.live.tell(MachineReceived("local", MACHINE, NOW))
        await pilot.pause()
        assert app.painted == before
        await app.switch_mode("vm")
        await settle(app, pilot)
        before = app.painted
        app.live.tell(MachineReceived("local", replace(MACHINE, disk_free_bytes=1 << 30), NOW))
        await eventually(pilot, lambda: app.painted > before)
        assert "1.1 GB free" in str(app.screen.query_one("#gauges").render())


@on_screen
async def test_a_cursor_stands_still_when_nobody_writes_and_blinks_with_the_next_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blinking, "WRITING_S", 0.0)
    app = app_of(results(tmp_path), services=None, first="generate", moves=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: isinstance(app.focused, Input))
        entry = app.focused
        assert isinstance(entry, Input)
        app._tick()
        assert not entry.cursor_blink
        await pilot.press("a")
        assert entry.cursor_blink
        assert entry.value == "a"


@on_screen
async def test_what_plays_by_itself_stands_still_after_a_while_and_what_was_asked_to_play_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player_module, "BY_ITSELF_S", 0.0)
    app = app_of(results(tmp_path), services=None, first="videos", moves=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: bool(app.screen.query(Player)))
        player = app.screen.query_one(Player)
        player.show(None)
        player.show(tmp_path / VIDEO, plays=True)
        await eventually(pilot, lambda: player.film is not None and not player.is_playing)
        player.action_play()
        player._turn()
        assert player.is_playing
