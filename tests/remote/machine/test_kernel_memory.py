"""Memory runs out, in a kernel of its own: which of a job's deaths were the kernel's is read from its counts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bench.own_kernel import run_in_kernel

GUEST = """
import json, os, signal
from pathlib import Path
from support.hosts.agent_here import WAITS, Here, agent

EATS, LIMIT_BYTES = "x = [bytearray(10_000_000) for _ in range(90)]", 120_000_000

def rows(group=None):
    Path(name := str(group.name) if group else "all").mkdir()
    with agent() as one:
        if group:
            (group / "cgroup.procs").write_text(str(one.channel.process.pid))
        here = Here(Path(name).resolve(), one)
        yield here.end_of(here.start(EATS))
        job = here.start(WAITS, "0")
        here.at_work(job)
        os.kill(here.state(job)["pid"], signal.SIGKILL)
        yield here.end_of(job)

group = Path("/sys/fs/cgroup/limited")
group.mkdir()
(group / "memory.max").write_text(str(LIMIT_BYTES))
print(json.dumps([*rows(group), *rows()]))
"""
RAN_OUT = "memory ran out: the system killed it (SIGKILL)"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    # Each page may be a mapping of this machine's, of which a process has 65,530 at most: 256 MB.
    said = run_in_kernel(GUEST, tmp_path_factory.mktemp("kernel"), memory_mb=230)
    return list(json.loads(said.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 2], ids=["of its group, version 2", "of the whole machine"])
def test_memory_that_ran_out_is_said_as_that(rows: list[dict[str, Any]], which: int) -> None:
    assert (rows[which]["state"], rows[which]["reason"]) == ("failed", RAN_OUT)


@pytest.mark.slow
@pytest.mark.parametrize("which", [1, 3], ids=["in its group, version 2", "on the whole machine"])
def test_somebody_s_sigkill_is_not_taken_for_it(rows: list[dict[str, Any]], which: int) -> None:
    assert rows[which]["reason"] == "it was killed (SIGKILL)"
    assert "recorded no out-of-memory kill" in rows[which]["hint"]
