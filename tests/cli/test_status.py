"""`t2v status`: the terminal UI in plain text and JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support.hosts.agent_here import WAITS, Here, agent
from support.hosts.far_host import far_host
from support.screen.tui_states import NOW, RUN, UNREACHABLE, VM, live, stopped
from support.warm.python import warm

from t2v_tui.cli.jobs.status import as_values, in_lines


def status(workspace: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [warm(), "-m", "t2v_tui.cli.main", "--workspace", str(workspace), "status", *arguments],
        env=os.environ | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip


def test_it_says_what_the_screens_say() -> None:
    lines = list(in_lines(live(), NOW))
    assert lines[0] == f"● RUNNING {VM}, seen 4 s ago, up 3h15m, $3.69/h, $12.41 today, stops when idle"
    assert f"● train running for 12 min on {VM}: 400 of 1404 steps, loss 0.0831  ({RUN.job})" in lines
    assert any(
        line.startswith("✗ generate failed, 50 min ago on local: there is no complete checkpoint") for line in lines
    )
    (host, *_) = in_lines(live(UNREACHABLE), NOW)
    assert "UNREACHABLE" in host
    assert "still costing" in host
    values = as_values(stopped(), NOW)["hosts"][0]
    assert (values["state"], values["vm"], values["usd_per_hour"]) == ("stopped", "stopped", 0.0)
    json.dumps(values)


def test_of_this_machine_it_says_what_runs(tmp_path: Path) -> None:
    with agent() as one:
        here = Here(tmp_path, one)
        job = here.start(WAITS, "0", verb="train")
        here.at_work(job)
        said = status(tmp_path)
        assert said.returncode == 0
        assert said.stderr == ""
        assert re.search(rf"● train running for \d+ s on local  \({job}\)", said.stdout)
        values = json.loads(status(tmp_path, "--json").stdout)
        assert [(row["job"], row["state"]) for row in values["jobs"]] == [(job, "running")]
        (tmp_path / "go").touch()
        here.end_of(job)
    assert "✓ train succeeded" in status(tmp_path).stdout


def test_a_host_that_is_asked_and_does_not_answer_is_exit_code_3(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        environment = {"XDG_CONFIG_HOME": str(far.config), "HOME": str(far.config)}
        with far.jobs() as jobs:
            job = far.begin(jobs, WAITS, "0")
        heard = status(far.here.root, "--all", **environment)
        assert (heard.returncode, "● RUNNING vm, seen 0 s ago" in heard.stdout) == (0, True), heard
        assert job in heard.stdout
        far.sshd.kill()
        far.proxy.cut()
        lost = status(far.here.root, "--all", **environment)
        assert lost.returncode == 3
        assert "◐ UNREACHABLE vm" in lost.stdout
        assert job in lost.stdout  # as it was known last
        remembered = status(far.here.root, **environment)
        assert remembered.returncode == 0
        assert job in remembered.stdout
        far.sshd.start()


@pytest.mark.parametrize("arguments", [["--host"], ["--all", "x"]])
def test_what_is_asked_wrongly_is_exit_code_2(tmp_path: Path, arguments: list[str]) -> None:
    said = status(tmp_path, *arguments)
    assert said.returncode == 2
    assert "Traceback" not in said.stderr
