"""How Welcome, Train, Log, Jobs, VM and the panels over them look, at 120 × 40 and 80 × 24, in every state they have.

The clock stands still and nobody is asked. After a change that is meant: pytest --snapshot-update, and look at them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.screen.in_terminal import on_screen
from support.screen.tui_states import (
    FAILED,
    NOW,
    RUN,
    asking,
    empty,
    failing,
    live,
    loading,
    refused,
    stopped,
    unreachable,
)

from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.messages import EventReceived, StartWork, StopWork
from t2v_tui.screens.panels.dialogs import Confirm
from t2v_tui.settings import Tui
from t2v_tui.store.events import RowsReceived
from t2v_tui.store.state import Sample, State
from t2v_tui.text.confirmations import about_stopping
from t2v_tui.widgets.lists import ListTable

SIZES = [pytest.param((120, 40), id="120x40"), pytest.param((80, 24), id="80x24")]
STATES = {
    "empty": empty, "live": live, "stopped": stopped, "unreachable": unreachable, "asking": asking, "failing": failing,
    "loading": loading, "refused": refused,
}  # fmt: skip
ALL = ("empty", "loading", "live", "refused", "unreachable")
SHOWN = [(screen, name) for screen in ("welcome", "train", "log", "jobs", "vm") for name in ALL]
SHOWN += [("train", "asking"), ("train", "failing"), ("vm", "stopped")]


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("SSH_TTY", raising=False)


def app_of(state: State, screen: str, folder: Path) -> CockpitApp:
    """What is drawn of a state; the log that was followed lies where the app would have written it."""
    workspace = Workspace(folder)
    settings = Tui()
    settings.animation = False
    app = CockpitApp(workspace, services=None, settings=settings, state=state, now=lambda: NOW, first=screen)
    journal = app.files.journal_of(RUN)
    journal.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"03:0{n // 60}:{n % 60:02} step {380 + n}/1404 loss {0.09 - n / 9000:.4f} lr 1.0e-04" for n in range(20)]
    journal.write_text("\n".join([*lines, "03:00:20 WARN the data loader waits: 0.41 of the time", ""]))
    return app


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("screen", "name"), SHOWN)
def test_a_screen_looks_as_it_did(
    snap_compare: Callable[..., bool], tmp_path: Path, screen: str, name: str, size: tuple[int, int]
) -> None:
    async def settled(pilot: Any) -> None:
        await pilot.pause(0.2)

    assert snap_compare(app_of(STATES[name](), screen, tmp_path), terminal_size=size, run_before=settled)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", ["x", "question_mark", "h", "p", "ctrl+p"])
def test_a_panel_fits_the_terminal_whole(
    snap_compare: Callable[..., bool], tmp_path: Path, key: str, size: tuple[int, int]
) -> None:
    async def opened(pilot: Any) -> None:
        await pilot.pause(0.1)
        await pilot.press(key)
        await pilot.pause(0.4)
        screen = pilot.app.screen
        assert len(pilot.app.screen_stack) > 1
        for button in screen.query("Button"):
            assert screen.region.contains_region(button.region), button.id
        for entry in screen.query("Input"):
            entry.cursor_blink = False

    assert snap_compare(app_of(live(), "train", tmp_path), terminal_size=size, run_before=opened)


def test_a_terminal_that_is_too_small_shows_one_line(snap_compare: Callable[..., bool], tmp_path: Path) -> None:
    assert snap_compare(app_of(live(), "train", tmp_path), terminal_size=(40, 10))


def test_the_light_theme_is_readable_too(snap_compare: Callable[..., bool], tmp_path: Path) -> None:
    app = app_of(live(), "train", tmp_path)
    app.settings.theme = "t2v-light"
    assert snap_compare(app, terminal_size=(120, 40), run_before=None)


def test_the_question_before_a_stop_names_what_is_kept() -> None:
    question = about_stopping(live(), RUN, NOW)
    said = "\n".join(question.lines)
    assert "400 of 1404 steps" in said
    assert "saves a checkpoint" in said
    assert "stays on and costs $3.69/h" in said
    assert question.key != "x"
    assert Confirm(question).question is question


def test_read_only_starts_and_ends_nothing(tmp_path: Path) -> None:
    async def pressed() -> None:
        app = app_of(replace(live(), is_read_only=True), "train", tmp_path)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("x", "t", "p", "S")
            await pilot.pause()
            assert (len(app.screen_stack), app.state.launch) == (1, None)
            app.screen.post_message(StopWork(RUN))
            app.screen.post_message(StartWork("generate", {"prompt": "x"}))
            await pilot.pause()
            assert len(app.screen_stack) == 1
            footer = str(app.screen.query_one("#footer").render())
            assert "Stop" not in footer
            assert "Zoom" in footer

    asyncio.run(pressed())


def test_the_same_keys_do_it_without_read_only(tmp_path: Path) -> None:
    async def pressed() -> None:
        app = app_of(live(), "train", tmp_path)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("x")
            await pilot.pause()
            assert isinstance(app.screen, Confirm)
            await pilot.press("x")  # what asked does not answer
            await pilot.press("enter")  # Cancel has the focus
            await pilot.pause()
            assert len(app.screen_stack) == 1

    asyncio.run(pressed())


def test_brackets_of_a_prompt_are_no_markup_under_the_last_sample(tmp_path: Path) -> None:
    async def subtitle() -> str | None:
        state = live()
        run = replace(state.runs[RUN], samples=(Sample("outputs/one.mp4", "a red cube [/x] [b]turns", 400),))
        app = app_of(replace(state, runs={**state.runs, RUN: run}), "train", tmp_path)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause(0.2)
            return str(app.screen.query_one("#sample")._border_subtitle)

    assert asyncio.run(subtitle()) == "a red cube [/x] [b]turns"


@on_screen
async def test_a_list_that_was_empty_has_the_focus_when_its_first_row_comes(tmp_path: Path) -> None:
    app = app_of(empty(), "jobs", tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.post_message(
            EventReceived(RowsReceived("local", (FAILED, replace(FAILED, job="20261125-014500-generate-78bb")), NOW))
        )
        await pilot.pause()
        table = app.screen.query_one(ListTable)
        assert table.has_focus
        await pilot.press("j")
        assert table.cursor == 1
