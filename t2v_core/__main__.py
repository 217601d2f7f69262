"""The door into the engine: `python -m t2v_core VERB JOBDIR`.

Reads `JOBDIR/spec.json`, does the work, appends to `JOBDIR/events.jsonl`, and exits with an honest code:
0 done, 1 the work failed, 2 asked wrongly, 4 stopped on request, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from t2v_core.errors import AskedWrongly, EngineError, Stopped
from t2v_core.events import EventWriter
from t2v_core.files import describe_os_error
from t2v_core.job import Job
from t2v_core.specs import Spec, read_spec
from t2v_core.workspace import Workspace

# verb → the function `(spec, job)` that does it and returns the fields of the `done` event
VERBS = {
    "shapes": "t2v_core.data.shapes_set:make_set",
    "check": "t2v_core.data.check:check_data",
    "preprocess": "t2v_core.preprocess:preprocess",
    "manifest": "t2v_core.data.write_manifests:write_manifests",
    "import-latents": "t2v_core.data.import_latents:import_latents",
    "train": "t2v_core.train:train",
    "generate": "t2v_core.generate:generate",
    "add-noise": "t2v_core.vid2vid:add_noise",
    "refine": "t2v_core.vid2vid:refine",
    "evaluate": "t2v_core.evaluate:evaluate",
    "estimate": "t2v_core.estimate:estimate",
    "doctor": "t2v_core.doctor:doctor",
}


# The log is for what matters: no bars of libraries that load weights, no notes on how they could be loaded otherwise.
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job to its end and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 2 or arguments[0] not in VERBS or not Path(arguments[1]).is_dir():
        print(f"usage: python -m t2v_core {{{','.join(VERBS)}}} JOBDIR   (JOBDIR holds spec.json)", file=sys.stderr)
        return 2
    verb, directory = arguments[0], Path(arguments[1]).resolve()
    events = EventWriter(directory / "events.jsonl")
    job = Job(directory, Workspace.of_job(directory), events)
    started = time.monotonic()
    os.environ.update(QUIET)
    os.chdir(job.workspace.root)  # a relative path in a spec is relative to the workspace
    try:
        with job.stoppable():
            result = _load(verb)(read_spec(verb, directory / "spec.json"), job)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever happened, the job's events say so
        return _report(error, events)
    events.emit("done", seconds=round(time.monotonic() - started, 3), **result)
    return 0


def _load(verb: str) -> Callable[[Spec, Job], dict[str, Any]]:
    try:
        module, _, name = VERBS[verb].partition(":")
        run: Callable[[Spec, Job], dict[str, Any]] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("t2v_core"):
            raise
        raise AskedWrongly(
            f"the engine is not installed here: Python has no module {error.name}",
            hint="pip install 't2v[engine]', or run on a host that has it",
        ) from error
    return run


def _report(error: BaseException, events: EventWriter) -> int:
    """Write the error event, and the traceback into the log when it is not one of ours."""
    if isinstance(error, KeyboardInterrupt):
        error = Stopped("interrupted twice: ended at once", exit_code=130)
    elif isinstance(error, OSError):
        traceback.print_exception(error)
        error = describe_os_error(error, Path(error.filename or "."))
    elif not isinstance(error, EngineError):
        traceback.print_exception(error)
        error = EngineError(f"{type(error).__name__}: {error}", hint="the traceback is in the job's log")
    events.emit("error", message=error.message, hint=error.hint, exit_code=error.exit_code)
    print(error.message, file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
