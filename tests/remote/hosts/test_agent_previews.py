"""Small frames of a video, made by the engine of the host that has it."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engine.results_world import add_video
from support.hosts.agent_here import Here, agent

from remote.errors import JobNotFound, Refused
from t2v_core.data.video.decode import read_all_frames
from t2v_tui.widgets.video.film import film_of


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    with agent() as one:
        yield Here(tmp_path, one)


def preview_of(here: Here, path: str, **asked: int) -> bytes:
    import base64

    said = here.call("preview", path=path, python=[sys.executable], **asked)
    return zlib.decompress(base64.b64decode(said["data"]))


def test_a_few_frames_stand_for_the_whole_video_and_last_as_long(here: Here) -> None:
    video = add_video(here.workspace, "a b'; rm -rf $HOME.mp4", "a red square")
    film = film_of(preview_of(here, f"outputs/{video.name}", width=32, height=32, frames=4), video)
    assert (film.width, film.height, len(film.frames), film.source) == (32, 32, 4, (64, 64))
    assert film.seconds == pytest.approx(1.0)
    whole = read_all_frames(video).frames
    rows = [frame[16 * 32 * 3 : 17 * 32 * 3 : 3] for frame in film.frames]  # the red of the middle row
    reds = [sum(x for x in range(32) if row[x] > 128) / sum(red > 128 for red in row) for row in rows]
    assert len(whole) == 8
    assert reds == sorted(reds)
    assert reds[0] < reds[-1]  # the square goes to the right


def test_no_preview_is_larger_than_one_may_be_whatever_is_asked(here: Here) -> None:
    add_video(here.workspace, "one.mp4", "a red square")
    film = film_of(preview_of(here, "outputs/one.mp4", width=5000, height=5000, frames=999), Path("one.mp4"))
    assert film.width <= 128
    assert len(film.frames) <= 12


def test_what_is_no_video_says_so_in_the_engine_s_words(here: Here) -> None:
    (here.workspace / "outputs").mkdir()
    (here.workspace / "outputs/torn.mp4").write_bytes(b"half a vid")
    said = json.loads(preview_of(here, "outputs/torn.mp4").partition(b"\n")[0])
    assert "torn.mp4 cannot be read" in said["error"]


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"path": "outputs/gone.mp4", "python": [sys.executable]}, JobNotFound, "there is no file"),
        ({"path": "one.mp4", "python": []}, Refused, "neither a Python"),
        ({"path": "one.mp4", "python": ["/nonexistent/python"]}, JobNotFound, "made no preview"),
        ({"path": "one.mp4", "python": ["/bin/true"]}, JobNotFound, "made no preview"),
        ({"path": "one.mp4", "python": [sys.executable], "width": 1}, Refused, "two pixels"),
    ],
)
def test_what_cannot_be_made_is_a_sentence(
    here: Here, asked: dict[str, object], error: type[Exception], words: str
) -> None:
    (here.workspace / "one.mp4").write_bytes(b"x")
    with pytest.raises(error, match=words):
        here.call("preview", **asked)
