"""A SkyPilot task: the same spec on machines of any cloud, started again by SkyPilot when they are taken away.

Source: https://docs.skypilot.co/en/latest/reference/yaml-spec.html (0.14)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remote.cluster.torchrun import PORT, torchrun_line
from t2v_core.errors import InvalidRequest

# On its machines: t2v, its environment, and a workspace.
HOME = "~/t2v"
BUCKET = re.compile(r"(gs|s3|r2|cos|oci|https)://[\w.-]+(/[\w./-]*)?")
ACCELERATORS = re.compile(r"[\w-]+(:\d+)?")
# What a process that a preemption ends returns by convention: 128 + SIGTERM.
PREEMPTED = 143


@dataclass(frozen=True)
class SkyRequest:
    """What a task asks SkyPilot for.

    nodes: machines; gpus: kind and count on each, as A100:8; infra: as gcp/us-central1, or None for the cheapest
    bucket: folder of a bucket with data/, and for checkpoints/; disk_gb: of each machine
    restarts: after an error that is none of the cloud's
    """

    nodes: int
    gpus: str
    infra: str | None
    is_spot: bool
    bucket: str | None
    disk_gb: int
    restarts: int

    def __post_init__(self) -> None:
        """Raise InvalidRequest for what SkyPilot would not read, and for a spot machine without a place to save."""
        if not ACCELERATORS.fullmatch(self.gpus):
            raise InvalidRequest(
                f"--gpus = {self.gpus!r} is not an accelerator", "such as A100:8; sky show-gpus lists them"
            )
        if self.bucket is not None and not BUCKET.fullmatch(self.bucket):
            raise InvalidRequest(f"--bucket = {self.bucket!r} is not a bucket's address", "such as gs://my-bucket/t2v")
        if self.is_spot and self.bucket is None:
            raise InvalidRequest(
                "a spot machine takes its disk with it, and no bucket is named for the checkpoints",
                "--bucket gs://NAME/FOLDER, or --no-spot",
            )

    def resources(self) -> dict[str, Any]:
        """Return the task's `resources`."""
        recovery = {
            "strategy": "EAGER_NEXT_REGION", "max_restarts_on_errors": self.restarts,
            "recover_on_exit_codes": [PREEMPTED],
        }  # fmt: skip
        return {
            **({"infra": self.infra} if self.infra else {}),
            "accelerators": self.gpus, "use_spot": self.is_spot, "disk_size": self.disk_gb, "job_recovery": recovery,
        }  # fmt: skip


def sky_task(
    request: SkyRequest, *, verb: str, job: str, spec: Mapping[str, Any], release: Path, data: Path | None
) -> dict[str, Any]:
    """Return the task for one job.

    spec: what was asked, with paths of the workspace there
    release: zip of this t2v (`Release.bundle`), on this machine; data: folder of the data set here, sent along where
        there is no bucket, and the spec names no address of latents
    """
    return {
        "name": f"t2v-{job}",
        "num_nodes": request.nodes,
        "resources": request.resources(),
        "envs": {"T2V_JOB": job, "T2V_SPEC_JSON": json.dumps(dict(spec), ensure_ascii=True)},
        "file_mounts": {f"{HOME}/release.zip": str(release), **_mounts(request, spec, data)},
        "setup": SETUP,
        "run": _run(verb),
    }


def _mounts(request: SkyRequest, spec: Mapping[str, Any], data: Path | None) -> dict[str, Any]:
    is_read_there = not spec.get("latents")
    if request.bucket is None:
        there = str(spec.get("data", "data/msr-vtt"))
        return {f"{HOME}/workspace/{there}": str(data)} if data is not None and is_read_there else {}
    root = request.bucket.rstrip("/")
    checkpoints = {f"{HOME}/workspace/checkpoints": {"source": f"{root}/checkpoints", "mode": "MOUNT_CACHED"}}
    if not is_read_there:
        return checkpoints
    return {f"{HOME}/workspace/data": {"source": f"{root}/data", "mode": "MOUNT"}} | checkpoints


SETUP = f"""set -e
cd {HOME}
command -v uv > /dev/null || python3 -m pip install --quiet uv
python3 -c 'import zipfile; zipfile.ZipFile("release.zip").extractall("release")'
[ -x env/bin/python ] || uv venv --quiet --python 3.11 env
uv pip install --quiet --python env/bin/python -r release/requirements.txt -c release/constraints.txt
mkdir -p workspace
"""


def _run(verb: str) -> str:
    line = torchrun_line(
        "~/t2v/env/bin/python", verb, '"jobs/$T2V_JOB"', nodes='"$SKYPILOT_NUM_NODES"',
        processes='"$SKYPILOT_NUM_GPUS_PER_NODE"',
        place='--node-rank="$SKYPILOT_NODE_RANK" --master-addr="$(echo "$SKYPILOT_NODE_IPS" | head -n 1)" '
        f"--master-port={PORT}",
    )  # fmt: skip
    return f"""cd {HOME}/workspace
job="jobs/$T2V_JOB"
mkdir -p "$job"
printf '%s' "$T2V_SPEC_JSON" > "$job/spec.json"
rm -f "$job/stop" "$job/preempted"
# On another machine than before it goes on from the last whole checkpoint.
export T2V_STARTED_AGAIN=1 PYTHONPATH="$HOME/t2v/release"
unset T2V_SPEC_JSON

# Google says 30 s before it takes a spot machine away: all processes then save a checkpoint and end.
notice() {{
  state=NONE
  while headers=$(curl -sf --max-time 90 -D - -o "$job/notice" -H 'Metadata-Flavor: Google' \\
      "http://metadata.google.internal/computeMetadata/v1/instance/preempted?wait_for_change=true&timeout_sec=60&last_etag=$state")
  do
    if [ "$(cat "$job/notice")" = TRUE ]; then touch "$job/preempted" "$job/stop"; return; fi
    state=$(printf '%s' "$headers" | tr -d '\\r' | sed -n 's/^[Ee][Tt]ag: //p')
  done
}}
notice & watcher=$!

{line}
code=$?
kill "$watcher" 2>/dev/null
[ -e "$job/preempted" ] && exit {PREEMPTED}
exit "$code"
"""


def as_yaml(task: Mapping[str, Any]) -> str:
    """Return a task as YAML: scripts as blocks that people can read, everything else as JSON, which YAML holds."""
    lines = []
    for name, value in task.items():
        if isinstance(value, str) and "\n" in value:
            block = "".join(f"  {line}\n" if line else "\n" for line in value.splitlines())
            lines.append(f"{name}: |\n{block}")
        elif isinstance(value, Mapping):
            inner = "".join(f"  {json.dumps(key)}: {json.dumps(one)}\n" for key, one in value.items())
            lines.append(f"{name}:\n{inner}" if value else f"{name}: {{}}\n")
        else:
            lines.append(f"{name}: {json.dumps(value)}\n")
    return "".join(lines)
