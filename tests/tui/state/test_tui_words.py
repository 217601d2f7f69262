"""No key does nothing without a word, what is typed is seen, and a notice lies over no button."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.screen.in_terminal import eventually, on_screen
from support.screen.tui_states import HERE, NOW, RUN, empty, live
from textual.widgets import Button, Input
from textual.widgets._toast import Toast

from t2v_core.format import for_so_long
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.keys import KEYS
from t2v_tui.screens.panels.help import COLUMN, HELP_WIDTH, _lines, help_text, in_columns
from t2v_tui.screens.train import RunsList
from t2v_tui.store.state import State
from t2v_tui.text.empty_curve import before_curve, title_of

# Keys that have nothing to do on a screen with nothing on it, and what of their words tells why.
WITH_NOTHING = [
    ("train", "x", "no training is shown: t starts one"),
    ("train", "S", "no training is shown: t starts one"),
    ("train", "P", "no training is shown: t starts one"),
    ("train", "space", "there is no run to overlay"),
    ("checkpoints", "p", "there is no checkpoint to pull"),
    ("checkpoints", "D", "there is no checkpoint to delete"),
    ("checkpoints", "X", "no host is chosen to delete on"),
    ("checkpoints", "space", "there is no checkpoint to play"),
    ("checkpoints", "right_square_bracket", "there is no checkpoint to play"),
    ("videos", "space", "there is no video to be played"),
    ("videos", "full_stop", "there is no video to be played"),
    ("videos", "r", "there is no video to be refined"),
    ("videos", "a", "there is no video to be made again"),
    ("videos", "e", "there is no video to be edited"),
    ("videos", "w", "there is no video to be opened"),
    ("videos", "p", "there is no video to be pulled"),
    ("videos", "D", "there is no video to be deleted"),
    ("data", "p", "there is no data set to prepare"),
    ("data", "c", "there is no data set to check"),
    ("data", "x", "no data job is running"),
    ("jobs", "x", "there is no job to stop"),
    ("jobs", "L", "there is no job to read the log of"),
    ("log", "E", "no job is shown"),
    ("log", "n", "nothing to look for yet: / finds text"),
    ("log", "V", "there is no line to mark"),
    ("log", "Y", "there is no line to copy"),
    ("vm", "u", "is not a VM"),
]


def app_of(state: State, screen: str, folder: Path) -> CockpitApp:
    return CockpitApp(Workspace(folder), services=None, state=state, now=lambda: NOW, first=screen)


def said(app: CockpitApp) -> str:
    return "\n".join(f"{one.title}\n{one.message}" for one in app._notifications)


@on_screen
@pytest.mark.parametrize(("screen", "key", "words"), WITH_NOTHING)
async def test_a_key_with_nothing_to_do_says_so(tmp_path: Path, screen: str, key: str, words: str) -> None:
    app = app_of(empty(), screen, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press(key)
        await eventually(pilot, lambda: words in said(app))


@on_screen
@pytest.mark.parametrize("screen", ["generate", "vid2vid"])
async def test_a_stop_with_nothing_at_work_asks_no_question(tmp_path: Path, screen: str) -> None:
    app = app_of(empty(), screen, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("escape", "x")
        await eventually(pilot, lambda: "there is nothing to stop" in said(app))
        assert len(app.screen_stack) == 1


@on_screen
async def test_text_longer_than_its_entry_is_seen_up_to_its_end(tmp_path: Path) -> None:
    app = app_of(empty(), "generate", tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        entry = app.screen.query_one("#prompt", Input)
        entry.value = "a red circle that moves to the left " * 3 + "quickly"
        await pilot.press("home", "end")
        await pilot.pause()
        assert not entry.horizontal_scrollbar.region.overlaps(entry.region)
        assert "quickly" in app.export_screenshot()


@on_screen
async def test_a_notice_lies_over_no_button_of_a_question(tmp_path: Path) -> None:
    app = app_of(live(), "train", tmp_path)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("x")
        app.notify("something was written", title="and where")
        await eventually(pilot, lambda: bool(app.screen.query(Toast)))
        await pilot.pause()
        notice = app.screen.query_one(Toast).region
        assert notice.height
        for button in app.screen.query(Button):
            assert not notice.overlaps(button.region), button.id


@on_screen
async def test_a_pane_on_the_whole_screen_is_as_wide_as_that(tmp_path: Path) -> None:
    app = app_of(live(), "train", tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("z")
        await pilot.pause()
        assert app.screen.query_one(RunsList).region.width == 120


def test_other_work_than_a_training_is_not_called_a_loss() -> None:
    state = replace(live(), shown=HERE)
    assert title_of(state) == "generate"
    words = before_curve(state, NOW)
    assert words.startswith("generate, which has no loss: ✗ failed")
    assert "enter in the list of runs shows a training" in words
    assert before_curve(replace(state, shown=RUN), NOW) == ""


@on_screen
@pytest.mark.parametrize(("screen", "key"), [("train", "x"), ("train", "t"), ("jobs", "x"), ("vm", "u"), ("data", "b")])
async def test_a_key_that_read_only_leaves_out_says_why(tmp_path: Path, screen: str, key: str) -> None:
    app = app_of(replace(live(), is_read_only=True), screen, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "read-only" in str(app.screen.query_one("#footer").render())
        await pilot.press(key)
        await eventually(pilot, lambda: "opened with --read-only" in said(app))
        assert (len(app.screen_stack), app.state.launch) == (1, None)


@on_screen
@pytest.mark.parametrize("size", [(80, 24), (60, 15)])
async def test_what_ends_the_help_is_in_sight_and_no_line_of_it_is_broken(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    app = app_of(live(), "train", tmp_path)
    async with app.run_test(size=size) as pilot:
        await pilot.press("question_mark")
        await pilot.pause(0.1)
        hint = app.screen.query_one(".hint").region
        assert app.screen.query_one("#box").content_region.contains_region(hint)


def test_every_line_of_help_fits_its_box() -> None:
    groups = [
        (place, [key for key in KEYS if key.where == place]) for place in dict.fromkeys(key.where for key in KEYS)
    ]
    lines = help_text(groups).plain.splitlines()
    assert max(map(len, lines)) <= HELP_WIDTH + 12
    assert all(any(line.endswith(key.id) for line in lines) for key in KEYS)


# Screens with the pane of each that has most keys.
FULLEST = [
    ("log-pane", "train", "launch"), ("curve-pane", "train", "launch"), ("log-pane", "log"), ("chart-pane", "compare"),
    ("player-pane", "lists", "videos", "marks"), ("lists", "checkpoints", "marks"), ("generate", "drawing", "lists"),
    ("vid2vid", "drawing", "player-pane"), ("lists", "data"), ("lists", "jobs"), ("vm",), ("welcome",),
]  # fmt: skip


@pytest.mark.parametrize("places", FULLEST)
@pytest.mark.parametrize("shows_names", [False, True])
def test_help_in_two_columns_needs_no_scrolling_at_120_by_40(places: tuple[str, ...], *, shows_names: bool) -> None:
    groups = [[key for key in KEYS if key.where == place] for place in (*places, "")]
    lines = [_lines("a", keys, shows_names=shows_names) for keys in groups]
    columns = in_columns(lines)
    assert max(len(column.plain.splitlines()) for column in columns) <= 32
    assert max(len(line) for column in columns for line in column.plain.splitlines()) <= COLUMN


@on_screen
async def test_wide_help_is_in_sight_as_a_whole_and_tells_names_too(tmp_path: Path) -> None:
    app = app_of(live(), "train", tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        app.screen.query_one("LogLines").focus()
        await pilot.press("question_mark")
        lines = app.screen.query_one("#lines")
        await eventually(pilot, lambda: lines.size.height > 20)
        assert (lines.max_scroll_y, min(column.size.width >= COLUMN for column in app.screen.query(".column"))) == (
            0,
            True,
        )
        await pilot.press("n")
        shown = "".join(str(column.render()) for column in app.screen.query(".column"))
        assert "log.wrap" in shown


def test_what_lasts_is_counted_in_tens_of_seconds_so_that_an_idle_screen_stays_as_it_is() -> None:
    state = live()
    silent = replace(state.jobs[RUN], row=replace(state.jobs[RUN].row, last_event=None))
    waits = replace(state, runs={}, jobs={RUN: silent})
    said = {before_curve(waits, NOW + seconds) for seconds in range(60)}
    assert len(said) <= 7
    assert {for_so_long(NOW, NOW + 9.9), for_so_long(None, NOW)} == {""}
    assert [for_so_long(NOW, NOW + seconds) for seconds in (10, 47, 200)] == [" for 10 s", " for 40 s", " for 3 min"]
