"""Two machines with kernels of their own, on a third one's NFS folder: each looks after its own jobs, whatever ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bench.nfs import SHARED, Kernel, Network, network
from support.hosts.agent_here import DEADLINE_S, WAITS, Here

from remote.agent.jobs.endings import RESTARTED
from remote.errors import NotAnswered, Refused
from remote.hosts.agent_client import Agent

# A file's size is remembered for 3 s at least (acregmin); on a busy machine the look itself takes a while.
SEEN_S = 15.0
ASKED_S = 3.0

PRINTS = """
import time
while True:
    print("at work", flush=True)
    time.sleep(0.5)
"""

pytestmark = pytest.mark.slow


class There(Here):
    """A workspace on the NFS folder, as one of its machines sees it."""

    kernel: Kernel

    @classmethod
    def on(cls, kernel: Kernel, workspace: Path) -> There:
        kernel.agent = kernel.agent or Agent(kernel.start_agent(), kernel.settings["name"], silence_s=DEADLINE_S)
        one = cls(workspace, kernel.agent)
        one.kernel = kernel
        return one

    def state(self, job: str) -> dict[str, Any]:
        file = self.directory(job) / "state.json"
        return dict(json.loads(self.kernel.run(f"said = Path({str(file)!r}).read_text()")))

    def has(self, job: str, name: str) -> bool:
        return bool(self.kernel.run(f"said = Path({str(self.directory(job) / name)!r}).exists()"))

    def at_work(self, job: str) -> None:
        wait_for(lambda: self.row(job)["log_bytes"] > 0, DEADLINE_S)

    def go(self) -> None:
        self.kernel.run(f"Path({str(self.workspace / 'go')!r}).touch()")


def wait_for(is_so: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline, f"not so within {limit_s:g} s"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("nfs")) as one:
        yield one


@pytest.fixture
def both(net: Network, tmp_path: Path) -> tuple[There, There]:
    """Both machines in a workspace of the test's own."""
    workspace = SHARED / tmp_path.name
    net.machines["a"].run(f"Path({str(workspace)!r}).mkdir()")
    return There.on(net.machines["a"], workspace), There.on(net.machines["b"], workspace)


def states(one: There, *jobs: str) -> list[str]:
    rows = {row["job"]: row["state"] for row in one.call("status")["jobs"]}
    return [rows.get(job, "not there") for job in jobs]


def test_both_start_at_once_and_each_has_a_queue_of_its_own(both: tuple[There, There]) -> None:
    """The same key is one job, whoever asks first; each machine has GPUs of its own, and waits for nobody else's."""
    a, b = both
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(one.call, "start", verb="test", argv=["true"], key="one") for one in both]
        replies = [one.result() for one in asked]
        begun = [pool.submit(one.start, WAITS, "0", needs_gpu=True) for one in both]
        first = [one.result() for one in begun]
    second = [one.start(WAITS, "0", needs_gpu=True) for one in both]
    assert sorted(reply["is_new"] for reply in replies) == [False, True]
    assert len({reply["job"] for reply in replies}) == 1
    expected = ["running", "running", "queued", "queued"]
    for one in both:
        wait_for(lambda one=one: states(one, *first, *second) == expected, DEADLINE_S)  # type: ignore[misc]
    for one in both:  # each by its own: the other's is seen after half a minute
        one.go()
    for one, other, jobs in ((a, b, (first[0], second[0])), (b, a, (first[1], second[1]))):
        for job in jobs:
            assert one.end_of(job)["state"] == "succeeded"
            wait_for(lambda other=other, job=job: other.row(job)["state"] == "succeeded", SEEN_S)  # type: ignore[misc]


def test_what_one_writes_the_other_sees_within_seconds_and_leaves_alone(both: tuple[There, There]) -> None:
    """It had looked for the end while there was none: a name that is not there is remembered for 30 s (acdirmin)."""
    a, b = both
    job = a.start(PRINTS)
    a.at_work(job)
    wait_for(lambda: b.row(job)["log_bytes"] > 0, SEEN_S)
    with pytest.raises(Refused, match=f"job {job} is one of machine-a, which sees this folder as well"):
        b.call("stop", job=job, grace_s=0)
    assert a.call("stop", job=job, grace_s=0)["left"] == []
    told = b.row(job)  # the first look
    assert (told["state"], told["reason"]) == ("stopped", a.row(job)["reason"])


def test_a_machine_that_is_killed_and_comes_back_says_itself_what_it_lost(
    net: Network, both: tuple[There, There]
) -> None:
    a, b = both
    theirs, own = a.start(WAITS, "0"), b.start(WAITS, "0")
    a.at_work(theirs)
    b.at_work(own)
    net.machines["a"].kill()
    for _ in range(3):
        assert states(b, theirs, own) == ["running", "running"]  # for all that can be seen from there
    assert not b.has(theirs, "exit.json")
    net.start("a")
    a = There.on(net.machines["a"], a.workspace)
    row = a.row(theirs)
    assert (row["state"], row["reason"]) == ("lost", RESTARTED)
    assert a.row(own)["state"] == "running"
    b.go()
    assert b.end_of(own)["state"] == "succeeded"


def test_while_the_server_is_away_questions_have_a_deadline_and_jobs_wait(
    net: Network, both: tuple[There, There]
) -> None:
    jobs = [one.start(WAITS, "0") for one in both]
    for one, job in zip(both, jobs, strict=True):
        one.at_work(job)
    with net.server.away():
        for one in both:
            began = time.monotonic()
            with pytest.raises(NotAnswered, match=r"status was not answered within 3 s"):
                one.agent.call("status", timeout_s=ASKED_S, workspace=str(one.workspace))
            assert time.monotonic() - began < 2 * ASKED_S
    for one in both:
        assert states(one, *jobs) == ["running", "running"]
    for one in both:
        one.go()
    for one in both:
        assert [one.end_of(job)["state"] for job in jobs] == ["succeeded", "succeeded"]
