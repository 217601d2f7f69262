"""The script for sbatch, run by a real Slurm of one node; left out by name where slurmctld or slurmd is not there."""

from __future__ import annotations

import time
from pathlib import Path

from bench.slurm import Slurm, slurm
from support.hosts.agent_here import wait_until

from remote.cluster.slurm_script import SlurmRequest, slurm_script

JOB = "20261201-000000-train-3f2a"
# It ends within a step of the file `stop`, as an engine does.
ENGINE = f"""#!/bin/bash
printf '%s %s\\n' "${{SLURM_RESTART_COUNT:-0}}" "$*" >> arguments
echo at work
while [ ! -e finish ]; do
  [ -e jobs/{JOB}/stop ] && exit 4
  sleep 0.05
done
"""


def begun_again(cluster: Slurm, job: str, arguments: Path) -> bool:
    """Its turn comes two minutes after the end of the one before, unless somebody with the right says otherwise."""
    if len(arguments.read_text().splitlines()) > 1:
        return True
    # Refused while Slurm still puts the turn before away.
    cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now", "TimeLimit=60", may_be_refused=True)
    time.sleep(0.5)
    return False


def test_slurm_signals_before_the_limit_and_the_job_goes_on_in_its_next_turn(tmp_path: Path) -> None:
    workspace = tmp_path / "work"
    (workspace / "jobs" / JOB).mkdir(parents=True)
    engine = workspace / "engine"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    # Slurm looks at limits every half minute: of a minute, the first signal is due at once.
    request = SlurmRequest(nodes=1, gpus=0, processes=2, time="1", notice_s=55, partition="all")
    script = workspace / "job.sbatch"
    script.write_text(slurm_script(request, python=str(engine), verb="train", job=JOB, workspace=workspace))
    arguments = workspace / "arguments"
    with slurm(tmp_path / "slurm") as cluster:
        job = cluster.submit(script)
        wait_until(arguments.exists)
        wait_until(lambda: cluster.says(job, "Restarts") == "1" and cluster.says(job, "JobState") == "PENDING")
        assert not (workspace / "jobs" / JOB / "stop").exists()
        wait_until(lambda: begun_again(cluster, job, arguments))
        (workspace / "finish").touch()
        wait_until(lambda: cluster.says(job, "JobState") not in ("RUNNING", "COMPLETING", "PENDING"))
        assert (cluster.says(job, "JobState"), cluster.says(job, "Restarts")) == ("COMPLETED", "1")
    line = (
        "-m torch.distributed.run --nnodes=1 --nproc-per-node=2 --rdzv-backend=c10d "
        f"--rdzv-id={job} --rdzv-endpoint={cluster.node}:29500 --max-restarts=0 -m t2v_core train jobs/{JOB}"
    )
    assert arguments.read_text().splitlines() == [f"0 {line}", f"1 {line}"]
    assert (workspace / "jobs" / JOB / "log").read_text().splitlines().count("0: at work") == 2
