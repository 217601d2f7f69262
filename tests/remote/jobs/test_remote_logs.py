"""Following a job over a link that misbehaves: every byte once and in order, and the truth about link and job."""

from __future__ import annotations

import hashlib
import os
import random
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hosts.agent_here import WAITS, wait_until
from support.hosts.far_host import Far, far_host, seen_soon
from support.house.under_load import slowed

from remote.errors import AgentError, HostUnreachable, JobNotFound
from remote.jobs.follow import Follower, LinkState, LogChunk, Said, fetch_log
from remote.jobs.spool import EVENTS, LOG, KnownRow, Spool, known_hosts, known_rows
from remote.replies.job_row import JobRow
from t2v_core.events import StepEvent
from t2v_core.workspace import Workspace

# Lines of varied length and odd bytes, and events in halves, in files that are rotated; until a file `go` is there.
CHATTER = """
import json, os, pathlib, random, sys, time
folder = pathlib.Path("jobs", os.environ["T2V_JOB"])
draw = random.Random(int(sys.argv[1]))
segment, number = {"log": 0, "events.jsonl": 0}, 0
while not pathlib.Path("go").exists():
    with open(folder / "log", "ab") as file:
        for _ in range(draw.randrange(40)):
            file.write(draw.randbytes(draw.randrange(200)) + draw.choice([b"\\n", b"\\r", b"\\r\\n"]))
    with open(folder / "events.jsonl", "ab") as file:
        for _ in range(draw.randrange(20)):
            line = json.dumps({"t": 1.0, "kind": "step", "step": number, "total": 9}).encode() + b"\\n"
            file.write(line[:20]), file.flush(), file.write(line[20:])
            number += 1
    for name in segment:
        if draw.random() < 0.05:
            os.rename(folder / name, folder / f"{name}.{segment[name]:05d}")
            segment[name] += 1
    time.sleep(0.005)
"""
STALL_S = 2.5


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with far_host(tmp_path_factory.mktemp("far")) as far:
        yield far


@pytest.fixture(autouse=True)
def fresh(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    seen_soon(monkeypatch)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (far.there / "go").unlink(missing_ok=True)


def whole(folder: Path, name: str) -> bytes:
    """What the job wrote, over all segments."""
    segments = [*sorted(folder.glob(f"{name}.[0-9]*")), folder / name]
    return b"".join(path.read_bytes() for path in segments if path.exists())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Faults:
    """Misfortunes, drawn from a seed; each begins after so many more bytes have arrived."""

    def __init__(self, far: Far, seed: int) -> None:
        self.proxy, self.draw = far.proxy, random.Random(seed)
        self.done: list[str] = []
        self.began: list[float] = []
        self._next_at = 0

    def look(self, arrived: int) -> None:
        if arrived >= self._next_at:
            self._next_at = arrived + self.draw.choice([1, 1000, 20_000, 60_000])
            # A stall takes two seconds to be noticed, so one in ten.
            self.inject(self.draw.choice(["cut", "half-close", "cut within"] * 3 + ["stall"]))

    def inject(self, kind: str) -> None:
        self.done.append(kind)
        self.began.append(time.monotonic())
        if kind == "cut":
            self.proxy.cut()
        elif kind == "half-close":
            self.proxy.half_close()
        elif kind == "cut within":
            self.proxy.rules.cut_after = self.proxy.passed + self.draw.randrange(1, 5000)
        else:
            self.proxy.rules.is_stalled = True
            threading.Timer(STALL_S, self.over).start()

    def over(self) -> None:
        self.proxy.rules.is_stalled = False


def follow_through(far: Far, faults: Faults, number: int, job: str) -> tuple[list[Said], list[float]]:
    """Everything that a follower said while `number` faults happened, and how long it was without a byte after each."""
    said: list[Said] = []
    gaps, arrived, waiting_since = [], 0, 0.0
    for one in Follower(far.host(), job, far.spool(job), silence_s=2.0):
        said.append(one)
        if isinstance(one, LinkState) and not one.is_up:
            waiting_since = time.monotonic()
        if not isinstance(one, LogChunk):
            continue
        if waiting_since:
            gaps.append(time.monotonic() - waiting_since)
            waiting_since = 0.0
        arrived += len(one.data)
        if len(faults.done) < number:
            faults.look(arrived)
        else:
            far.go()
    return said, gaps


@pytest.mark.parametrize("number", [6, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_every_byte_comes_once_and_in_order_through_cuts_stalls_and_half_closes(far: Far, number: int) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    faults = Faults(far, seed)
    with far.jobs() as jobs:
        job = far.begin(jobs, CHATTER, str(seed))
    said, gaps = follow_through(far, faults, number, job)
    down = [one for one in said if isinstance(one, LinkState) and not one.is_up]
    print(
        f"seed {seed}: {len(faults.done)} faults, {len(down)} lost links, {far.spool(job).size(LOG)} bytes; "
        f"lost link to next byte: median {statistics.median(gaps or [0]):.2f} s, worst {max(gaps, default=0):.2f} s"
    )
    directory, spool = far.directory(job), far.spool(job)
    shown = b"".join(one.data for one in said if isinstance(one, LogChunk))
    assert sha256(shown) == sha256(whole(directory, LOG)) == sha256(spool.log.read_bytes())
    assert sha256(spool.events.read_bytes()) == sha256(whole(directory, EVENTS))
    steps = [one.step for one in said if isinstance(one, StepEvent)]
    assert steps == list(range(len(steps)))
    assert isinstance(said[-1], JobRow)
    assert said[-1].state == "succeeded"
    assert spool.is_whole
    assert len(down) >= number // 2


def test_a_lost_link_is_no_failed_job(far: Far) -> None:
    """While nothing passes the job stays as it was last known; then comes the truth, which is another code."""
    with far.jobs() as jobs:
        job = far.begin(jobs, WAITS, "7")
        jobs.row(job)
    said: list[Said] = []
    for one in Follower(far.host(), job, far.spool(job), silence_s=2.0):
        said.append(one)
        if isinstance(one, LogChunk):
            far.proxy.rules.is_stalled = True
        if isinstance(one, LinkState) and not one.is_up:
            assert one.last is not None
            assert one.last.state in ("starting", "running")
            assert one.since <= time.time()
            assert "heard" in one.why or "lost" in one.why
            far.go()
            wait_until((far.directory(job) / "exit.json").exists)
            far.proxy.rules.is_stalled = False
    assert [one.is_up for one in said if isinstance(one, LinkState)] == [True, False, True]
    assert isinstance(said[-1], JobRow)
    assert (said[-1].state, said[-1].code) == ("failed", 7)


@pytest.mark.slow
def test_while_there_is_no_link_nothing_is_known(far: Far) -> None:
    """The job ends meanwhile; that is heard of when the link is back, and not a moment before."""
    with far.jobs() as jobs:
        job = far.begin(jobs, WAITS, "7")
    heard: list[tuple[float, Said]] = []
    for one in Follower(far.host(), job, far.spool(job)):
        heard.append((time.monotonic(), one))
        if isinstance(one, LogChunk) and not far.proxy.rules.is_stalled:
            far.proxy.rules.is_stalled = True
            far.go()
            threading.Timer(30.0, lambda: setattr(far.proxy.rules, "is_stalled", False)).start()
            stalled_at = time.monotonic()
    [down] = [(at, one) for at, one in heard if isinstance(one, LinkState) and not one.is_up]
    assert down[0] - stalled_at <= 15
    assert down[1].last is None or down[1].last.state in ("queued", "starting", "running")
    ended_at, row = heard[-1]
    assert isinstance(row, JobRow)
    assert (row.state, row.code) == ("failed", 7)
    assert ended_at - stalled_at >= 30


def test_what_came_is_there_with_the_host_switched_off_and_is_not_sent_again(far: Far) -> None:
    far.go()
    with far.jobs() as jobs:
        job = far.begin(jobs, "print('x' * 100_000)")
        far.end_of(jobs, job)
    assert len(list(Follower(far.host(), job, far.spool(job)))) >= 3
    passed = far.proxy.passed
    far.sshd.kill()
    try:
        assert far.spool(job).is_whole
        assert far.spool(job).log.read_bytes() == b"x" * 100_000 + b"\n"
        with pytest.raises(HostUnreachable):
            list(Follower(far.host(), job, far.spool(job)))
    finally:
        far.sshd.start()
    said = list(Follower(far.host(), job, far.spool(job), since=99_999))
    assert [(one.offset, one.data) for one in said if isinstance(one, LogChunk)] == [(99_999, b"x\n")]
    assert far.proxy.passed - passed < 20_000


def test_two_who_follow_one_job_fill_one_spool(far: Far) -> None:
    with far.jobs() as jobs:
        job = far.begin(jobs, CHATTER, "3")
    shown = [b"", b""]

    def follow(number: int) -> None:
        for one in Follower(far.host(), job, far.spool(job)):
            if isinstance(one, LogChunk):
                shown[number] += one.data

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: min(map(len, shown)) > 50_000)
    far.go()
    for thread in threads:
        thread.join(60)
    assert shown[0] == shown[1] == whole(far.directory(job), LOG) == far.spool(job).log.read_bytes()


def test_a_follower_ends_when_another_thread_closes_it(far: Far) -> None:
    with far.jobs() as jobs:
        job = far.begin(jobs, WAITS, "0")
    follower = Follower(far.host(), job, far.spool(job))
    said: list[Said] = []
    thread = threading.Thread(target=lambda: said.extend(follower))
    thread.start()
    wait_until(lambda: far.spool(job).size(LOG) > 0)
    began = time.monotonic()
    follower.close()
    thread.join(60)
    assert not thread.is_alive()
    assert time.monotonic() - began < slowed(3)
    far.go()


def test_the_log_up_to_now_ends_there_although_the_job_goes_on(far: Far) -> None:
    with far.jobs() as jobs:
        job = far.begin(jobs, WAITS, "0")
        size = jobs.row(job).log_bytes
        pieces = list(fetch_log(jobs.host, job, far.spool(job), size, since=3))
        assert b"".join(piece.data for piece in pieces) == b"work\n"
        assert list(fetch_log(jobs.host, job, far.spool(job), size, since=100)) == []
        far.go()


def test_a_job_that_is_not_there_and_a_spool_of_another_are_refused(far: Far) -> None:
    with pytest.raises(JobNotFound):
        list(Follower(far.host(), "nobody", far.spool("nobody")))
    far.go()
    with far.jobs() as jobs:
        job = far.begin(jobs, "print('short')")
        far.end_of(jobs, job)
    far.spool(job).write(LOG, 0, b"longer than that")
    with pytest.raises(AgentError, match="log has 6 bytes"):
        list(Follower(far.host(), job, far.spool(job)))


def test_what_is_known_of_hosts_is_kept_under_any_name(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for name in ("vm", "../a b", ".."):
        Spool.of(workspace, name, "1-train-a").keep(JobRow("1-train-a", state="running"))
        assert [known.row.state for known in known_rows(workspace, name)] == ["running"]
    assert sorted(known_hosts(workspace)) == ["..", "../a b", "vm"]
    assert [path.name for path in tmp_path.iterdir()] == [".t2v"]
    (Spool.of(workspace, "vm", "1-train-a").directory / "row.json").write_text("{torn")
    assert known_rows(workspace, "vm") == []
    assert isinstance(Spool.of(workspace, "..", "1-train-a").known(), KnownRow)
