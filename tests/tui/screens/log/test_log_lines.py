"""Lines of a log: found by number, cleaned of what a terminal obeys, searched."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from support.screen.log_files import append, numbered

from t2v_tui.widgets.log import index as log_index
from t2v_tui.widgets.log.index import EVERY, Fate, LogIndex, count_lines
from t2v_tui.widgets.log.search import Needle, find_backward, find_forward, matching_lines
from t2v_tui.widgets.log.text import LINE_CHARACTERS, Level, clean, level_of, short_lines, shortened

# The index


def test_every_line_of_a_random_file_is_found_by_its_number_and_by_its_offset(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    lines = [b"%d " % number + b"x" * chance.choice([0, 3, 80, 700]) for number in range(4000)]
    path = tmp_path / "log"
    path.write_bytes(b"")
    index = LogIndex(path)
    text = b"\n".join(lines) + b"\n"
    at = 0
    while at < len(text):  # it grows in pieces that end anywhere
        size = chance.randrange(1, 60_000)
        append(path, text[at : at + size])
        index.grow(10**9)
        at += size
    assert (index.count, index.whole_count) == (4000, 4000)
    for number in [0, 1, EVERY - 1, EVERY, EVERY + 1, 3999, *chance.sample(range(4000), 200)]:
        assert index.line(number) == lines[number]
        assert text[index.offset_of(number) :].startswith(lines[number] + b"\n")
        assert index.line_at(index.offset_of(number)) == number
    index.close()


def test_a_page_that_was_read_half_full_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(numbered(10))
    index = LogIndex(path)
    index.grow(10**9)
    assert index.line(9) == b"line 9"
    append(path, numbered(10, 10) + b"half")
    index.grow(10**9)
    assert (index.line(19), index.line(20), index.is_torn(20)) == (b"line 19", b"half", True)
    append(path, b" whole\n")
    index.grow(10**9)
    assert (index.line(20), index.is_torn(20), index.count) == (b"half whole", False, 21)


def test_a_long_file_opens_at_its_end_and_its_numbers_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_index, "TAIL_BYTES", 4096)
    path = tmp_path / "log"
    path.write_bytes(numbered(5000))
    index = LogIndex(path)
    index.grow(10**9)
    assert index.count < 500
    assert index.line(index.count - 1) == b"line 4999"
    shift = index.take_head(count_lines(index.descriptor, 0, index.head_end))
    assert index.count == 5000
    assert index.line(shift) == b"line %d" % shift
    assert [index.line(n) for n in (0, shift - 1, 4999)] == [b"line 0", b"line %d" % (shift - 1), b"line 4999"]
    assert index.line_at(index.offset_of(shift - 1)) == shift - 1


def test_what_became_of_a_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(numbered(10))
    index = LogIndex(path)
    index.grow(10**9)
    assert index.fate() is Fate.SAME
    path.write_bytes(b"short\n")
    assert index.fate() is Fate.TRUNCATED
    path.rename(tmp_path / "log.1")
    assert index.fate() is Fate.GONE
    path.write_bytes(numbered(10))
    assert index.fate() is Fate.REPLACED


def test_a_million_lines_take_less_than_a_megabyte_of_offsets(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(numbered(1_000_000))
    index = LogIndex(path)
    counted = count_lines(index.descriptor, 0, path.stat().st_size)
    assert counted.count == 1_000_000
    assert counted.marks.itemsize * len(counted.marks) < 100_000


# The text


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07after", "after"),
        (b"\x1b]52;c;ZXZpbA==\x1b\\after", "after"),
        (b"\x1b[2J\x1b[Hgone", "gone"),
        (b"bell\x07 back\x08 null\x00", "bell back null"),
        (b"\xc2\x9b31mC1", "31mC1"),
        ("right\u202eto left".encode(), "rightto left"),
        (b"a\tb", "a       b"),
        (b"bad \xff byte", "bad � byte"),
        ("ünïcode 日本".encode(), "ünïcode 日本"),
        (b"\x1b", ""),
    ],
)
def test_a_line_holds_nothing_that_a_terminal_obeys(written: bytes, shown: str) -> None:
    assert clean(written) == shown


def test_of_a_progress_bar_the_last_state_is_shown() -> None:
    assert shortened(b" 10%\r 50%\r100%\r") == b"100%"
    hours = b"".join(b"\r%d of 99999" % step for step in range(90_000))
    assert list(short_lines([hours[i : i + 50_000] for i in range(0, len(hours), 50_000)] + [b"\n"])) == [
        b"89999 of 99999"
    ]


def test_a_line_of_megabytes_is_cut_and_says_how_much_there_is() -> None:
    (short,) = short_lines([b"y" * 100_000] * 50 + [b"\n"])
    assert short.decode() == "y" * LINE_CHARACTERS + f" … {5_000_000 - LINE_CHARACTERS:,} bytes more"


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("12:41 ERROR disk full", Level.ERROR),
        ("RuntimeError: CUDA out of memory", Level.ERROR),
        ("Traceback (most recent call last):", Level.ERROR),
        ("12:41 WARN slow", Level.WARNING),
        ("x.py:3: UserWarning: old", Level.WARNING),
        ("DEBUG x", Level.DEBUG),
        ("error rate 0.1, no warnings", Level.PLAIN),
        ("step 12390 loss 0.0831", Level.PLAIN),
    ],
)
def test_a_level_is_seen_at_the_beginning_of_a_line(text: str, level: Level) -> None:
    assert level_of(text) is level


# Finding


def test_small_letters_find_large_ones_and_large_ones_only_themselves() -> None:
    data = b"Loss\nloss\nLOSS x\nnone\n"
    assert list(matching_lines(data, 10, Needle("loss"))) == [10, 11, 12]
    assert list(matching_lines(data, 0, Needle("Loss"))) == [0]
    assert list(Needle("ss").spans("LoSS ss")) == [(2, 4), (5, 7)]


def test_the_next_and_the_last_hit_are_those_that_reading_it_all_finds(tmp_path: Path) -> None:
    path = tmp_path / "log"
    text = numbered(60_000)
    path.write_bytes(text)
    descriptor = os.open(path, os.O_RDONLY)
    for target in (b"line 3", b"line 59999", b"line 31234", b"nothing"):
        needle = Needle(target.decode())
        forward = find_forward(descriptor, needle, 0, len(text), lambda: False)
        backward = find_backward(descriptor, needle, 0, len(text), lambda: False)
        assert (-1 if forward is None else forward) == text.find(target)
        assert (-1 if backward is None else backward) == text.rfind(target)
    os.close(descriptor)
