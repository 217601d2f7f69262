"""A workspace that several machines see, as over NFS: each looks after its own jobs, and leaves the others' alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.hosts.agent_here import WAITS, Here, agent, is_alive, wait_until

from remote.agent.base.elsewhere import QUIET_S


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Here, Here]]:
    """Two agents with a machine id and a boot id each, in one folder."""
    shared = tmp_path / "shared"
    shared.mkdir()
    with ExitStack() as stack:
        both = []
        for name in "ab":
            for kind in ("machine_id", "boot_id"):
                (tmp_path / f"{name}-{kind}").write_text(f"{kind} of {name}\n")
            variables = {
                f"T2V_{kind.upper()}_FILE": str(tmp_path / f"{name}-{kind}") for kind in ("machine_id", "boot_id")
            }
            both.append(Here(shared, stack.enter_context(agent(**variables))))
        yield both[0], both[1]
        for one in both:
            one.stop_all()


def test_each_has_its_own_gpus_and_sees_the_others_job_run(machines: tuple[Here, Here]) -> None:
    """A part of a training on several hosts would wait for ever for the part that waits for it."""
    a, b = machines
    first = a.start(WAITS, "0", needs_gpu=True)
    a.at_work(first)
    second = b.start(WAITS, "0", needs_gpu=True)
    b.at_work(second)
    assert {row["job"]: row["state"] for row in a.call("status")["jobs"]} == {first: "running", second: "running"}
    assert a.row(second) == b.row(second)
    (a.workspace / "go").touch()
    assert (a.end_of(second)["reason"], b.end_of(first)["reason"]) == ("done", "done")


def test_what_is_lost_on_one_is_said_by_that_one_alone(machines: tuple[Here, Here]) -> None:
    """Where locks do not reach over the network, a job is known by what it writes; nothing of it is begun twice."""
    a, b = machines
    job = a.start(WAITS, "0")
    a.at_work(job)
    state = a.state(job)
    for pid in (state["supervisor"], state["pid"]):
        os.kill(pid, 9)
    for pid in (state["supervisor"], state["pid"]):
        wait_until(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]
    assert b.row(job)["state"] == "running"  # for all that can be seen from there
    assert not (a.directory(job) / "exit.json").exists()
    long_ago = time.time() - 2 * QUIET_S
    for path in a.directory(job).iterdir():
        os.utime(path, (long_ago, long_ago))
    told = b.row(job)
    assert (told["state"], "nothing has been heard of it for 10 minutes" in told["reason"]) == ("lost", True)
    assert "nothing says how they ended" in a.end_of(job)["reason"]
