"""A machine without /proc and without Linux's own calls, as a Mac is, drives a host over SSH.

No Mac was asked: /proc is an empty folder to the commands here, in a mount namespace of theirs, and what Python has on
Linux only is taken away. The host at the other end is left as it is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hosts.agent_here import WAITS
from support.hosts.far_host import Far, far_host
from support.hosts.transfers import write_checkpoint
from support.house.needs import needs
from support.screen.tmux_here import t2v_tui, terminal

WITHOUT_LINUX = Path(__file__).parents[2] / "bench/without_linux"
HIDDEN = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=64k none /proc && exec "$@"', "sh")


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    needs("root", "git")
    with far_host(tmp_path_factory.mktemp("far")) as far:
        far.write_settings()
        yield far


def environment(far: Far) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "SSH_"))}
    return kept | {"XDG_CONFIG_HOME": str(far.config), "HOME": str(far.config), "PYTHONPATH": str(WITHOUT_LINUX)}


def t2v(far: Far, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of the machine without /proc, run to its end."""
    return subprocess.run(
        [*HIDDEN, sys.executable, "-m", "t2v_tui.cli.main", *arguments], cwd=far.here.root, env=environment(far),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def done(far: Far, *arguments: str) -> str:
    """What it wrote to stdout, when all went well."""
    ended = t2v(far, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_there_is_no_proc_and_no_call_that_only_linux_has(far: Far) -> None:
    program = "import os, time; print(os.listdir('/proc'), hasattr(os, 'pidfd_open'), hasattr(time, 'CLOCK_BOOTTIME'))"
    command = [*HIDDEN, sys.executable, "-c", program]
    said = subprocess.run(command, env=environment(far), capture_output=True, text=True, timeout=240, check=True).stdout
    assert said == "[] False False\n"


def test_a_workspace_is_made_and_its_state_is_told(far: Far) -> None:
    assert Path(done(far, "init", "made").strip()).is_dir()
    assert "vm" in done(far, "status")


def test_jobs_there_are_listed_read_and_stopped(far: Far) -> None:
    with far.jobs() as jobs:
        job = far.begin(jobs, WAITS, "0")
    assert job in done(far, "jobs", "--host", "vm")
    assert done(far, "logs", job, "--host", "vm") == "at work\n"
    assert f"{job}: stopped" in t2v(far, "stop", job, "--host", "vm").stderr


def test_a_job_is_started_there_and_watched_to_its_end(far: Far) -> None:
    asked = ("--clips", "4", "--test-clips", "2", "--frames", "4", "--size", "32")
    done(far, "data", "shapes", *asked, "--host", "vm")
    assert len(list(far.there.glob("data/shapes/videos/*.mp4"))) == 6


def test_files_come_and_go(far: Far) -> None:
    write_checkpoint(far.there, 1)
    [name] = [path.name for path in (far.there / "checkpoints").iterdir()]
    done(far, "pull", "checkpoints", "--host", "vm")
    assert (far.here.root / "checkpoints" / name / "manifest.json").exists()
    subprocess.run([needs("git"), "init", "-q", str(far.here.root)], check=True, timeout=120)
    (far.here.root / "own.py").write_text("new")
    done(far, "push", "code", "--host", "vm")
    assert (far.there / "own.py").read_text() == "new"


def test_a_host_is_made_ready_and_both_ends_are_examined(far: Far) -> None:
    assert "vm is ready" in t2v(far, "bootstrap", "--host", "vm").stderr
    for where in ((), ("--host", "vm")):
        told = t2v(far, "doctor", *where)
        assert told.returncode in (0, 1)  # there is no data to train on, and that is said
        assert "Traceback" not in told.stderr
        assert "✓ disk" in told.stdout


def test_a_job_that_would_go_on_by_itself_here_is_one_sentence(far: Far) -> None:
    asked = t2v(far, "data", "shapes", "--detach")
    assert (asked.returncode, asked.stderr.splitlines()) == (
        2,
        [
            "error: a job that goes on by itself needs Linux: there is no /proc here",
            "hint:  in the foreground it runs here: without --detach; or let a Linux host do it: --host NAME",
        ],
    )
    assert list(far.here.root.glob("jobs/*/request.json")) == []


def test_in_the_foreground_work_is_done_here(far: Far) -> None:
    done(far, "data", "shapes", "--clips", "4", "--test-clips", "2", "--frames", "4", "--size", "32")
    assert len(list(far.here.root.glob("data/shapes/videos/*.mp4"))) == 6


def test_the_terminal_ui_opens_and_finds_the_host(far: Far) -> None:
    own = {name: environment(far)[name] for name in ("XDG_CONFIG_HOME", "HOME", "PYTHONPATH")}
    argv = [*HIDDEN, *t2v_tui("--workspace", str(far.here.root))]
    with terminal(argv, cwd=far.here.root, env=own) as one:
        one.wait_for("● vm running")
