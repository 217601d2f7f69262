"""The script for sbatch: its directives, and its own course with stand-ins for Slurm's programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.engine.engine import TIMEOUT_S

from remote.cluster.slurm_script import SlurmRequest, slurm_script
from t2v_core.errors import InvalidRequest
from t2v_tui.cli.main import main

JOB = "20261201-000000-train-3f2a"


def script(workspace: Path, python: str = sys.executable, **changes: object) -> str:
    values = {"nodes": 2, "gpus": 8, "processes": 8, "time": "12:00:00", "notice_s": 300} | changes
    return slurm_script(SlurmRequest(**values), python=python, verb="train", job=JOB, workspace=workspace)  # type: ignore[arg-type]


def test_the_directives_say_what_was_asked(tmp_path: Path) -> None:
    lines = script(tmp_path, partition="gpu", account="lab").splitlines()
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    assert set(directives) == {
        f"--job-name=t2v-{JOB}", "--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=8", "--time=12:00:00",
        "--signal=B:USR1@300", "--requeue", "--open-mode=append", f"--chdir={tmp_path}", "--partition=gpu",
        f"--output={tmp_path}/jobs/{JOB}/log", "--account=lab",
    }  # fmt: skip
    # sbatch reads directives only before the first command
    first_command = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert first_command > max(number for number, line in enumerate(lines) if line.startswith("#SBATCH"))


@pytest.mark.parametrize("time_limit", ["", "soon", "1:2:3:4", "12:00:00\n#SBATCH --nodes=9", "2-", "1.5"])
def test_a_time_that_slurm_does_not_read_is_refused(time_limit: str) -> None:
    with pytest.raises(InvalidRequest, match="not a time limit of Slurm"):
        SlurmRequest(1, 1, 1, time_limit, 300)


@pytest.mark.parametrize("name", ["", "a b", "a\n#SBATCH --nodes=9", "$(reboot)"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="not a name that Slurm reads"):
        SlurmRequest(1, 1, 1, "90", 300, partition=name)


def test_a_folder_that_no_directive_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="Slurm cannot take"):
        script(tmp_path / 'a"b')


# What srun starts in place of the engine: it ends within a step of the file `stop`, as that does.
ENGINE = """#!/bin/bash
printf '%s\\n' "$*" > arguments
touch begun
for _ in $(seq 2000); do
  [ -e jobs/JOB/stop ] && exit 1
  [ -e finish ] && exit 0
  sleep 0.01
done
exit 9
"""


def begin(workspace: Path) -> subprocess.Popen[bytes]:
    programs = workspace / "bin"
    programs.mkdir()
    (workspace / "jobs" / JOB).mkdir(parents=True)
    (workspace / "jobs" / JOB / "stop").touch()  # as an earlier start leaves it when it is killed at the wrong moment
    for name, text in (
        ("engine", ENGINE.replace("JOB", JOB)),
        ("srun", '#!/bin/bash\nshift 2\nexec "$@"\n'),
        ("scontrol", '#!/bin/bash\n[ "$1" = show ] && printf "node1\\nnode2\\n" || echo "$*" > requeued\n'),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (workspace / "job.sbatch").write_text(script(workspace, python=str(programs / "engine")))
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "42", "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
    }  # fmt: skip
    child = subprocess.Popen(["bash", "job.sbatch"], cwd=workspace, env=environment)
    deadline = time.monotonic() + TIMEOUT_S
    while not (workspace / "begun").exists():
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return child


def test_before_its_time_is_up_the_job_is_asked_to_stop_and_queued_again(tmp_path: Path) -> None:
    child = begin(tmp_path)
    child.send_signal(signal.SIGUSR1)
    assert child.wait(TIMEOUT_S) == 1
    assert (tmp_path / "requeued").read_text() == "requeue 42\n"
    assert not (tmp_path / "jobs" / JOB / "stop").exists()
    assert (tmp_path / "arguments").read_text() == (
        "-m torch.distributed.run --nnodes=2 --nproc-per-node=8 --rdzv-backend=c10d --rdzv-id=42 "
        f"--rdzv-endpoint=node1:29500 --max-restarts=0 -m t2v_core train jobs/{JOB}\n"
    )


def test_one_that_is_done_is_not_queued_again(tmp_path: Path) -> None:
    child = begin(tmp_path)
    (tmp_path / "finish").touch()
    assert child.wait(TIMEOUT_S) == 0
    assert not (tmp_path / "requeued").exists()


def test_the_command_writes_a_script_and_makes_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t2v.toml").touch()
    assert main(["slurm", "script", "--nodes", "2", "--gpus", "4", "train", "--preset", "tiny", "--shard"]) == 0
    said = capsys.readouterr()
    (job,) = (path for path in (tmp_path / "jobs").iterdir() if path.is_dir())
    assert f"-m t2v_core train jobs/{job.name}" in said.out
    assert "--nproc-per-node=4" in said.out
    assert (job / "spec.json").read_text().split() == ["{", '"preset":', '"tiny",', '"shard":', "true", "}"]
    done = subprocess.run(["bash", "-n"], input=said.out, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--time", "soon", "train"], "is not a time limit"),
        (["--gpus", "4", "train", "--processes", "3"], "3 processes on 4 GPUs"),
        (["refine", "a", "b", "c"], "refine is not work for a cluster"),
    ],
)
def test_what_slurm_cannot_do_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t2v.toml").touch()
    assert main(["slurm", "script", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "jobs").exists()
