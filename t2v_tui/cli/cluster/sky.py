"""`t2v sky`: a job of ours as a SkyPilot task, and SkyPilot asked about it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from remote.cluster.sky_program import run_sky, sky_program
from remote.cluster.sky_task import SkyRequest, as_yaml, sky_task
from remote.jobs.foreground import create
from remote.setup.release import current_release
from t2v_core.disk.files import staged_file
from t2v_core.errors import InvalidRequest
from t2v_core.settings import values_for
from t2v_core.specs import Spec, all_values, asked_values
from t2v_core.workspace import Workspace
from t2v_tui.cli.cluster.asked import asked_job
from t2v_tui.cli.main import Common
from t2v_tui.cli.options import as_meant_there
from t2v_tui.find_workspace import find_workspace

Words = Annotated[
    list[str], typer.Argument(metavar="JOB|VERB...", help="A job that is here, or a verb with its flags.")
]
Nodes = Annotated[int, typer.Option("--nodes", min=1, max=10_000, metavar="N", help="Machines.")]
Gpus = Annotated[str, typer.Option("--gpus", metavar="KIND:N", help="GPUs of each machine.")]
Infra = Annotated[
    str | None,
    typer.Option("--infra", metavar="WHERE", help="As gcp/us-central1, k8s or slurm.", show_default="the cheapest"),
]
Spot = Annotated[bool, typer.Option("--spot/--no-spot", help="Cheaper machines that may be taken away.")]
Bucket = Annotated[
    str | None,
    typer.Option(
        "--bucket", metavar="URL", help="Folder of a bucket with data/, and for checkpoints/.", show_default=False
    ),
]
Disk = Annotated[int, typer.Option("--disk", min=20, max=65536, metavar="GB", help="Disk of each machine.")]
Restarts = Annotated[
    int,
    typer.Option("--restarts", min=0, max=1000, metavar="N", help="How often it may restart after its own failures."),
]


def task(
    ctx: typer.Context,
    words: Words,
    nodes: Nodes = 1,
    gpus: Gpus = "A100:1",
    infra: Infra = None,
    spot: Spot = False,
    bucket: Bucket = None,
    disk: Disk = 256,
    restarts: Restarts = 2,
) -> int:
    """Write a job as a SkyPilot task to stdout: machines, data, checkpoints, this t2v, and torchrun on each machine.

    When a machine is taken away SkyPilot finds another one, and the job continues from its last checkpoint. Options of
    this command go before the job or verb, those of the verb after it; paths are of the workspace there.

    \b
    Examples:
      t2v sky task train --preset base > task.yaml
      t2v sky task --nodes 2 --gpus A100:8 --spot --bucket gs://my-bucket/t2v train --shard > task.yaml
    """
    request = SkyRequest(nodes, gpus, infra, spot, bucket, disk, restarts)
    job, text = _task(ctx.obj, request, words)
    sys.stdout.write(text)
    print(f"job {job}; start it: sky jobs launch FILE", file=sys.stderr)
    return 0


def launch(
    ctx: typer.Context,
    words: Words,
    nodes: Nodes = 1,
    gpus: Gpus = "A100:1",
    infra: Infra = None,
    spot: Spot = False,
    bucket: Bucket = None,
    disk: Disk = 256,
    restarts: Restarts = 2,
) -> int:
    """Give SkyPilot a job as `t2v sky task` writes it. It asks before it costs anything.

    \b
    Example:
      t2v sky launch --gpus A100:8 --spot --bucket gs://my-bucket/t2v train --preset base
    """
    sky_program(os.environ)  # said before a job is made
    common: Common = ctx.obj
    job, text = _task(common, SkyRequest(nodes, gpus, infra, spot, bucket, disk, restarts), words)
    file = find_workspace(common.workspace, os.environ).jobs / job / "task.yaml"
    _write(file, text.encode())
    return run_sky(["jobs", "launch", "--detach-run", str(file)], os.environ)


def status() -> int:
    """Say what SkyPilot knows of its jobs: `sky jobs queue`."""
    return run_sky(["jobs", "queue"], os.environ)


def logs(job: Annotated[str, typer.Argument(metavar="JOB", help="As t2v sky launch named it.")]) -> int:
    """Show the log of a job that SkyPilot runs, as it grows: `sky jobs logs`."""
    return run_sky(["jobs", "logs", "--name", f"t2v-{job}"], os.environ)


def cancel(job: Annotated[str, typer.Argument(metavar="JOB", help="As t2v sky launch named it.")]) -> int:
    """Have SkyPilot end a job and its machines: `sky jobs cancel`. It asks first."""
    return run_sky(["jobs", "cancel", "--name", f"t2v-{job}"], os.environ)


def _task(common: Common, request: SkyRequest, words: list[str]) -> tuple[str, str]:
    """The job, and its task as YAML; the release that the task names lies in the workspace's own folder."""
    workspace = find_workspace(common.workspace, os.environ)
    asked = asked_job(
        words, workspace, lambda verb, given: values_for(verb, workspace, os.environ, as_meant_there(given))
    )
    spec = _as_it_is_there(asked.spec, workspace)
    directory = asked.directory or create(workspace, asked.verb, asked.spec).directory
    data = workspace.resolve(all_values(asked.spec)["data"])
    made = sky_task(
        request, verb=asked.verb, job=directory.name, spec=spec, release=_release(workspace),
        data=data if data.is_dir() else None,
    )  # fmt: skip
    return directory.name, as_yaml(made)


def _as_it_is_there(spec: Spec, workspace: Workspace) -> dict[str, Any]:
    """What was asked, with paths within the workspace there. Raises InvalidRequest for one of this machine alone."""
    values = asked_values(spec)
    for name in values:
        path = getattr(spec, name)
        if not isinstance(path, Path) or not path.is_absolute():
            continue
        if not path.is_relative_to(workspace.root.absolute()):
            raise InvalidRequest(
                f"{name} = {path} is not in this workspace", "name it as it lies in the workspace there"
            )
        values[name] = str(path.relative_to(workspace.root.absolute()))
    return values


def _release(workspace: Workspace) -> Path:
    release = current_release()
    file = workspace.root.absolute() / ".t2v" / "releases" / f"{release.name}.zip"
    if not file.exists():
        _write(file, release.bundle())
    return file


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with staged_file(file) as partial:
        partial.write_bytes(content)
