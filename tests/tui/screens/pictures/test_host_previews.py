"""Videos of a host are seen without being brought here: a few small frames, made there, kept here."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest
from support.engine.results_world import add_checkpoint, add_video
from support.hosts.far_host import Far
from support.screen.far_app import app_with_host
from support.screen.in_terminal import eventually, on_screen

from t2v_core.errors import WorkFailed
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.library import previews
from t2v_tui.library.previews import Seen, kept, unpacked
from t2v_tui.screens.checkpoints import CheckpointsScreen
from t2v_tui.screens.videos import VideosScreen
from t2v_tui.widgets.video.player import Player


def previews_kept(far: Far) -> list[Path]:
    return list((far.here.root / ".t2v/tui/previews").glob("*"))


@on_screen
async def test_a_video_of_the_host_is_seen_and_played_without_a_pull_and_again_with_the_host_gone(far: Far) -> None:
    add_video(far.there, "a-red-square-7.mp4", "a red square", seed=7)
    async with app_with_host(far, "videos", CockpitApp) as (pilot, app):
        screen = app.screen
        assert isinstance(screen, VideosScreen)
        screen.read_anew()
        await eventually(pilot, lambda: screen.previews.shown is not None)
        film = screen.player.film
        assert film is not None
        assert len(film.frames) == 8
        assert film.source == (64, 64)
        assert "8 small frames made on vm" in str(screen.query_one("#show").border_subtitle)
        await pilot.press("space")
        await eventually(pilot, lambda: screen.player.picture.frame > 0)
        await pilot.press("c")
        await eventually(pilot, lambda: screen.sheet._film_of(screen.sheet.cards[0]) is not None)
    assert not list((far.here.root / "outputs").glob("*.mp4"))
    assert len(previews_kept(far)) == 1
    far.sshd.kill()
    async with app_with_host(far, "videos", CockpitApp) as (pilot, app):
        again = app.screen
        assert isinstance(again, VideosScreen)
        again.read_anew()
        await eventually(pilot, lambda: again.previews.shown is not None)
        assert [video.path for video in again.rows] == ["outputs/a-red-square-7.mp4"]


@on_screen
async def test_a_video_that_cannot_be_read_there_says_why_and_is_asked_again_when_it_changed(far: Far) -> None:
    (far.there / "outputs").mkdir()
    (far.there / "outputs/torn.mp4").write_bytes(b"half a video")
    async with app_with_host(far, "videos", CockpitApp) as (pilot, app):
        screen = app.screen
        assert isinstance(screen, VideosScreen)
        screen.read_anew()
        await eventually(pilot, lambda: "cannot be read" in screen.player._sentence)
        assert "p   brings it here" in screen.player._sentence
        assert not previews_kept(far)
        add_video(far.there, "torn.mp4", "a red square")
        screen.read_anew()
        await eventually(pilot, lambda: screen.player.film is not None)


@on_screen
async def test_samples_of_a_checkpoint_of_the_host_are_seen_beside_it(far: Far) -> None:
    add_checkpoint(far.there, 15, loss=0.1)
    add_video(far.there, "samples/checkpoint_epoch_15/0.mp4", "a red square", epoch=15)
    async with app_with_host(far, "checkpoints", CockpitApp) as (pilot, app):
        screen = app.screen
        assert isinstance(screen, CheckpointsScreen)
        screen.read_anew()
        await eventually(pilot, lambda: screen.query_one(Player).film is not None)
        assert "video 1 of 1 on vm" in str(screen.query_one("#samples").border_title)


def test_those_that_were_looked_at_last_stay_within_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "KEPT_BYTES", 250)
    folder = tmp_path / ".t2v/tui/previews"
    folder.mkdir(parents=True)
    for age, name in enumerate(("new", "middle", "old")):
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (1000 - age, 1000 - age))
    previews._make_room(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["middle", "new"]


def test_what_is_damaged_or_far_too_large_is_no_preview(tmp_path: Path) -> None:
    for data in (b"", b"no zlib", zlib.compress(b"x")[:-3], zlib.compress(bytes(previews.MOST_BYTES + 1))):
        with pytest.raises(WorkFailed):
            unpacked(data)
    seen = Seen("vm", "outputs/a.mp4", 1, 2.0)
    assert kept(Workspace(tmp_path), seen) is None
    file = previews._file(Workspace(tmp_path), seen)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"damaged")
    assert kept(Workspace(tmp_path), seen) is None
