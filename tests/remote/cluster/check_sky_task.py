"""Reads a task by the schemas of the SkyPilot of the environment it runs in; no other part of SkyPilot is imported.

python check_sky_task.py TASK.yaml     prints `valid`, or ends by 1 with what is wrong
"""

from __future__ import annotations

import enum
import importlib.metadata
import importlib.util
import sys
import types
from pathlib import Path

import jsonschema
import yaml


def module(name: str, **values: object) -> None:
    """Put a stand-in in the place of one whose imports need packages of SkyPilot's server."""
    made = types.ModuleType(name)
    vars(made).update(values)
    sys.modules[name] = made
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, made)


class AutostopWaitFor(enum.Enum):
    """What the schemas ask of it: its values."""

    JOBS = "jobs"

    @classmethod
    def supported_modes(cls) -> list[str]:
        """Return the words that a task may hold."""
        return ["jobs", "jobs_and_ssh", "none"]


found = importlib.util.find_spec("sky")
assert found is not None
assert found.submodule_search_locations
ROOT = Path(next(iter(found.submodule_search_locations)))
VERSION = importlib.metadata.version("skypilot")
for package in ("sky", "sky.skylet", "sky.utils", "sky.setup_files", "sky.server"):
    module(package, __path__=[str(ROOT.joinpath(*package.split(".")[1:]))], __version__=VERSION)
module("sky.skylet.autostop_lib", AutostopWaitFor=AutostopWaitFor)
module("sky.setup_files.dependencies", __getattr__=lambda _name: "")
module("sky.server.daemons", INTERNAL_REQUEST_DAEMONS=[])
from sky.utils import schemas  # type: ignore[import-not-found]  # noqa: E402 - the stand-ins come first

task = yaml.safe_load(Path(sys.argv[1]).read_text())
try:
    jsonschema.validate(task, schemas.get_task_schema())
    jsonschema.validate(task["resources"], schemas.get_resources_schema())
except jsonschema.ValidationError as error:
    sys.exit(f"{'/'.join(map(str, error.absolute_path))}: {error.message}")
print("valid")
