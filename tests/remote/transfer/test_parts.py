"""A file on its way: its journal, its intervals, and who may give it its name."""

from __future__ import annotations

import random
from pathlib import Path

from remote.agent.transfer.parts import PART, Part, PrefixHash, merged, missing, read_journal


def test_intervals_that_are_there_and_those_that_are_missing_make_the_whole() -> None:
    draw = random.Random(2)
    for _ in range(300):
        size, ranges = draw.randrange(1, 200), draw.randrange(1, 50)
        there = [tuple(sorted((draw.randrange(size + 1), draw.randrange(size + 1)))) for _ in range(draw.randrange(5))]
        gaps = missing(there, size, ranges)
        have = {byte for begin, end in there for byte in range(begin, end)}
        lack = [byte for begin, end in gaps for byte in range(begin, end)]
        assert sorted(lack) == sorted(set(range(size)) - have)
        assert all(0 < end - begin <= ranges for begin, end in gaps)
        assert sum(end - begin for begin, end in merged(there)) == len(have)


def test_a_journal_that_is_torn_or_somebody_elses_is_believed_as_far_as_it_holds(tmp_path: Path) -> None:
    part = Part(tmp_path / "film.mp4", "one", 100)
    part.write(0, b"a" * 60)
    part.done(0, 60)
    part.close()
    with part.journal.open("ab") as file:
        file.write(b"[60,9")
    assert read_journal(part.journal, "one", 100) == [(0, 60)]
    assert read_journal(part.journal, "another", 100) is None
    for line in (b"[5,1]\n", b"[-1,5]\n", b"[0,101]\n", b"{}\n", b"x\n", b"[1.5,2]\n"):
        with part.journal.open("ab") as file:
            file.write(b"\n" + line)
    assert read_journal(part.journal, "one", 100) == [(0, 60)]
    again = Part(tmp_path / "film.mp4", "one", 100)
    again.open()
    assert missing(again.there, 100, 1000) == [(60, 100)]
    taken = PrefixHash(again)
    assert (taken.advance(), taken.is_whole) == (60, False)
    again.close()
    other = Part(tmp_path / "film.mp4", "another", 100)
    other.open()
    assert other.there == []
    other.close()


def test_a_part_is_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / f"film.mp4{PART}").symlink_to(tmp_path / "precious")
    part = Part(tmp_path / "film.mp4", "one", 3)
    part.write(0, b"new")
    part.done(0, 3)
    part.land()
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "film.mp4").read_bytes() == b"new"


def test_a_thread_that_comes_late_begins_nothing_anew(tmp_path: Path) -> None:
    part = Part(tmp_path / "film.mp4", "one", 3)
    part.write(0, b"new")
    part.done(0, 3)
    part.land()
    part.write(0, b"old")
    part.done(0, 3)
    part.sync()
    assert part.read(0, 3) == b""
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]
    assert (tmp_path / "film.mp4").read_bytes() == b"new"
