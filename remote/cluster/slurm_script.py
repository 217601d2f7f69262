"""What `sbatch` is given: a script that trains on the nodes it gets, saves before its time is up, and queues again."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from remote.cluster.torchrun import PORT, torchrun_line
from t2v_core.errors import InvalidRequest

# minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes, days-hours:minutes:seconds
TIME = re.compile(r"\d+(:\d{1,2}){0,2}|\d+-\d{1,2}(:\d{1,2}){0,2}")
# A directive is a line that a shell takes for a comment.
NAME = re.compile(r"[\w.,:@+-]+")


@dataclass(frozen=True)
class SlurmRequest:
    """What a script asks Slurm for.

    nodes: machines; gpus: on each, 0 for none; processes: on each
    time: limit, as Slurm writes it; notice_s: how long before it the job is asked to save and end
    """

    nodes: int
    gpus: int
    processes: int
    time: str
    notice_s: int
    partition: str | None = None
    account: str | None = None

    def __post_init__(self) -> None:
        """Raise InvalidRequest for what Slurm would not read."""
        if not TIME.fullmatch(self.time):
            raise InvalidRequest(
                f"--time = '{self.time}' is not a time limit of Slurm", "such as 90 (minutes), 12:00:00 or 2-00:00:00"
            )
        for flag, value in (("--partition", self.partition), ("--account", self.account)):
            if value is not None and not NAME.fullmatch(value):
                raise InvalidRequest(
                    f"{flag} = {value!r} is not a name that Slurm reads", "sinfo and sacctmgr list them"
                )

    def directives(self, job: str, workspace: Path) -> list[str]:
        """Return the lines that sbatch reads, without their mark."""
        asked = [
            f"--job-name=t2v-{job}", f"--nodes={self.nodes}", "--ntasks-per-node=1", f"--time={self.time}",
            f"--signal=B:USR1@{self.notice_s}", "--requeue", "--open-mode=append", f"--chdir={_quoted(workspace)}",
            f"--output={_quoted(workspace / 'jobs' / job / 'log')}",
        ]  # fmt: skip
        asked += [f"--gpus-per-node={self.gpus}"] if self.gpus else []
        asked += [f"--partition={self.partition}"] if self.partition else []
        return asked + ([f"--account={self.account}"] if self.account else [])


def slurm_script(request: SlurmRequest, *, python: str, verb: str, job: str, workspace: Path) -> str:
    """Return the script for one job of a workspace that all nodes see under the same path.

    python: interpreter that has the engine, on every node
    """
    line = torchrun_line(
        shlex.quote(python), verb, f"jobs/{job}", nodes='"$SLURM_JOB_NUM_NODES"', processes=str(request.processes),
        place=f'--rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$first:{PORT}"',
    )  # fmt: skip
    directives = "\n".join(f"#SBATCH {one}" for one in request.directives(job, workspace))
    return f"""#!/bin/bash
{directives}
# Written by t2v slurm script. Submit it with sbatch; t2v logs {job} shows its log.

stop=jobs/{job}/stop
rm -f "$stop"
# {request.notice_s} s before the limit Slurm signals this shell alone: all processes save a checkpoint and end.
is_due=
trap 'is_due=yes; touch "$stop"' USR1
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun --label --kill-on-bad-exit=1 {line} &
child=$!
wait "$child"; code=$?
while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done  # a signal ends a wait early

if [ -n "$is_due" ]; then
  rm -f "$stop"
  # It goes on from that checkpoint when its turn comes again.
  if [ "$code" -ne 0 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
fi
exit "$code"
"""


def _quoted(path: Path) -> str:
    """A path as sbatch reads it in a directive. Raises InvalidRequest for one that no line can hold."""
    text = str(path)
    if re.search(r'["\\%\n\r\0]', text):
        raise InvalidRequest(f"Slurm cannot take the folder {text!r}", "use a workspace with a plainer name")
    return f'"{text}"' if " " in text else text
