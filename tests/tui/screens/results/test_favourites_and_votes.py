"""Favourites, and which of two is better, asked without telling which is which."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from support.engine.results_world import NOW, add_video, results, state_of
from support.screen.in_terminal import eventually, on_screen

from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.library.favourites import file_of as favourites_file
from t2v_tui.library.favourites import read_favourites, turn_favourites
from t2v_tui.library.views import VideoView
from t2v_tui.library.votes import FIRST, SAME, SECOND, Vote, file_of, keep_vote, names_of, pairs_of, read_votes, tally
from t2v_tui.screens.panels.blind import BlindPanel
from t2v_tui.screens.panels.dialogs import Confirm
from t2v_tui.screens.videos import VideosScreen


def video(name: str, prompt: str = "a cat", **made: object) -> VideoView:
    checkpoint = str(made.pop("checkpoint", "checkpoint_epoch_20"))
    return VideoView(f"outputs/{name}.mp4", 1, 0.0, prompt=prompt, checkpoint=checkpoint, settings={"seed": 0, **made})


def vote(first: str, second: str, better: str) -> Vote:
    return Vote(1.0, "a cat", "a.mp4", "b.mp4", first, second, better)


def test_contenders_are_told_by_what_differs_between_them_and_nothing_else() -> None:
    videos = [video("a", steps=20, guidance_scale=2.0), video("b", steps=20, guidance_scale=4.0)]
    assert names_of(videos) == {"outputs/a.mp4": "guidance 2", "outputs/b.mp4": "guidance 4"}
    assert names_of([video("a"), video("b", seed=3)]) == {}


def test_pairs_are_of_one_prompt_and_of_one_seed_where_there_are_such() -> None:
    videos = [
        video("a0", checkpoint="checkpoint_epoch_5"), video("b0", checkpoint="checkpoint_epoch_9"),
        video("b1", checkpoint="checkpoint_epoch_9", seed=1), video("dog", "a dog", checkpoint="checkpoint_epoch_9"),
    ]  # fmt: skip
    pairs = pairs_of(videos, Random(0))
    assert [{pair.first.name, pair.second.name} for pair in pairs] == [{"a0.mp4", "b0.mp4"}]
    without_twin = [videos[0], videos[2], videos[3]]
    assert [{pair.first.name, pair.second.name} for pair in pairs_of(without_twin, Random(0))] == [{"a0.mp4", "b1.mp4"}]


def test_neither_side_belongs_to_a_contender() -> None:
    videos = [video(f"{name}{seed}", checkpoint=name, seed=seed) for name in ("x", "y") for seed in range(100)]
    firsts = [pair.first_is for pair in pairs_of(videos, Random(1))]
    assert 30 < firsts.count("x") < 70


def test_the_tally_counts_ties_as_halves_and_leaves_out_others(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for one in [vote("x", "y", FIRST)] * 6 + [vote("y", "x", SECOND)] + [vote("x", "y", SAME)] * 2 + [
        vote("x", "y", SECOND), vote("x", "z", SECOND)
    ]:  # fmt: skip
        keep_vote(workspace, one)
    with file_of(workspace).open("ab") as file:
        file.write(b'{"torn": \n')
    best, other = tally(read_votes(workspace), ["x", "y"])
    assert (best.name, best.better, best.worse, best.same) == ("x", 7, 1, 2)
    assert best.share == pytest.approx(0.8)
    assert (best.low, best.high) == (pytest.approx(0.490, abs=1e-3), pytest.approx(0.943, abs=1e-3))
    assert other.share == pytest.approx(0.2)


def test_favourites_are_turned_and_a_broken_file_is_none(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert turn_favourites(workspace, ["a", "b"]) == {"a", "b"}
    assert turn_favourites(workspace, ["b", "c"]) == {"a", "b", "c"}
    assert turn_favourites(workspace, ["b", "c"]) == {"a"}
    favourites_file(workspace).write_text("{broken")
    assert read_favourites(workspace) == frozenset()


@on_screen
async def test_a_favourite_has_a_star_is_found_by_it_and_is_named_before_it_goes(tmp_path: Path) -> None:
    workspace = results(tmp_path)
    state = state_of(workspace, host="local")
    app = CockpitApp(workspace, services=None, state=state, now=lambda: NOW, first="videos")
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: isinstance(app.screen, VideosScreen) and len(app.screen.rows) == 5)
        screen = app.screen
        assert isinstance(screen, VideosScreen)
        await pilot.press("j", "f")
        await eventually(pilot, lambda: len(screen.here.favourites) == 1)
        await eventually(pilot, lambda: str(screen.table.cells_at(1)[2]).startswith("★ "))
        await pilot.press("slash", *"is:favourite", "enter")
        await eventually(pilot, lambda: len(screen.rows) == 1)
        await pilot.press("D")
        await eventually(pilot, lambda: isinstance(app.screen, Confirm))
        assert isinstance(app.screen, Confirm)
        assert "★ a favourite" in app.screen.question.lines[1]


@on_screen
async def test_two_checkpoints_are_compared_blindly_and_the_answers_are_kept(tmp_path: Path) -> None:
    for epoch in (5, 20):
        for seed in (0, 1):
            add_video(tmp_path, f"e{epoch}-{seed}.mp4", "a red square", epoch=epoch, seed=seed)
    workspace = Workspace(tmp_path)
    app = CockpitApp(workspace, services=None, state=state_of(workspace, host="local"), now=lambda: NOW, first="videos")
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: isinstance(app.screen, VideosScreen) and len(app.screen.rows) == 4)
        await pilot.press("b")
        await eventually(pilot, lambda: isinstance(app.screen, BlindPanel))
        panel = app.screen
        assert isinstance(panel, BlindPanel)
        assert len(panel.pairs) == 2
        await eventually(pilot, lambda: all(player.film is not None for player in panel._players()))
        seen = app.export_screenshot()
        assert (
            "epoch" not in seen.replace("checkpoint_epoch", "epoch").partition("of 2")[2].partition("the left one")[0]
        )
        better = [FIRST if pair.first_is == "checkpoint_epoch_20" else SECOND for pair in panel.pairs]
        await pilot.press("1" if better[0] == FIRST else "2")
        await eventually(pilot, lambda: panel.at == 1)
        await pilot.press("1" if better[1] == FIRST else "2")
        await eventually(pilot, lambda: "checkpoint_epoch_20  better 2 of 2" in str(panel.query_one("#tally").render()))
        assert {one.better for one in read_votes(workspace)} <= {FIRST, SECOND}
        assert len(read_votes(workspace)) == 2
        await pilot.press("escape")
        await eventually(pilot, lambda: isinstance(app.screen, VideosScreen))


@on_screen
async def test_videos_that_differ_in_their_seed_alone_are_no_contest(tmp_path: Path) -> None:
    for seed in (0, 1):
        add_video(tmp_path, f"{seed}.mp4", "a red square", seed=seed)
    workspace = Workspace(tmp_path)
    app = CockpitApp(workspace, services=None, state=state_of(workspace, host="local"), now=lambda: NOW, first="videos")
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: isinstance(app.screen, VideosScreen) and len(app.screen.rows) == 2)
        await pilot.press("b")
        said = "there are no two videos of one prompt that differ in more than their seed"
        await eventually(pilot, lambda: any(said in str(one.title) for one in app._notifications))
