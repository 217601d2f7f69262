"""torchrun's agent with small programs for ranks: one log, signals to all, one end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from t2v_core.processes.elastic import Died, Ranks


def run(
    tmp_path: Path, program: str, size: int, attend: Callable[[Path], signal.Signals | None] = lambda _: None
) -> tuple[list[Died], list[str]]:
    """How they ended, and the log; a rank finds its number in RANK and a folder for files in its argument."""
    (tmp_path / "pipes").mkdir()
    source = f"import os, signal, sys, time\nrank = int(os.environ['RANK'])\n{program}"
    before = os.dup(1), os.dup(2)
    try:
        with (tmp_path / "log").open("wb") as log:
            for stream in (1, 2):
                os.dup2(log.fileno(), stream)
        ranks = Ranks([sys.executable, "-c", source, str(tmp_path)], size, tmp_path / "pipes")
        died = ranks.run(lambda: attend(tmp_path))
    finally:
        for stream, own in zip((1, 2), before, strict=True):
            os.dup2(own, stream)
            os.close(own)
    return died, (tmp_path / "log").read_text().splitlines()


def test_the_log_has_the_rank_before_every_line_but_the_first_one_s(tmp_path: Path) -> None:
    program = "for line in range(200): print(f'{rank}:{line}', file=(sys.stdout, sys.stderr)[line % 2], flush=True)"
    died, lines = run(tmp_path, program, 3)
    assert died == []
    for rank, prefix in ((0, ""), (1, "[rank 1] "), (2, "[rank 2] ")):
        assert [line for line in lines if f"{rank}:" in line] == [f"{prefix}{rank}:{line}" for line in range(200)]


def test_the_last_words_of_one_that_is_killed_are_in_the_log(tmp_path: Path) -> None:
    program = (
        "if rank == 1:\n"
        "    print('half a line', end='', flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
        "signal.pause()"
    )
    died, lines = run(tmp_path, program, 2)
    assert died[0] == Died(1, -signal.SIGKILL)
    assert "[rank 1] half a line" in lines


def test_a_signal_reaches_all_of_them_and_each_ends_as_it_wants(tmp_path: Path) -> None:
    program = (
        "signal.signal(signal.SIGINT, lambda *_: (print('asked', flush=True), sys.exit(0)))\n"
        "open(f'{sys.argv[1]}/ready{rank}', 'w').close()\n"
        "while True: signal.pause()"
    )
    told = []

    def attend(folder: Path) -> signal.Signals | None:
        if told or len(list(folder.glob("ready*"))) < 2:
            return None
        told.append(signal.SIGINT)
        return signal.SIGINT

    died, lines = run(tmp_path, program, 2, attend)
    assert (died, sorted(lines)) == ([], ["[rank 1] asked", "asked"])


def test_what_the_caller_raises_kills_them_all(tmp_path: Path) -> None:
    def attend(folder: Path) -> None:
        if len(list(folder.glob("ready*"))) == 2:
            raise KeyboardInterrupt

    program = "open(f'{sys.argv[1]}/ready{rank}', 'w').write(str(os.getpid()))\nwhile True: signal.pause()"
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, program, 2, attend)
    for file in tmp_path.glob("ready*"):
        assert not Path(f"/proc/{file.read_text()}").exists()
