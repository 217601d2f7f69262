"""`python -m remote.gang HOSTS MIN_HOSTS -m t2v_core train JOBDIR`: in the engine's place, one job on several hosts."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from remote.gang.leader import GangRequest, Leader
from remote.jobs.host_pool import HostPool
from t2v_core.errors import EngineError, Stopped
from t2v_core.events import ErrorEvent, EventWriter
from t2v_core.job import Job
from t2v_core.specs import TrainSpec, read_spec
from t2v_core.workspace import Workspace

USAGE = "usage: python -m remote.gang HOST,HOST MIN_HOSTS -m t2v_core train JOBDIR"
WORDS = 6


def main(arguments: Sequence[str]) -> int:
    """Lead one job to its end, and return its exit code."""
    if len(arguments) != WORDS or arguments[2:5] != ["-m", "t2v_core", "train"] or not arguments[1].isdigit():
        print(USAGE, file=sys.stderr)
        return 2
    directory = Path(arguments[5]).resolve()
    events = EventWriter(directory / "events.jsonl")
    job = Job(directory, Workspace.of_job(directory), events)
    try:
        with job.stoppable(), HostPool(job.workspace) as pool:
            request = GangRequest(tuple(arguments[0].split(",")), int(arguments[1]))
            spec = read_spec("train", directory / "spec.json")
            assert isinstance(spec, TrainSpec)
            events.emit(Leader(request, spec, job, pool).run())
            return 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever happened, the job's events say so
        said = _in_a_sentence(error)
        if said is not error:
            traceback.print_exception(error)
        print(said.message, file=sys.stderr)
        events.emit(ErrorEvent(said.message, said.hint, said.exit_code))
        return said.exit_code
    finally:
        events.close()


def _in_a_sentence(error: BaseException) -> EngineError:
    if isinstance(error, EngineError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Stopped("interrupted twice: the hosts go on; t2v jobs lists their parts", exit_code=130)
    return EngineError(f"{type(error).__name__}: {error}", hint="the traceback is in the job's log")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
