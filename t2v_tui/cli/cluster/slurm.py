"""`t2v slurm script`: what sbatch is given for a job of ours."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Annotated

import typer

from remote.cluster.slurm_script import SlurmRequest, slurm_script
from remote.jobs.foreground import create
from t2v_core.errors import InvalidRequest
from t2v_core.settings import values_for
from t2v_core.specs import Spec
from t2v_tui.cli.cluster.asked import asked_job
from t2v_tui.cli.main import Common
from t2v_tui.cli.options import as_meant_here
from t2v_tui.find_workspace import find_workspace


def script(
    ctx: typer.Context,
    words: Annotated[
        list[str], typer.Argument(metavar="JOB|VERB...", help="A job that is here, or a verb with its flags.")
    ],
    nodes: Annotated[int, typer.Option("--nodes", min=1, max=10_000, metavar="N", help="Machines.")] = 1,
    gpus: Annotated[
        int, typer.Option("--gpus", min=0, max=64, metavar="N", help="GPUs on each machine; 0 for none.")
    ] = 1,
    time: Annotated[
        str, typer.Option("--time", metavar="LIMIT", help="Time limit as Slurm writes it: 90, 12:00:00, 2-00:00:00.")
    ] = "24:00:00",
    notice: Annotated[
        int,
        typer.Option(
            "--notice", min=10, max=65535, metavar="SECONDS", help="How long before the limit to save and end."
        ),
    ] = 300,
    partition: Annotated[
        str | None, typer.Option("--partition", metavar="NAME", help="Partition of the cluster.", show_default=False)
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", metavar="NAME", help="Account that pays.", show_default=False)
    ] = None,
) -> int:
    """Write a script for sbatch to stdout: the job on one or more nodes, which all see this workspace at its path.

    Before its time is up it saves a checkpoint, ends and queues again; then it continues from there. Options of this
    command go before the job or verb, those of the verb after it.

    \b
    Examples:
      t2v slurm script train --preset base > train.sbatch
      t2v slurm script --nodes 2 --gpus 8 --time 2-00:00:00 train --preset base --shard > train.sbatch
      t2v slurm script 3f2a > again.sbatch
    """
    common: Common = ctx.obj
    workspace = find_workspace(common.workspace, os.environ)
    request = SlurmRequest(nodes, gpus, gpus or 1, time, notice, partition, account)
    asked = asked_job(
        words, workspace, lambda verb, given: values_for(verb, workspace, os.environ, as_meant_here(verb, given))
    )
    request = _with_processes(request, asked.spec, gpus)
    directory = asked.directory or create(workspace, asked.verb, asked.spec).directory
    text = slurm_script(
        request, python=sys.executable, verb=asked.verb, job=directory.name, workspace=workspace.root.absolute()
    )
    sys.stdout.write(text)
    print(f"job {directory.name}; submit the script: sbatch FILE", file=sys.stderr)
    return 0


def _with_processes(request: SlurmRequest, spec: Spec, gpus: int) -> SlurmRequest:
    """Without GPUs, as many processes a machine as the job says. Raises InvalidRequest for others than one a GPU."""
    said = getattr(spec, "processes", 1)
    if gpus and isinstance(said, int) and said not in (1, gpus):
        raise InvalidRequest(
            f"{said} processes on {gpus} GPUs a machine", "each GPU gets one process: leave --processes out"
        )
    return replace(request, processes=said) if not gpus and isinstance(said, int) else request
