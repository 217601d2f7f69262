"""One job from its `spec.json` to its exit code, for `python -m t2v_core VERB JOBDIR`.

Reads `JOBDIR/spec.json`, does the work, appends to `JOBDIR/events.jsonl`, and exits with an honest code:
0 done, 1 the work failed, 2 invalid request, 4 stopped on request, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from t2v_core.disk.files import describe_os_error, wrong_place
from t2v_core.errors import EngineError, InvalidRequest, NotEnoughMemory, Stopped
from t2v_core.events import AlarmEvent, DoneEvent, ErrorEvent, EventWriter
from t2v_core.events.results import Result
from t2v_core.job import Job
from t2v_core.memory import GPU_HINT, HINT, is_lack_of_memory, is_of_gpu
from t2v_core.processes.gang import run_gang
from t2v_core.processes.hand_over import hand_over
from t2v_core.processes.member import ENDED_ON_REQUEST, is_member, is_of_agent, leave_word, share_fate
from t2v_core.processes.process_group import is_first_process
from t2v_core.specs import Spec, read_spec
from t2v_core.workspace import Workspace

# Returns the fields of the `done` event: one of `t2v_core/events/results.py`.
Verb = Callable[[Spec, Job], Result | None]

# verb → the function that does it
VERBS = {
    "shapes": "t2v_core.data.shapes.shapes_set:make_set",
    "check": "t2v_core.data.check.check:check_data",
    "preprocess": "t2v_core.verbs.preprocess:preprocess",
    "manifest": "t2v_core.data.annotations.write_manifests:write_manifests",
    "import-latents": "t2v_core.data.legacy.import_latents:import_latents",
    "import-checkpoint": "t2v_core.verbs.import_checkpoint:import_checkpoint",
    "train": "t2v_core.verbs.train:train",
    "generate": "t2v_core.verbs.generate:generate",
    "sheet": "t2v_core.verbs.sheet:sheet",
    "add-noise": "t2v_core.verbs.vid2vid:add_noise",
    "refine": "t2v_core.verbs.vid2vid:refine",
    "evaluate": "t2v_core.verbs.evaluate:evaluate",
    "estimate": "t2v_core.verbs.estimates.estimate:estimate",
    "verify-resume": "t2v_core.verbs.verify_resume:verify_resume",
    "doctor": "t2v_core.verbs.doctor:doctor",
    "serve": "t2v_core.verbs.resident:serve",
    "models": "t2v_core.verbs.open.list_models:list_models",
    "fetch": "t2v_core.verbs.open.fetch:fetch",
    "export": "t2v_core.verbs.sharing.export:export",
    "publish": "t2v_core.verbs.sharing.publish:publish",
}


# The log is for what matters: no bars of libraries that load weights, no notes on how they could be loaded otherwise.
COMPILERS = ("torch._dynamo", "torch._inductor")
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job to its end and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 2 or arguments[0] not in VERBS or not Path(arguments[1]).is_dir():
        print(f"usage: python -m t2v_core {{{','.join(VERBS)}}} JOBDIR   (JOBDIR holds spec.json)", file=sys.stderr)
        return 2
    verb, directory = arguments[0], Path(arguments[1]).resolve()
    os.environ.update(QUIET)
    if is_member():
        share_fate()
    code = _do(verb, directory)
    # torchrun's agent ends all as soon as one has failed: one that was asked to end must not cut off the checkpoint.
    is_silent = is_member() or (is_of_agent() and not is_first_process())
    return 0 if code in ENDED_ON_REQUEST and is_silent else code


def _do(verb: str, directory: Path) -> int:
    with events_of(directory) as events:
        if not is_first_process():
            events.mute()
        job = Job(directory, Workspace.of_job(directory), events)
        os.chdir(job.workspace.root)  # a relative path in a spec is relative to the workspace
        try:
            with job.stoppable():
                code = hand_over(verb, job)
                code = run_gang(verb, job) if code is None else code
                return run_job(verb, job) if code is None else code
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever happened, the job's events say so
            return _report(error, events)


@contextmanager
def events_of(directory: Path) -> Iterator[EventWriter]:
    """Open the job's events, to be added to."""
    events = EventWriter(directory / "events.jsonl")
    try:
        yield events
    finally:
        events.close()


def run_job(verb: str, job: Job) -> int:
    """Do the work in this process, tell its end in the job's events, and return the exit code."""
    started = time.monotonic()
    try:
        result = _load(verb)(read_spec(verb, job.directory / "spec.json"), job)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - as above
        return _report(error, job.events)
    said = {} if result is None else result.plain()
    job.events.emit(DoneEvent(round(time.monotonic() - started, 3), extra=said))
    return 0


def _load(verb: str) -> Verb:
    try:
        module, _, name = VERBS[verb].partition(":")
        run: Verb = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("t2v_core"):
            raise
        raise InvalidRequest(
            f"the engine is not installed here: Python has no module {error.name}",
            hint="pip install 't2v[engine]', or run on a host that has it",
        ) from error
    return run


def _report(error: BaseException, events: EventWriter) -> int:
    """Write the error event, and the traceback into the log when it is not one of ours."""
    said = _in_a_sentence(error)
    alarm = ""
    if isinstance(said, NotEnoughMemory):
        alarm = "gpu-memory" if is_of_gpu(error.__cause__ or error) else "memory"
    if is_member():
        leave_word(said, error, alarm)
    else:
        if alarm:
            events.emit(AlarmEvent(alarm, said.message, said.hint))
        events.emit(ErrorEvent(said.message, said.hint, said.exit_code))
    with suppress(OSError):  # the log may lie on the full disk that this is about; the event has its reserve
        if said is not error and not isinstance(error, KeyboardInterrupt) and not isinstance(said, InvalidRequest):
            traceback.print_exception(error)
        print(said.message, file=sys.stderr)
    return said.exit_code


def _in_a_sentence(error: BaseException) -> EngineError:
    """An error in a sentence."""
    if isinstance(error, KeyboardInterrupt):
        return Stopped("interrupted twice: ended at once", exit_code=130)
    if is_lack_of_memory(error):
        whose, hint = ("the GPU has not enough", GPU_HINT) if is_of_gpu(error) else ("there is not enough", HINT)
        return NotEnoughMemory(f"{whose} memory{_what_for(error)}", hint=hint)
    if isinstance(error, OSError) and (wrong := wrong_place(error)):
        return wrong
    if isinstance(error, OSError):
        return describe_os_error(error, Path(error.filename or "."))
    if isinstance(error, EngineError):
        return error
    return _unexpected(error)


def _unexpected(error: BaseException) -> EngineError:
    if type(error).__module__.startswith(COMPILERS):
        return EngineError(
            f"torch could not compile the model{_what_for(error)}",
            hint="--compile no runs it as it is; the compiler's own words are in the job's log",
        )
    return EngineError(f"{type(error).__name__}: {error}", hint="the traceback is in the job's log")


def _what_for(error: BaseException) -> str:
    """`: Unable to allocate 26.0 GiB for …`, in the first line of what a library says."""
    first = str(error).strip().partition("\n")[0]
    return f": {first[:200]}" if first else ""
