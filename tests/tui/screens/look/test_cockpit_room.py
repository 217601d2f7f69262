"""The Train screen gives room to what is looked at: the last sample as high as the curve, samples over time below."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.screen.in_terminal import eventually, on_screen
from support.screen.tui_states import LIVE_RUN, NOW, RUN, live

from t2v_core.data.video.frames import write_video
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.settings import Tui
from t2v_tui.store.state import Sample, State
from t2v_tui.widgets.curve.curve import Curve
from t2v_tui.widgets.transfers import Transfers
from t2v_tui.widgets.video.film_strip import FilmStrip, spread
from t2v_tui.widgets.video.last_sample import LastSample
from t2v_tui.widgets.video.sheet import Card

PROMPT = "a red square moving right"
STEPS = (100, 200, 300, 400)
SIZES = [pytest.param(size, id=f"{size[0]}x{size[1]}") for size in ((120, 40), (200, 60), (300, 80))]


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    for name in ("NO_COLOR", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With a sample of every checkpoint: a square that comes out of the dark."""
    folder = tmp_path_factory.mktemp("cockpit")
    for step in STEPS:
        pixels = np.full((1, 64, 64, 3), 40, np.uint8)
        pixels[:, 16:48, 16:48, 0] = 55 + step // 2
        (folder / "outputs/samples").mkdir(parents=True, exist_ok=True)
        write_video(folder / video(step), pixels, fps=8.0, crf=0)
    return Workspace(folder)


def video(step: int, prompt: str = PROMPT) -> str:
    return f"outputs/samples/step-{step}-{prompt.replace(' ', '-')}.mp4"


def training(steps: tuple[int, ...] = STEPS) -> State:
    """Two prompts at each checkpoint; the last sample is of the second."""
    other = "a blue circle"
    samples = [Sample(video(step, prompt), prompt, step) for step in steps for prompt in (other, PROMPT)]
    return replace(live(), runs={RUN: replace(LIVE_RUN, samples=tuple(samples))})


def cockpit(workspace: Workspace, state: State, first: str = "train") -> CockpitApp:
    settings = Tui()
    settings.animation = False
    return CockpitApp(workspace, services=None, settings=settings, state=state, now=lambda: NOW, first=first)


async def shown(pilot: Any) -> None:
    """All pictures are there."""
    screen = pilot.app.screen
    await eventually(pilot, lambda: bool(screen.query(FilmStrip)) and len(screen.query_one(FilmStrip).cards) > 1)
    strip, sample = screen.query_one(FilmStrip), screen.query_one(LastSample)
    await eventually(pilot, lambda: sample.player.film is not None and strip.cards and is_whole(strip))
    await pilot.pause()


def is_whole(strip: FilmStrip) -> bool:
    return all(strip._films.get(card) is not None for card in strip.cards)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_designed(snap_compare: Callable[..., bool], workspace: Workspace, size: tuple[int, int]) -> None:
    assert snap_compare(cockpit(workspace, training()), terminal_size=size, run_before=shown)


@on_screen
async def test_the_last_sample_is_as_high_as_the_curve_and_older_ones_of_its_prompt_stand_below(
    workspace: Workspace,
) -> None:
    app = cockpit(workspace, training())
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot)
        sample, curve = app.screen.query_one(LastSample), app.screen.query_one(Curve)
        assert sample.player.picture.area.height == curve.size.height == sample.size.height
        strip = app.screen.query_one(FilmStrip)
        assert [card.title for card in strip.cards] == [f"step {step}" for step in STEPS]
        strip.focus()
        await pilot.press("left", "left")
        await eventually(pilot, lambda: sample._border_title == "sample · step 200")
        assert sample.player.path == workspace.root / video(200)
        await pilot.press("right", "right")
        await eventually(pilot, lambda: sample._border_title == "last sample · step 400")


@on_screen
async def test_transfers_are_one_line_while_nothing_moves(tmp_path: Path) -> None:
    app = cockpit(Workspace(tmp_path), replace(training(()), transfers=()))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        transfers = app.screen.query_one(Transfers)
        assert transfers.region.height == 1
        app.live.state = training(())
        app.screen._draw()
        await eventually(pilot, lambda: transfers.region.height == 3)
        failed = replace(live().transfers[0], state="failed", why="the disk is full")
        app.live.state = replace(training(()), transfers=(failed,))
        app.screen._draw()
        await eventually(pilot, lambda: transfers.region.height == 1)
        assert "failed: the disk is full" in str(transfers.render())


@pytest.mark.parametrize(("screen", "pane"), [("generate", "#look"), ("vid2vid", "#look"), ("checkpoints", "#samples")])
@on_screen
async def test_on_a_large_terminal_videos_get_what_is_left_of_the_lists(tmp_path: Path, screen: str, pane: str) -> None:
    app = cockpit(Workspace(tmp_path), live(), screen)
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: bool(app.screen.query(pane)))
        await pilot.pause()
        narrow = app.screen.query_one(pane).region.width
        await pilot.resize_terminal(200, 60)
        await eventually(pilot, lambda: app.screen.query_one(pane).region.width > 1.7 * narrow)


@on_screen
async def test_only_samples_that_there_is_room_for_are_looked_up_on_the_disk(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, looked_up = cockpit(workspace, training(tuple(range(100, 10_000, 100)))), list[str]()
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: bool(app.screen.query(FilmStrip)) and len(strip_of(app).cards) > 2)
        await pilot.pause()
        place_of = app.files.place_of
        monkeypatch.setattr(app.files, "place_of", lambda host, path: looked_up.append(path) or place_of(host, path))
        app.screen._draw()
        assert len(looked_up) <= strip_of(app).columns + 1  # and the last one, which plays


def strip_of(app: CockpitApp) -> FilmStrip:
    return app.screen.query_one(FilmStrip)


def test_of_many_checkpoints_the_first_the_last_and_the_chosen_are_shown() -> None:
    cards = [Card(str(number), str(number), None) for number in range(100)]
    assert [card.key for card in spread(cards, 5, None)] == ["0", "25", "50", "74", "99"]
    assert [card.key for card in spread(cards, 5, cards[30])] == ["0", "30", "50", "74", "99"]
    assert [card.key for card in spread(cards, 2, cards[98])] == ["98", "99"]
    assert spread(cards[:3], 5, None) == cards[:3]
    assert spread(cards, 1, None) == [cards[99]]
