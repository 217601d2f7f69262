"""SkyPilot as a program of its own environment: its packages and ours do not go together."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from t2v_core.errors import InvalidRequest
from t2v_core.workspace import expanded

VARIABLE = "T2V_SKY"
HINT = (
    "python3 -m venv ~/.sky && ~/.sky/bin/pip install 'skypilot[gcp]', then put ~/.sky/bin on the PATH or set "
    f"{VARIABLE}=~/.sky/bin/sky"
)
# They would lead its interpreter to packages of ours.
OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def sky_program(environ: Mapping[str, str]) -> str:
    """Return the path of `sky`. Raises InvalidRequest, with how to install it, where there is none."""
    named = environ.get(VARIABLE)
    found = shutil.which(str(expanded(Path(named or "sky"))), path=environ.get("PATH"))
    if found is None:
        what = f"{VARIABLE}={named} is not a program" if named else "there is no program sky here (SkyPilot)"
        raise InvalidRequest(what, HINT)
    return found


def run_sky(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run `sky` with this terminal as its own, and return its exit code."""
    environment = {name: value for name, value in environ.items() if name not in OURS}
    program = sky_program(environ)
    try:
        return subprocess.run([program, *arguments], env=environment, check=False).returncode
    except OSError as error:
        raise InvalidRequest(f"{program} cannot be run: {error.strerror}", HINT) from error
