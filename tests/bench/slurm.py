"""A Slurm of one node, this machine: real slurmctld and slurmd on loopback, in one folder, without munge."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.hosts.agent_here import wait_until
from support.house.needs import leave_out, needs

from bench.sshd import free_port

CONFIG = """
ClusterName=here
SlurmctldHost={node}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={port}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={node} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=all Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Slurm:
    """A cluster that runs. node: its name"""

    folder: Path
    node: str

    def ask(self, *words: str, may_be_refused: bool = False) -> str:
        """Run one of its programs; returns what that says."""
        environment = os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf")}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=30, check=False)
        assert may_be_refused or done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, script: Path) -> str:
        return self.ask("sbatch", "--parsable", str(script)).strip()

    def says(self, job: str, what: str) -> str:
        """One field of a job, such as JobState."""
        fields = dict(word.partition("=")[::2] for word in self.ask("scontrol", "show", "job", job).split())
        return fields[what]


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """The cluster, while the context lasts."""
    controller, daemon = needs("slurmctld", "slurmd", "sbatch"), needs("slurmd")
    if os.geteuid() != 0:
        leave_out("root")
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    node = socket.gethostname().partition(".")[0]
    text = CONFIG.format(node=node, controller_port=free_port(), port=free_port(), folder=folder, cores=os.cpu_count())
    (folder / "slurm.conf").write_text(text)
    started = []
    try:
        for program in (controller, daemon):
            with (folder / f"{Path(program).name}.log").open("wb") as log:
                argv = [shutil.which(program) or program, "-D", "-f", str(folder / "slurm.conf")]
                started.append(subprocess.Popen(argv, stdout=log, stderr=log))
        one = Slurm(folder, node)
        wait_until(lambda: _is_idle(one))
        yield one
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(30)


def _is_idle(one: Slurm) -> bool:
    environment = os.environ | {"SLURM_CONF": str(one.folder / "slurm.conf")}
    done = subprocess.run(["sinfo", "-h", "-o", "%t"], env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip() == "idle"
