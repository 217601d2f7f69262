"""The doctor of the t2v that is on this machine, asked from elsewhere."""

from __future__ import annotations

import json
import os
import subprocess

from ..base.asked import arguments_in, expanded, take, workspace
from ..base.files import Json, Problem
from ..base.private import require_shut
from ..jobs.releases import with_release

# Its own look at torch may take two minutes on a cold disk.
EXAMINE_TIMEOUT_S = 180.0


def examine(parameters: Json) -> Json:
    """Return what `t2v doctor --json` says in the workspace. Leaves no job behind, and needs no turn of the GPU.

    python, release, env: as for a job; spec: a DoctorSpec; patience_s: longer when every byte is to be read
    """
    root = workspace(parameters)
    python = arguments_in(take(parameters, "python", list), "python")
    environment = with_release(take(parameters, "env", dict, {}), root, take(parameters, "release", str, None))
    arguments_in([*environment, *environment.values()], "env")
    timeout_s = float(take(parameters, "patience_s", float, EXAMINE_TIMEOUT_S))
    if not root.is_dir():
        raise Problem("not-found", f"there is no folder {root}", "the first job there makes it")
    require_shut(root, str(expanded(python[0])))
    # The settings are those of who asks: one variable of this machine's own would be one more opinion.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("T2V_")}
    argv = [str(expanded(python[0])), *python[1:], "-m", "t2v_core.diagnosis"]
    try:
        done = subprocess.run(
            argv, cwd=root, env={**inherited, "PYTHONUTF8": "1", **environment}, timeout=timeout_s, check=False,
            input=json.dumps(take(parameters, "spec", dict, {})).encode(), capture_output=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Problem("failed", f"the doctor there did not end within {timeout_s:.0f} s") from error
    try:
        return dict(json.loads(done.stdout))
    except ValueError as error:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        why = said[-1] if said else f"exit code {done.returncode}"
        raise Problem("failed", f"the t2v there has no doctor that answers: {why}") from error
