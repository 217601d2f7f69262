"""Videos in the terminal: decoded by the engine's child, drawn in half blocks, played; on real files."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.screen.in_terminal import eventually, on_screen
from textual.app import App, ComposeResult
from textual.widgets import Static

from t2v_core.data.video.frames import write_video
from t2v_core.data.video.preview import small_size
from t2v_core.errors import EngineError
from t2v_tui.widgets.video.film import Shelf, decode
from t2v_tui.widgets.video.half_blocks import LEVELS, QUANTISED, quantise, strips_of
from t2v_tui.widgets.video.player import Player

PREVIEW = (sys.executable, "-m", "t2v_core.data.video.preview")


def ramp(path: Path, *, frames: int = 8, height: int = 64, width: int = 64, fps: float = 8.0) -> Path:
    """A video whose frames get brighter, red on the left half and blue on the right."""
    video = np.zeros((frames, height, width, 3), np.uint8)
    for number in range(frames):
        video[number, :, : width // 2, 0] = 255 * (number + 1) // frames
        video[number, :, width // 2 :, 2] = 255 * (number + 1) // frames
    write_video(path, video, fps=fps, crf=0)
    return path


class Showing(App[None]):
    """A screen with one player."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.player = Player(empty="Nothing chosen.", is_remote=False, **options)

    def compose(self) -> ComposeResult:
        yield self.player

    @property
    def said(self) -> str:
        return str(self.player.query_one(Static).content)

    def colours(self, y: int, x: int) -> tuple[int, ...]:
        """Of the upper pixel of a cell of the picture."""
        picture = self.player.picture
        assert picture.film is not None
        strip = picture.film.strips(picture.frame)[y]
        for segment in strip.crop(x, x + 1):
            assert segment.style is not None
            assert segment.style.color is not None
            return tuple(segment.style.color.get_truecolor())
        raise AssertionError


# The child


@pytest.mark.parametrize(
    ("source", "box", "size"),
    [
        ((64, 64), (128, 128), (64, 64)),  # never larger than it is
        ((256, 256), (64, 128), (64, 64)),
        ((320, 240), (64, 128), (64, 48)),
        ((320, 240), (128, 30), (40, 30)),
        ((240, 320), (64, 64), (48, 64)),
        ((1920, 1080), (64, 128), (64, 36)),
        ((63, 31), (64, 128), (63, 32)),  # rows are even
        ((1000, 2), (10, 10), (10, 2)),
    ],
)
def test_a_picture_keeps_its_proportions_and_fits(
    source: tuple[int, int], box: tuple[int, int], size: tuple[int, int]
) -> None:
    assert small_size(*source, box) == size


def test_the_child_writes_a_header_and_the_frames_themselves(tmp_path: Path) -> None:
    path = ramp(tmp_path / "ramp.mp4", frames=3)
    done = subprocess.run([*PREVIEW, path, "32"], capture_output=True, check=True)
    line, _, pixels = done.stdout.partition(b"\n")
    assert json.loads(line) == {"width": 32, "height": 32, "frames": 3, "fps": 8.0, "source": [64, 64]}
    frames = np.frombuffer(pixels, np.uint8).reshape(3, 32, 32, 3).astype(int)
    assert abs(frames[2, 16, 4] - [255, 0, 0]).max() < 12
    assert abs(frames[0, 16, 28] - [0, 0, 85]).max() < 12


def test_the_child_says_in_a_sentence_what_it_cannot_read(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    done = subprocess.run([*PREVIEW, broken, "32"], capture_output=True, check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"].startswith("broken.mp4 cannot be read: ")
    assert done.stderr == b""


def test_without_a_decoder_the_child_says_what_to_install(tmp_path: Path) -> None:
    path = ramp(tmp_path / "ramp.mp4", frames=2)
    program = "import sys; sys.modules['av'] = None; "
    program += "from t2v_core.data.video.preview import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", program, path, "32"], capture_output=True, check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout) == {
        "error": "videos cannot be shown: Python has no module av",
        "hint": "pip install 't2v[engine]'",
    }


def test_a_python_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="videos cannot be shown: /nowhere/python does not start"):
        asyncio.run(decode(ramp(tmp_path / "ramp.mp4", frames=2), (32, 32), python="/nowhere/python"))


def test_a_film_is_decoded_again_only_when_its_file_changed(tmp_path: Path) -> None:
    shelf, path = Shelf(), ramp(tmp_path / "ramp.mp4", frames=2)

    async def twice() -> None:
        first = await shelf.film(path, (32, 32))
        assert await shelf.film(path, (32, 32)) is first
        ramp(path, frames=4)
        assert len((await shelf.film(path, (32, 32))).frames) == 4

    asyncio.run(twice())


# Half blocks


def test_colours_have_eight_levels_and_black_and_white_stay() -> None:
    assert len(set(QUANTISED)) == LEVELS
    assert (QUANTISED[0], QUANTISED[255]) == (0, 255)
    assert max(abs(value - QUANTISED[value]) for value in range(256)) <= 18


def test_two_pixels_share_a_character_and_equal_ones_a_segment() -> None:
    red, blue, white = b"\xff\x00\x00", b"\x00\x00\xff", b"\xff\xff\xff"
    frame = quantise(red * 3 + white + blue * 3 + white)
    (strip,) = strips_of(frame, 4)
    assert [segment.text for segment in strip] == ["▀▀▀", "▀"]
    style = next(iter(strip)).style
    assert style is not None
    assert style.color is not None
    assert style.bgcolor is not None
    assert (tuple(style.color.get_truecolor()), tuple(style.bgcolor.get_truecolor())) == ((255, 0, 0), (0, 0, 255))


# The player


@on_screen
async def test_a_video_is_still_at_first_and_space_plays_it(tmp_path: Path) -> None:
    path = ramp(tmp_path / "ramp.mp4")
    app = Showing()
    async with app.run_test(size=(80, 40)) as pilot:
        assert app.said == "Nothing chosen."
        app.player.show(path)
        app.player.focus()
        await eventually(pilot, lambda: app.player.film is not None)
        assert (app.player.picture.frame, app.player.is_playing) == (0, False)
        dark = app.colours(8, 4)
        await pilot.press("space")
        await eventually(pilot, lambda: app.player.picture.frame >= 6)
        assert app.colours(8, 4)[0] > dark[0]
        await pilot.press("space")
        frame = app.player.picture.frame
        await pilot.press("full_stop")
        assert app.player.picture.frame == (frame + 1) % 8
        assert not app.player.is_playing


@on_screen
async def test_the_picture_is_on_the_screen_in_its_colours(tmp_path: Path) -> None:
    app = Showing()
    async with app.run_test(size=(80, 40)) as pilot:
        app.player.show(ramp(tmp_path / "ramp.mp4", frames=1))
        await eventually(pilot, lambda: app.player.film is not None)
        await pilot.pause()
        area = app.player.picture.area
        strips = app.screen._compositor.render_strips()
        cells = list(strips[area.y + 3].crop(area.x, area.x + 64))
        assert "".join(segment.text for segment in cells) == "▀" * 64
        assert cells[0].style is not None
        assert cells[0].style.color is not None
        assert tuple(cells[0].style.color.get_truecolor()) == (255, 0, 0)


@on_screen
async def test_over_ssh_pictures_are_small_and_slow(tmp_path: Path) -> None:
    app = App[None]()
    async with app.run_test(size=(160, 80)) as pilot:
        player = Player(is_remote=True)
        await app.mount(player)
        player.show(ramp(tmp_path / "ramp.mp4", height=256, width=256, frames=2))
        await eventually(pilot, lambda: player.film is not None)
        assert player.film is not None
        assert player.film.width == 64
        assert player.most_fps == 5


@on_screen
async def test_a_video_that_cannot_be_read_is_a_sentence_in_its_place(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    app = Showing()
    async with app.run_test(size=(80, 24)) as pilot:
        app.player.show(broken)
        await eventually(pilot, lambda: app.said.startswith("broken.mp4 cannot be read"))
        app.player.show(tmp_path / "gone.mp4")
        await eventually(pilot, lambda: app.said.startswith("gone.mp4 is not here"))


@on_screen
async def test_a_resized_player_decodes_for_its_new_size(tmp_path: Path) -> None:
    app = Showing()
    async with app.run_test(size=(120, 70)) as pilot:
        app.player.show(ramp(tmp_path / "ramp.mp4", height=256, width=256, frames=2))
        await eventually(pilot, lambda: app.player.film is not None and app.player.film.width == 120)
        await pilot.resize_terminal(40, 10)
        await eventually(pilot, lambda: app.player.film is not None and app.player.film.height == 20)
        await pilot.resize_terminal(3, 1)
        await pilot.resize_terminal(80, 24)
        await eventually(pilot, lambda: app.player.film is not None and app.player.film.height == 48)


@on_screen
async def test_letters_stand_for_colours_where_there_are_none(tmp_path: Path) -> None:
    app = Showing(letters=True)
    async with app.run_test(size=(80, 40)) as pilot:
        app.player.show(ramp(tmp_path / "ramp.mp4", frames=1))
        await eventually(pilot, lambda: app.player.film is not None)
        await pilot.pause()
        line = app.player.picture.render_lines(app.player.picture.size.region)[20].text
        assert set(line.strip()) <= set(" .:-=+*#%@")
        assert line.strip()


@on_screen
async def test_a_video_that_is_left_while_it_is_decoded_leaves_no_process(tmp_path: Path) -> None:
    path = ramp(tmp_path / "ramp.mp4", frames=100, height=256, width=256)
    task = asyncio.create_task(decode(path, (128, 128)))
    while not (decoding := decoders_of(path)):
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert decoders_of(path) == []
    assert not any(pid in children() for pid in decoding)


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def decoders_of(video: Path) -> list[str]:
    """Children whose command line names that video."""
    return [pid for pid in children() if os.fsencode(video) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
