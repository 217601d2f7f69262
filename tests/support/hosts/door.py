"""The door within this process: the same `main`, without the ten seconds a new process takes to import diffusers."""

from __future__ import annotations

import contextlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.engine.engine import Ended, events_of
from t2v_core.run_job import main
from t2v_core.workspace import Workspace, create_job_directory


@dataclass(frozen=True)
class EndedHere(Ended):
    """log: what the job wrote to stderr"""

    log: str

    @property
    def sentence(self) -> str:
        """The error of a job that was asked wrongly: exit code 2, one line in the log and no traceback."""
        assert (self.code, self.error["exit_code"], self.of("done")) == (2, 2, [])
        assert self.log == self.error["message"] + "\n"
        return str(self.error["message"])


def through_the_door(workspace: Path, verb: str, **spec: Any) -> EndedHere:
    """Run one job to its end."""
    directory = create_job_directory(Workspace(workspace), verb)
    (directory / "spec.json").write_text(json.dumps(spec))
    log = io.StringIO()
    environment = dict(os.environ)
    try:
        with contextlib.chdir(workspace), contextlib.redirect_stderr(log):
            code = main([verb, str(directory)])
    finally:
        os.environ.clear()
        os.environ.update(environment)
    return EndedHere(code, events_of(directory), log.getvalue())
