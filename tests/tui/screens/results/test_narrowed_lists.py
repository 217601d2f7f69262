"""Lists that are narrowed, sorted and marked: which rows stand there, and what is done with the marked ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.text import Text
from support.engine.results_world import NOW, add_checkpoint, add_video, results, state_of, with_job
from support.hosts.far_host import Far
from support.screen.far_app import app_with_host
from support.screen.in_terminal import eventually, on_screen
from textual.widgets import Input

from t2v_core.disk.files import incompleteness
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.library.removing import question_of_videos
from t2v_tui.library.views import VideoView
from t2v_tui.screens.checkpoints import CheckpointsScreen
from t2v_tui.screens.generate import GenerateScreen
from t2v_tui.screens.jobs import JobsScreen
from t2v_tui.screens.panels.dialogs import Choose, Confirm
from t2v_tui.screens.videos import VideosScreen
from t2v_tui.store.order import Order, has_words, put_in_order
from t2v_tui.widgets.lists import ListTable
from t2v_tui.workers.services import Services


def test_a_filter_takes_words_columns_and_what_must_not_be_there() -> None:
    row = {"prompt": "A red square", "seed": "7", "place": "here host"}
    fitting = ["", "red", "RED square", "seed:7", "place:host -seed:8", "-blue"]
    assert all(has_words(row, wanted) for wanted in fitting)
    assert not any(has_words(row, wanted) for wanted in ["blue", "seed:red", "-red", "red seed:8", "unknown:7"])


def test_what_lacks_the_figure_comes_last_in_either_direction() -> None:
    rows = [("a", 2), ("b", None), ("c", 1), ("d", 2)]
    order: Order[tuple[str, int | None]] = Order(lambda row: row[1], largest_first=True)
    assert [name for name, _ in put_in_order(rows, order)] == ["a", "d", "c", "b"]
    assert [name for name, _ in put_in_order(rows, order, is_reversed=True)] == ["c", "a", "d", "b"]


def app_on(name: str, workspace: Workspace, services: Services | None = None) -> CockpitApp:
    state = state_of(workspace, host="local")
    return CockpitApp(workspace, services=services, state=state, now=lambda: NOW, first=name)


@on_screen
async def test_videos_are_narrowed_while_the_words_are_typed_and_escape_shows_all_again(tmp_path: Path) -> None:
    app = app_on("videos", results(tmp_path))
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: isinstance(app.screen, VideosScreen) and len(app.screen.rows) == 5)
        screen = app.screen
        assert isinstance(screen, VideosScreen)
        await pilot.press("slash", *"blue seed:3")
        await eventually(pilot, lambda: [video.settings["seed"] for video in screen.rows] == [3])
        assert screen.entry.size.height == 1
        title = screen.query_one("#list").border_title
        assert "videos · 1 of 5" in str(title)
        assert "with “blue seed:3”" in str(title)
        await pilot.press("enter")
        assert screen.table.has_focus
        await pilot.press("slash", *"xyz")
        await eventually(pilot, lambda: not screen.rows)
        assert "None of 5 videos has “xyz”." in str(screen.query_one("#nothing").render())
        await pilot.press("escape")
        await eventually(pilot, lambda: len(screen.rows) == 5 and screen.table.has_focus)
        assert app.current_mode == "videos"


@on_screen
async def test_the_cursor_stays_on_its_video_when_the_order_turns(tmp_path: Path) -> None:
    app = app_on("videos", results(tmp_path))
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: isinstance(app.screen, VideosScreen) and len(app.screen.rows) == 5)
        screen = app.screen
        assert isinstance(screen, VideosScreen)
        await pilot.press("j")
        chosen = screen.table.chosen
        await pilot.press("o")
        await eventually(pilot, lambda: screen.order == "prompt")
        assert [video.title for video in screen.rows] == sorted(video.title for video in screen.rows)
        assert screen.table.chosen == chosen
        await pilot.press("O")
        await eventually(pilot, lambda: screen.is_reversed)
        assert [video.title for video in screen.rows] == sorted((video.title for video in screen.rows), reverse=True)
        assert screen.table.chosen == chosen


@on_screen
async def test_marked_videos_are_deleted_together_and_come_back_together(tmp_path: Path) -> None:
    workspace = results(tmp_path)
    services = Services(workspace)
    app = app_on("videos", workspace, services)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await eventually(pilot, lambda: isinstance(app.screen, VideosScreen) and len(app.screen.rows) == 5)
            screen = app.screen
            assert isinstance(screen, VideosScreen)
            await pilot.press("m", "m")
            marked = list(screen.marked)
            assert marked == [video.path for video in screen.rows[:2]]
            assert [str(screen.table.cells_at(row)[2])[:2] for row in range(3)] == ["✓ ", "✓ ", "a "]
            await pilot.press("D")
            await eventually(pilot, lambda: isinstance(app.screen, Confirm))
            assert isinstance(app.screen, Confirm)
            question = app.screen.question
            assert question.title == "Delete 2 videos?"
            assert "Of 2 of them this is the ONLY COPY." in question.lines
            await pilot.press("y")
            await eventually(pilot, lambda: len(screen.rows) == 3)
            assert not any((workspace.root / path).exists() for path in marked)
            assert not screen.marked
            await pilot.press("Z")
            await eventually(pilot, lambda: len(screen.rows) == 5)
            assert all((workspace.root / path).with_suffix(".json").is_file() for path in marked)
    finally:
        services.close()


@on_screen
async def test_a_mark_stands_on_its_picture_too_which_is_not_decoded_again_for_it(tmp_path: Path) -> None:
    app = app_on("videos", results(tmp_path))
    async with app.run_test(size=(200, 60)) as pilot:
        await eventually(pilot, lambda: isinstance(app.screen, VideosScreen) and len(app.screen.rows) == 5)
        screen = app.screen
        assert isinstance(screen, VideosScreen)
        await pilot.press("c")
        await eventually(pilot, lambda: all(screen.sheet._films.get(card) for card in screen.sheet.cards))
        films = [screen.sheet._films[card] for card in screen.sheet.cards]
        await pilot.press("m")
        await eventually(pilot, lambda: screen.sheet.cards[0].title.startswith("✓ "))
        assert [screen.sheet._films.get(card) for card in screen.sheet.cards] == films
        assert screen.sheet.at == 1
        assert screen.sheet.columns == 3


@on_screen
async def test_escape_takes_the_marks_away_before_it_leaves_the_screen(tmp_path: Path) -> None:
    app = app_on("checkpoints", results(tmp_path))
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: isinstance(app.screen, CheckpointsScreen) and len(app.screen.rows) == 4)
        screen = app.screen
        assert isinstance(screen, CheckpointsScreen)
        await pilot.press("m", "j", "m")
        assert len(screen.marked) == 2
        await pilot.press("escape")
        await eventually(pilot, lambda: not screen.marked)
        assert app.current_mode == "checkpoints"
        await pilot.press("escape")
        await eventually(pilot, lambda: app.current_mode == "train")


@pytest.mark.parametrize(("key", "count"), [("o", 1), ("o", 2)])
@on_screen
async def test_checkpoints_are_sorted_by_what_is_known_of_them(key: str, count: int, tmp_path: Path) -> None:
    app = app_on("checkpoints", results(tmp_path))
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: isinstance(app.screen, CheckpointsScreen) and len(app.screen.rows) == 4)
        screen = app.screen
        assert isinstance(screen, CheckpointsScreen)
        await pilot.press(*[key] * count)
        await eventually(pilot, lambda: screen.order == list(screen.ORDERS)[count])
        epochs = [pair.name.rpartition("_")[2] for pair in screen.rows]
        assert epochs == (["10", "15", "20", "5"] if count == 1 else ["15", "10", "5", "20"])


@on_screen
async def test_marked_checkpoints_of_a_host_come_here_in_one_pull(far: Far) -> None:
    for epoch in (5, 10, 15):
        add_checkpoint(far.there, epoch, loss=0.3)
    async with app_with_host(far, "checkpoints", CockpitApp) as (pilot, app):
        screen = app.screen
        assert isinstance(screen, CheckpointsScreen)
        screen.read_anew()
        await eventually(pilot, lambda: len(screen.rows) == 3)
        await pilot.press("m", "m", "p")
        await eventually(pilot, lambda: sum(pair.is_same for pair in screen.pairs) == 2)
        await eventually(pilot, lambda: [one.state for one in app.state.transfers] == ["done"])
        assert app.state.transfers[0].what.endswith("+1")
        here = [path.name for path in far.here.checkpoints.iterdir() if path.name.startswith("checkpoint_")]
        assert sorted(here) == ["checkpoint_epoch_10", "checkpoint_epoch_15"]
        assert all(incompleteness(far.here.checkpoints / name) is None for name in here)
        assert not screen.marked


@on_screen
async def test_marked_videos_of_both_places_go_where_each_is(far: Far) -> None:
    add_video(far.here.root, "mine.mp4", "a red square", age_s=10)
    add_video(far.there, "theirs.mp4", "a blue circle", age_s=20)
    async with app_with_host(far, "videos", CockpitApp) as (pilot, app):
        screen = app.screen
        assert isinstance(screen, VideosScreen)
        screen.read_anew()
        await eventually(pilot, lambda: len(screen.rows) == 2)
        await pilot.press("m", "m", "D")
        await eventually(pilot, lambda: isinstance(app.screen, Confirm))
        assert isinstance(app.screen, Confirm)
        assert any("vm has no trash" in line for line in app.screen.question.lines)
        await pilot.press("y")
        await eventually(pilot, lambda: not (far.there / "outputs/theirs.mp4").exists())
        await eventually(pilot, lambda: not (far.here.root / "outputs/mine.mp4").exists())
        assert list((far.here.root / ".t2v/trash").glob("*/outputs/mine.mp4"))


def test_the_question_says_of_which_the_only_copy_goes() -> None:
    videos = [VideoView(f"outputs/{name}.mp4", 1000, 0.0, is_here=True, is_there=name == "b") for name in "abcdefg"]
    question = question_of_videos(videos, "vm")
    assert question.title == "Delete 7 videos?"
    assert "and 2 more" in question.lines
    assert "Of 6 of them this is the ONLY COPY." in question.lines


@on_screen
async def test_jobs_are_narrowed_by_state_and_verb(tmp_path: Path) -> None:
    state = state_of(Workspace(tmp_path), host="local")
    for verb, standing in (("train", "running"), ("train", "failed"), ("generate", "succeeded")):
        state, _ = with_job(state, verb, standing)
    app = CockpitApp(Workspace(tmp_path), services=None, state=state, now=lambda: NOW, first="jobs")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.screen
        await eventually(pilot, lambda: isinstance(screen, JobsScreen) and len(screen.table.keys) == 3)
        assert isinstance(screen, JobsScreen)
        await pilot.press("slash", *"verb:train -failed", "enter")
        await eventually(pilot, lambda: len(screen.table.keys) == 1)
        assert "jobs · 1 of 3" in str(screen.query_one("#jobs-box").border_title)
        await pilot.press("escape", "o", "o", "o")
        await eventually(pilot, lambda: screen.order == "verb" and len(screen.table.keys) == 3)
        assert "generate" in str(screen.table.cells_at(0)[2])


@on_screen
async def test_slash_finds_in_the_log_of_a_training_whatever_has_the_focus(tmp_path: Path) -> None:
    state = with_job(state_of(Workspace(tmp_path), host="local"), "train")[0]
    app = CockpitApp(Workspace(tmp_path), services=None, state=state, now=lambda: NOW, first="train")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("slash")
        await eventually(pilot, lambda: isinstance(app.focused, Input))


@on_screen
async def test_slash_narrows_the_queue_and_escape_shows_all_of_it_again(tmp_path: Path) -> None:
    state = state_of(Workspace(tmp_path), host="local")
    for standing in ("running", "failed", "succeeded"):
        state, _ = with_job(state, "generate", standing)
    app = CockpitApp(Workspace(tmp_path), services=None, state=state, now=lambda: NOW, first="generate")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        await eventually(pilot, lambda: len(screen.queue.keys) == 3)
        await pilot.press("escape", "slash", *"state:failed")
        await eventually(pilot, lambda: len(screen.queue.keys) == 1)
        assert "1 of 3 with “state:failed”" in str(screen.query_one("#queue-box").border_title)
        await pilot.press("enter")
        assert screen.queue.has_focus
        await pilot.press("escape")
        await eventually(pilot, lambda: len(screen.queue.keys) == 3)
        assert app.current_mode == "generate"


@on_screen
async def test_slash_narrows_what_a_panel_offers_and_enter_takes_what_is_left(tmp_path: Path) -> None:
    app = CockpitApp(Workspace(tmp_path), services=None, state=state_of(Workspace(tmp_path)), now=lambda: NOW)
    taken: list[object] = []
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(
            Choose("Which?", [(one, (Text(one),)) for one in ("red", "green", "blue")], "red"), taken.append
        )
        await eventually(pilot, lambda: isinstance(app.screen, Choose) and bool(app.screen.query(ListTable)))
        table = app.screen.query_one(ListTable)
        await pilot.press("slash", *"ee", "enter")
        await eventually(pilot, lambda: table.keys == ["green"] and table.has_focus)
        await pilot.press("enter")
        await eventually(pilot, lambda: taken == ["green"])
