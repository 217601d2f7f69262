"""Real pictures: what a terminal is sent that has said that it can show them, and what one is that has not."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.house.under_load import slowed
from support.screen.pixel_terminal import PixelTerminal, pixel_terminal
from support.screen.tmux_here import tmux

from t2v_core.data.video.frames import write_video
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace
from t2v_tui.settings import read_tui
from t2v_tui.terminal import Replies, Terminal, Way
from t2v_tui.widgets.video.kitty import PLACEHOLDER, marks
from t2v_tui.widgets.video.sixel import sixels_of

SIXEL = re.compile(rb"\x1b\[(\d+);(\d+)H\x1bP0;1;0q(.*?)\x1b\\", re.DOTALL)
SHOWN_BY = re.compile(rf"38;5;(\d+)[^m]*m{PLACEHOLDER}(.)(.)(.)")
FRAMES = 6


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of 128×128, each brighter, red on the left and blue on the right."""
    path = tmp_path_factory.mktemp("video") / "ramp.mp4"
    pixels = np.zeros((FRAMES, 128, 128, 3), np.uint8)
    for number in range(FRAMES):
        pixels[number, :, :64, 0] = pixels[number, :, 64:, 2] = 255 * (number + 1) // FRAMES
    write_video(path, pixels, fps=12.0, crf=0)
    return path


@contextmanager
def showing(kind: str, *videos: Path, wanted: str = "auto", **options: object) -> Iterator[PixelTerminal]:
    argv = [sys.executable, "-m", "support.screen.one_video", wanted, *map(str, videos)]
    with pixel_terminal(kind, argv, env={"PYTHONPATH": "tests:."}, **options) as one:
        yield one


def selected(one: PixelTerminal) -> list[int]:
    """The frames it was told to turn to, by their numbers in the terminal."""
    return [int(keys["c"]) for keys, _ in one.graphics if keys.get("a") == "a"]


def test_kitty_is_sent_each_frame_once_and_then_only_its_number(video: Path) -> None:
    with showing("kitty", video) as one:
        one.wait_until(lambda: PLACEHOLDER.encode() in one.received)
        (first,) = one.frames()
        assert (first[0]["s"], first[0]["v"], first[0]["f"]) == ("128", "128", "24")
        placed = next(keys for keys, _ in one.graphics if keys.get("a") == "p")
        # 24 lines of 20 pixels and 80 columns of 10 have room for a square of 480 pixels.
        assert (placed["U"], placed["c"], placed["r"]) == ("1", "48", "24")
        one.type(b"p")
        one.wait_until(lambda: was_played(one))
        one.type(b"p")
        frames = one.frames()
    assert len(frames) == FRAMES
    assert {keys["i"] for keys, _ in frames} == {placed["i"]}
    assert [keys["a"] for keys, _ in frames] == ["t"] + ["f"] * (FRAMES - 1)
    assert set(selected(one)) == set(range(1, FRAMES + 1))
    assert max(brightness_of(one)) > 240


def brightness_of(one: PixelTerminal) -> list[int]:
    """Of its frames, in the order in which they were sent: a machine that is late passes some over at first."""
    return [int(np.frombuffer(rgb, np.uint8).reshape(128, 128, 3)[64, 32, 0]) for _, rgb in one.frames()]


def was_played(one: PixelTerminal) -> bool:
    """Whether it was told all frames one after the other, in their order, at least once; and a while has passed."""
    sent, numbers = brightness_of(one), selected(one)
    if len(sent) < FRAMES or len(numbers) < 3 * FRAMES:
        return False
    shown = [sent[number - 1] for number in numbers]
    return any(shown[at : at + FRAMES] == sorted(sent) for at in range(len(shown) - FRAMES + 1))


def test_the_characters_that_stand_for_a_picture_name_it_and_their_place(video: Path) -> None:
    with showing("kitty", video) as one:
        one.wait_until(lambda: one.received.count(PLACEHOLDER.encode()) >= 48 * 24)
        text = one.received.decode(errors="replace")
        image = int(one.frames()[0][0]["i"])
    colour, row, column, number = SHOWN_BY.findall(text)[0]
    assert (marks().index(number) << 24 | int(colour), row, column) == (image, marks()[0], marks()[0])
    cells = {(marks().index(a), marks().index(b)) for a, b in re.findall(f"{PLACEHOLDER}(.)(.)", text)}
    assert cells == {(y, x) for y in range(24) for x in range(48)}


def test_where_frames_have_no_numbers_each_is_a_picture_sent_once(video: Path) -> None:
    with showing("ghostty", video) as one:
        one.wait_until(one.frames)
        one.type(b"p")
        one.wait_until(lambda: len(one.frames()) == FRAMES)
        seen = len(one.received)
        one.wait_until(lambda: one.received.count(PLACEHOLDER.encode(), seen) > 2 * FRAMES * 48 * 24)
        frames = one.frames()
    assert len({keys["i"] for keys, _ in frames}) == len(frames) == FRAMES
    assert selected(one) == []


def test_a_sixel_terminal_is_sent_sixels_where_the_picture_is(video: Path) -> None:
    with showing("xterm", video) as one:
        one.wait_until(lambda: SIXEL.search(one.received))
        found = SIXEL.search(one.received)
        assert found is not None
        assert (int(found[1]), int(found[2])) == (1, 17)
        assert found[3].startswith(b'"1;1;480;480')
        assert "▀".encode() not in one.received[found.start() :]
        one.type(b"p")
        one.wait_until(lambda: len({frame for _, _, frame in SIXEL.findall(one.received)}) == FRAMES)
        one.type(b"p")


def test_under_a_notice_the_picture_is_of_half_blocks_and_nothing_is_drawn_over_it(video: Path) -> None:
    with showing("xterm", video, size=(60, 20)) as one:
        one.wait_until(lambda: SIXEL.search(one.received))
        one.type(b"p")
        one.wait_until(lambda: len(SIXEL.findall(one.received)) > 2)
        one.type(b"n")
        one.wait_until(lambda: b"something happened" in one.received)
        at = one.received.index(b"something happened")
        one.wait_until(lambda: one.received.count("▀".encode(), at) > 1000)
        assert len(SIXEL.findall(one.received[at:])) <= 1


def test_iterm2_is_sent_its_own_pictures(video: Path) -> None:
    with showing("iterm2", video) as one:
        one.wait_until(lambda: b"]1337;File=" in one.received)
        head = re.search(rb"1337;File=([^:]*):(iVBOR\w*)", one.received)
        assert head is not None
        assert b"inline=1" in head[1]
        assert b"width=48;height=24" in head[1]


@pytest.mark.parametrize("kind", ["plain", "wezterm"])
def test_kittys_protocol_goes_to_nobody_who_does_not_know_all_of_it(video: Path, kind: str) -> None:
    with showing(kind, video) as one:
        said = "▀".encode() if kind == "plain" else b"1337;File="
        one.wait_until(lambda: said in one.received)
        assert one.frames() == []
        assert not SIXEL.search(one.received)


def test_a_setting_holds_whatever_the_terminal_says(video: Path) -> None:
    with showing("kitty", video, wanted="blocks") as one:
        one.wait_until(lambda: "▀".encode() in one.received)
        assert one.graphics == []
        assert b"\x1b[>q" not in one.received


def test_a_way_that_does_not_exist_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "t2v.toml").write_text('[tui]\npictures = "kity"\n')
    with pytest.raises(InvalidRequest, match="pictures = 'kity': one of auto, kitty, sixel") as refused:
        read_tui(Workspace(tmp_path))
    assert refused.value.hint == "did you mean 'kitty'?"


def test_what_the_terminal_answers_is_no_key_and_its_memory_is_freed_at_the_end(video: Path) -> None:
    with showing("kitty", video) as one:
        one.wait_until(one.frames)
        image = one.frames()[0][0]["i"]
        one.type(b"q")
        one.process.wait(30)
        one.wait_until(lambda: b"\x1b[?1049l" in one.received)
        deleted = [keys for keys, _ in one.graphics if keys.get("a") == "d"]
    assert [(keys["d"], keys["i"]) for keys in deleted] == [("I", image)]


def test_a_contact_sheet_shows_real_pictures_too(video: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(video.read_bytes())
    with showing("kitty", video, other) as one:
        one.wait_until(lambda: len(one.frames()) == 2)
        one.wait_until(lambda: len({keys["i"] for keys, _ in one.graphics if keys.get("a") == "p"}) == 2)
    with showing("xterm", video, other) as one:
        one.wait_until(lambda: len({(y, x) for y, x, _ in SIXEL.findall(one.received)}) == 2)
        one.type(b"\x1b[C")
        at = len(one.received)
        one.wait_until(lambda: b"other.mp4" in one.received[at:])
        assert len(SIXEL.findall(one.received)) == 2  # neither the other one nor the cursor draws a picture anew


def test_inside_tmux_the_terminal_around_it_is_asked_and_shown(video: Path, tmp_path: Path) -> None:
    settings = tmp_path / "tmux.conf"
    settings.write_text("set -g allow-passthrough on\nset -g status off\nset -g default-terminal tmux-256color\n")
    program = f"PYTHONPATH=tests:. {sys.executable} -m support.screen.one_video auto {video}"
    server = [*tmux(), "-S", str(tmp_path / "socket"), "-f", str(settings)]
    try:
        with pixel_terminal("kitty", [*server, "new-session", program]) as one:
            one.wait_until(lambda: one.received.count(PLACEHOLDER.encode()) >= 48 * 24)
            one.wait_until(lambda: any(keys.get("a") == "p" for keys, _ in one.graphics))
            assert len(one.frames()) == 1
            # While its terminal is behind, tmux throws away what comes, our frames as well, and draws all anew later.
            one.wait_until(lambda: has_settled(server))
            one.type(b"p")
            one.wait_until(lambda: len(selected(one)) > 2 * FRAMES)
            assert len(one.frames()) == FRAMES
    finally:
        subprocess.run([*server, "kill-server"], check=False, capture_output=True, timeout=30)


def has_settled(server: list[str]) -> bool:
    """Whether tmux has nothing more to draw and its terminal has all of it."""
    asked = [*server, "list-clients", "-F", "#{client_written} #{client_discarded}"]
    looks = []
    for pause_s in (0.0, slowed(0.5)):
        time.sleep(pause_s)
        looks.append(subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout)
    return looks[0] == looks[1]


# In parts


def test_sixels_that_tmux_takes_go_only_to_a_terminal_around_it_that_shows_them() -> None:
    (answer,) = Replies().taken("\x1b[?1;2;4c")[1]  # tmux 3.4 and newer, whatever is around
    outside = Terminal(cell=(10, 20)).with_reply(answer.reply)
    assert outside.way() is Way.SIXEL
    assert replace(outside, is_tmux=True).way() is Way.BLOCKS
    assert replace(outside, is_tmux=True, around_has_sixel=True).way() is Way.SIXEL


@pytest.mark.parametrize("size", [1, 2, 7, 4096])
def test_answers_are_taken_out_of_keys_in_pieces_of_any_size(size: int) -> None:
    answers = "\x1bP>|kitty(0.36.4)\x1b\\\x1b_Gi=31;OK\x1b\\\x1b[6;20;10t\x1b[?62;22c"
    typed = f"ab{answers}cd\x1b[6;5~\x1b[?2026;2$y"
    stream, rest, terminal = Replies(), "", Terminal()
    # An escape character alone is a key: of each answer the second character comes with the first.
    pairs = re.findall("\x1b.|[^\x1b]", typed, re.DOTALL)
    pieces = ["".join(pairs[at : at + size]) for at in range(0, len(pairs), size)]
    for piece in pieces:
        said, found = stream.taken(piece)
        rest += said
        for one in found:
            terminal = terminal.with_reply(one.reply)
    assert rest == "abcd\x1b[6;5~\x1b[?2026;2$y"
    assert terminal == Terminal("kitty(0.36.4)", (10, 20), has_kitty=True)
    assert terminal.way() is Way.KITTY


def test_a_sixel_picture_has_the_colours_it_was_made_of() -> None:
    left, right = bytes([255, 0, 0]) * 8, bytes([0, 0, 255]) * 8
    drawn = decoded(sixels_of((left + right) * 9, 16, 9, (32, 18)))
    assert drawn.shape == (18, 32, 3)
    assert (drawn[:, :16] == [100, 0, 0]).all()
    assert (drawn[:, 16:] == [0, 0, 100]).all()


def test_a_grey_is_mixed_of_neighbouring_colours_to_its_own_brightness() -> None:
    for value in (30, 100, 128, 200):
        mean = decoded(sixels_of(bytes([value] * 3) * 64, 8, 8, (32, 32))).mean() / 100 * 255
        assert abs(mean - value) < 6


def decoded(sixels: str) -> np.ndarray:
    """Draw them: a terminal in 20 lines."""
    size = re.search(r'"1;1;(\d+);(\d+)', sixels)
    assert size is not None
    picture = np.full((int(size[2]), int(size[1]), 3), -1)
    colours: dict[int, list[int]] = {}
    x = y = colour = 0
    for sign in re.findall(r"#[\d;]+|![\d]+.|[$-]|[?-~]", sixels.partition(size[0])[2].removesuffix("\x1b\\")):
        if sign.startswith("#"):
            colour, *parts = map(int, sign[1:].split(";"))
            if parts:
                colours[colour] = parts[1:]
        elif sign in "$-":
            x, y = 0, y + 6 * (sign == "-")
        else:
            dots, count = ord(sign[-1]) - 63, int(sign[1:-1] or 1) if sign.startswith("!") else 1
            for row in (row for row in range(6) if dots >> row & 1 and y + row < len(picture)):
                picture[y + row, x : x + count] = colours[colour]
            x += count
    assert (picture >= 0).all()
    return picture
