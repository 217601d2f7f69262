"""Who asks a host for its jobs again and again hears only what reads differently, and always knows all of them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from support.engine.ended_jobs import add_ended
from support.files_read import files_opened

from remote.agent.jobs.requests import status
from remote.jobs.host_pool import HostPool
from t2v_core.workspace import Workspace

BEGAN_T = 1_790_000_000.0
DONE = [{"kind": "done", "seconds": 60.0}]


def add(folder: Path, number: int) -> str:
    return add_ended(folder, "generate", BEGAN_T + 100 * number, DONE, number=number)


def end_otherwise(folder: Path, job: str) -> None:
    """As when its supervisor writes the end once more."""
    file = folder / "jobs" / job / "exit.json"
    file.write_text(json.dumps({"code": 1, "signal": None, "reason": "the disk is full", "hint": "", "ended": BEGAN_T}))
    os.utime(file, (BEGAN_T, BEGAN_T))


def test_of_jobs_that_have_ended_nothing_is_opened_or_told_again(tmp_path: Path) -> None:
    jobs = [add(tmp_path, number) for number in range(3)]
    about: dict[str, Any] = {"workspace": str(tmp_path), "jobs": None}
    first = status(about)
    assert ([row["job"] for row in first["jobs"]], first["is_news"]) == (jobs, False)
    with files_opened(tmp_path) as opened:
        again = status({**about, "known": first["tag"]})
    assert (again["jobs"], again["is_news"], again["tag"], opened) == ([], True, first["tag"], [])

    end_otherwise(tmp_path, jobs[1])
    changed = status({**about, "known": first["tag"]})
    assert [(row["job"], row["state"]) for row in changed["jobs"]] == [(jobs[1], "failed")]
    assert status({**about, "known": changed["tag"]})["jobs"] == []
    late = status({**about, "known": first["tag"]})  # its answer was lost on the way
    assert ([row["state"] for row in late["jobs"]], late["is_news"]) == (["succeeded", "failed", "succeeded"], False)

    jobs.append(add(tmp_path, 3))
    more = status({**about, "known": changed["tag"]})
    assert ([row["job"] for row in more["jobs"]], more["is_news"]) == (jobs, False)
    shutil.rmtree(tmp_path / "jobs")
    none = status({**about, "known": more["tag"]})
    assert (none["jobs"], none["is_news"]) == ([], False)


def test_a_client_knows_all_jobs_by_hearing_only_what_changed(tmp_path: Path) -> None:
    jobs = [add(tmp_path, number) for number in range(3)]
    with HostPool(Workspace(tmp_path)) as hosts:
        there = hosts.jobs("local")
        before = there.rows()
        assert there.rows() is before
        end_otherwise(tmp_path, jobs[1])
        after = there.rows()
        assert [row.state for row in after] == ["succeeded", "failed", "succeeded"]
        assert (after[0] is before[0], after[2] is before[2]) == (True, True)
        jobs.append(add(tmp_path, 3))
        assert [row.job for row in there.rows()] == jobs
        there.close()  # another agent, which does not know what the last one told
        assert [row.job for row in there.rows()] == jobs
