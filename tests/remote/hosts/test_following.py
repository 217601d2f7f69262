"""Every byte of a job's log and events comes once and in order, however often the link is cut."""

from __future__ import annotations

import hashlib
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.hosts.agent_here import DEADLINE_S, WAITS, Here, open_agent
from support.hosts.agent_shared import agent_of_module, here_with_agent, whole

from remote.agent.base.streams import ByteStream
from remote.errors import AgentError, JobNotFound
from remote.hosts.agent_client import ProcessChannel, frames

shared, here = agent_of_module, here_with_agent
CUTS = 100


# Every byte once, in order


# Writes lines of varied length and rotates both files every 64 KB or so, until a file named `go` is there.
CHATTER = """
import os, pathlib, random, sys, time
folder = pathlib.Path("jobs", os.environ["T2V_JOB"])
draw = random.Random(int(sys.argv[1]))
number = {"log": 0, "events.jsonl": 0}
line = 0
while not pathlib.Path("go").exists():
    for name in number:
        with open(folder / name, "ab") as file:
            for _ in range(draw.randrange(60)):
                line += 1
                end = draw.choice([b"\\n", b"\\r", b"\\r\\n"])
                file.write(b"%d " % line + draw.randbytes(draw.randrange(200)) + end)
            size = file.tell()
        if size > draw.randrange(60_000, 68_000):
            os.rename(folder / name, folder / f"{name}.{number[name]:05d}")
            number[name] += 1
    time.sleep(0.02)
"""


def read_some(here: Here, job: str, spool: dict[str, bytearray], limit: int | None) -> dict[str, Any] | None:
    """Follow from where the spool ends; a reader that dies after `limit` bytes keeps what had arrived."""
    channel = open_agent("follow")
    offsets = {name: len(data) for name, data in spool.items()}
    try:
        for header, data in frames(channel, {"workspace": str(here.workspace), "job": job, "files": offsets}):
            if data:
                assert header["offset"] == len(spool[header["file"]])
                room = len(data) if limit is None else min(len(data), limit)
                spool[header["file"]] += data[:room]
                limit = None if limit is None else limit - room
            if limit == 0 or "end" in header:
                return header.get("end")
        raise AssertionError("a stream ended without its end")
    finally:
        channel.process.kill()
        channel.close()


def test_every_byte_comes_once_and_in_order_through_a_hundred_cuts_of_growing_rotating_files(here: Here) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    draw = random.Random(seed)
    job = here.start(CHATTER, str(seed))
    directory = here.directory(job)
    spool = {"log": bytearray(), "events.jsonl": bytearray()}
    for _ in range(CUTS):
        assert read_some(here, job, spool, draw.choice([1, 10, 1000, 8000, 30_000])) is None
    (here.workspace / "go").touch()
    end = read_some(here, job, spool, None)
    assert end is not None
    assert (end["state"], end["log_bytes"], end["events_bytes"]) == (
        "succeeded", len(spool["log"]), len(spool["events.jsonl"]),
    )  # fmt: skip
    for name, data in spool.items():
        assert hashlib.sha256(data).digest() == hashlib.sha256(whole(directory, name)).digest()


def test_what_is_written_just_before_a_rotation_is_read_before_what_comes_after(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one ")
    stream = ByteStream(tmp_path, "log", 0)
    assert stream.read(100) == b"one "
    with log.open("ab") as file:
        file.write(b"two ")
    log.rename(tmp_path / "log.00000")
    assert stream.read(100) == b"two "
    assert stream.read(100) == b""
    log.write_bytes(b"three ")
    log.rename(tmp_path / "log.00001")
    log.write_bytes(b"four")
    assert stream.read(100) + stream.read(100) == b"three four"
    assert (stream.offset, stream.read(100)) == (18, b"")


def test_what_was_written_between_two_looks_at_a_rotating_file_is_not_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one ")
    stream = ByteStream(tmp_path, "log", 0)
    assert stream.read(100) == b"one "
    too_early, really = [b""], ByteStream._read  # the first look comes before the writer's last words and the rotation
    monkeypatch.setattr(ByteStream, "_read", lambda self, size: too_early.pop() if too_early else really(self, size))
    with log.open("ab") as file:
        file.write(b"two ")
    log.rename(tmp_path / "log.00000")
    log.write_bytes(b"three")
    assert [stream.read(100), stream.read(100)] == [b"two ", b"three"]


def test_an_offset_beyond_the_end_is_refused_and_an_ended_job_ends_at_once(here: Here) -> None:
    job = here.start("print('short')")
    here.end_of(job)
    where = {"workspace": str(here.workspace), "job": job}
    said = list(frames(open_agent("follow"), where | {"files": {"log": 6, "events.jsonl": 0}}))
    assert [header["end"]["state"] for header, _ in said] == ["succeeded"]
    with pytest.raises(AgentError, match="log has 6 bytes, and 7 are reported as read already"):
        list(frames(open_agent("follow"), where | {"files": {"log": 7}}))
    with pytest.raises(JobNotFound):
        list(frames(open_agent("follow"), where | {"job": "nobody", "files": {"log": 0}}))


def test_a_line_is_there_within_fifty_milliseconds(here: Here) -> None:
    program = "import os\nfor _ in range(60):\n    time.sleep(0.02)\n    os.write(1, b'%f\\n' % time.time())"
    job = here.start(WAITS.replace("sys.exit(int(sys.argv[1]))", program))
    lags: list[float] = []
    parameters = {"workspace": str(here.workspace), "job": job, "files": {"log": 0}}
    stream = frames(open_agent("follow"), parameters)
    first = b""
    while not first.endswith(b"\n"):  # print writes the words and the end of the line one after the other
        first += next(data for _, data in stream)
    assert first == b"at work\n"
    (here.workspace / "go").touch()
    for _, data in stream:
        lags += [time.time() - float(line) for line in data.splitlines()[-1:]]
    print(f"lag: median {statistics.median(lags) * 1000:.1f} ms, worst {max(lags) * 1000:.1f} ms of {len(lags)}")
    assert statistics.median(lags) < 0.05


def test_a_follower_is_told_when_a_job_is_lost(here: Here) -> None:
    job = here.start(WAITS, "0")
    here.at_work(job)
    state = here.state(job)
    stream = frames(open_agent("follow"), {"workspace": str(here.workspace), "job": job, "files": {"log": 0}})
    assert next(data for _, data in stream).startswith(b"at work")
    for pid in (state["supervisor"], state["pid"]):
        os.kill(pid, 9)
    ends = [header["end"]["state"] for header, _ in stream if "end" in header]
    assert ends == ["lost"]


def test_a_follower_costs_next_to_nothing_while_nothing_happens(here: Here) -> None:
    job = here.start(WAITS, "0")
    here.at_work(job)
    channel = open_agent("follow")
    stream = frames(channel, {"workspace": str(here.workspace), "job": job, "files": {"log": 0}})
    next(stream)
    before = cpu_s(channel.process.pid)
    assert "beat" in next(stream)[0]  # after three seconds
    assert cpu_s(channel.process.pid) - before <= 0.03
    channel.close()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_reader_that_goes_away_takes_its_follower_along(here: Here) -> None:
    job = here.start(WAITS, "0")
    here.at_work(job)
    leaves: list[Callable[[ProcessChannel], None]] = [ProcessChannel.close, lambda one: os.close(one._out)]
    for leave in leaves:
        channel = open_agent("follow")
        next(frames(channel, {"workspace": str(here.workspace), "job": job, "files": {"log": 0}}))
        leave(channel)
        assert channel.process.wait(DEADLINE_S) == 0
