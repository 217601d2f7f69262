"""The screen of runs: how it looks at three sizes, and what its keys do to marks, charts, filter and names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.engine.ended_jobs import add_ended, of_training
from support.screen.in_terminal import on_screen
from support.screen.tui_states import LOCAL_HOST, NOW

from remote.replies.job_row import JobRow
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.library.runs.labels import Label, label_of
from t2v_tui.library.runs.traces import Axis
from t2v_tui.screens.compare import CompareScreen
from t2v_tui.settings import Tui
from t2v_tui.store.state import JobKey, JobView, State
from t2v_tui.widgets.curve.chart import Chart
from t2v_tui.widgets.rows import Rows

STEPS = 1500
SIZES = [pytest.param(size, id=f"{size[0]}x{size[1]}") for size in ((80, 24), (120, 40), (200, 60))]
PRESETS = ({"preset": "tiny"}, {"preset": "tiny", "learning_rate": 1e-3}, {"preset": "base", "data": "data/shapes"})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    for number, spec in enumerate(PRESETS):
        add_ended(folder, "train", NOW - 90_000 + 9000 * number, of_training(STEPS), number=number, **spec)
    return folder


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("SSH_TTY", raising=False)


def app_of(root: Path, *, is_empty: bool = False) -> CockpitApp:
    jobs = {}
    for number, folder in enumerate([] if is_empty else sorted((root / "jobs").iterdir())):
        key, began_t = JobKey("local", folder.name), NOW - 90_000 + 9000 * number
        row = JobRow(folder.name, "train", "succeeded", 0, queued_t=began_t, started_t=began_t, ended_t=began_t + 5000)
        jobs[key] = JobView(key, row, NOW)
    settings = Tui()
    settings.animation = False
    state = State(root, {"local": LOCAL_HOST}, "local", jobs)
    return CockpitApp(Workspace(root), services=None, settings=settings, state=state, now=lambda: NOW, first="compare")


async def read_whole(pilot: Any) -> CompareScreen:
    """Until all of every run was read, or an empty list is drawn."""
    screen: CompareScreen = pilot.app.screen
    async with asyncio.timeout(60):
        await pilot.pause()
        while any(
            key not in screen.known or screen.known[key].measured.step < STEPS or not screen.known[key].settings
            for key in pilot.app.state.jobs
        ):
            await pilot.pause(0.02)
    await pilot.pause()
    return screen


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keys", ["", "space,j,space,j,space,comma"], ids=["one", "marked"])
def test_runs_look_as_they_did(snap_compare: Callable[..., bool], root: Path, keys: str, size: tuple[int, int]) -> None:
    async def settled(pilot: Any) -> None:
        await read_whole(pilot)
        await pilot.press(*filter(None, keys.split(",")))
        await pilot.pause(0.2)

    assert snap_compare(app_of(root), terminal_size=size, run_before=settled)


def test_no_run_teaches_how_there_will_be_one(snap_compare: Callable[..., bool], tmp_path: Path) -> None:
    assert snap_compare(app_of(tmp_path, is_empty=True), terminal_size=(80, 24))


@on_screen
async def test_marked_runs_lie_over_each_other_with_what_differs(root: Path) -> None:
    async with app_of(root).run_test(size=(120, 40)) as pilot:
        screen = await read_whole(pilot)
        chart = screen.query_one(Chart)
        assert [one.letter for one in chart.plotted] == [""]
        await pilot.press("space", "j", "space")
        assert [one.letter for one in chart.plotted] == ["a", "b"]
        said = str(screen.query_one("#comparison").render())
        assert "learning rate" in said
        await pilot.press("u", "G")
        assert [(one.letter, one.name) for one in chart.plotted] == [("", screen.rows[screen.compared()[0]].title)]


@on_screen
async def test_what_differs_is_told_of_those_whose_settings_are_known(root: Path) -> None:
    async with app_of(root).run_test(size=(200, 60)) as pilot:
        screen = await read_whole(pilot)
        await pilot.press("space", "j", "space", "j", "space")
        first = screen.marked[0]
        screen.known[first] = replace(screen.known[first], settings={})
        screen.redraw()
        said = str(screen.query_one("#comparison").render())
        assert "settings that differ · those of 1 are not known" in said
        assert [line.split()[2] for line in said.splitlines() if line.startswith("learning rate")] == ["–"]


@on_screen
async def test_axis_figure_smoothing_scale_and_number_of_charts_turn(root: Path) -> None:
    async with app_of(root).run_test(size=(120, 40)) as pilot:
        screen = await read_whole(pilot)
        await pilot.press("m", "x", "e", "s")
        chart = screen.query_one(Chart)
        assert (chart.figure, chart.look.axis, chart.look.decay, chart.look.is_log) == (
            "held_out_loss", Axis.EPOCH, 0.995, True,
        )  # fmt: skip
        await pilot.press("M", "c", "c")
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        assert [one.figure for one in screen.query(Chart)] == ["loss", "held_out_loss", "learning_rate", "grad_norm"]
        await pilot.press("x", "x")  # nobody is paid for this machine
        assert screen.query(Chart).first().plotted == ()
        assert "nobody is paid" in screen.query(Chart).first().empty


@on_screen
async def test_a_cursor_reads_values_and_the_zoom_is_around_it(root: Path) -> None:
    async with app_of(root).run_test(size=(120, 40)) as pilot:
        screen = await read_whole(pilot)
        chart = screen.query_one(Chart)
        chart.focus()
        await pilot.press("left", "left", "shift+left")
        assert screen.look.cursor is not None
        assert STEPS * 0.8 < screen.look.cursor < STEPS * 0.95
        assert chart.values() != [chart._traces_now()[0].ys[-1]]
        await pilot.press("plus", "plus")
        assert screen.look.zoomed is not None
        assert screen.look.zoomed[0] < screen.look.cursor < screen.look.zoomed[1]
        await pilot.press("0")
        assert screen.look.zoomed is None
        await pilot.press("escape")
        assert screen.look.cursor is None
        assert isinstance(pilot.app.screen, CompareScreen)


@on_screen
async def test_a_filter_narrows_as_it_is_typed_and_a_name_is_kept(root: Path) -> None:
    async with app_of(root).run_test(size=(120, 40)) as pilot:
        screen = await read_whole(pilot)
        rows = screen.query_one(Rows)
        await pilot.press("slash", *"preset:base")
        assert len(rows.keys) == 1
        await pilot.press("enter", "n", *"wide", "enter")
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        job = screen.compared()[0]
        assert label_of(Workspace(root), job) == Label("wide")
        assert screen.rows[job].title == "wide"
        await pilot.press("n", "backspace", "backspace", "backspace", "backspace", "enter", "escape")
        await pilot.app.workers.wait_for_complete()
        assert len(rows.keys) == 3


@on_screen
async def test_the_cursor_stays_on_its_run_when_the_order_changes(root: Path) -> None:
    async with app_of(root).run_test(size=(120, 40)) as pilot:
        screen = await read_whole(pilot)
        rows = screen.query_one(Rows)
        await pilot.press("j")
        chosen = rows.chosen
        await pilot.press("O")
        assert (rows.chosen, rows.cursor) == (chosen, 1)
        await pilot.press("o", "o", "o", "d")
        assert rows.chosen == chosen


@on_screen
async def test_a_chart_is_written_where_the_entry_says(root: Path) -> None:
    async with app_of(root).run_test(size=(120, 40)) as pilot:
        await read_whole(pilot)
        await pilot.press("w", "enter")
        await pilot.app.workers.wait_for_complete()
        (written,) = (root / "outputs" / "charts").iterdir()
        assert written.read_text().startswith("<svg")
