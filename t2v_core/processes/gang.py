"""The door as the leader of several processes that do one job together; each is the same door with a rank."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from t2v_core.errors import EngineError, InvalidRequest, Stopped, WorkFailed
from t2v_core.events import AlarmEvent, DoneEvent
from t2v_core.job import Job
from t2v_core.machine import cores
from t2v_core.processes.member import GANG, PLACE, STARTED_AGAIN, Ending, is_launched, last_words
from t2v_core.processes.place import Place, place_here
from t2v_core.specs import EvaluateSpec, PreprocessSpec, TrainSpec, read_spec

if TYPE_CHECKING:
    from t2v_core.processes.elastic import Died
    from t2v_core.processes.several_machines import Pulse

SharedSpec = TrainSpec | PreprocessSpec | EvaluateSpec
SHARED_VERBS = ("train", "preprocess", "evaluate")
LOOPBACK_INTERFACE = Path("/sys/class/net/lo")
# After the word that another machine is gone: processes hang in a collective, and a checkpoint may be on its way.
GONE_GRACE_S = 15.0
KILLED_HINT = "usually memory ran out: try a smaller batch or fewer processes"


def run_gang(verb: str, job: Job) -> int | None:
    """Do a job in several processes, where its spec asks for them; returns 0 when it is done.

    None where this process is to do it alone. Raises what ended the job.
    """
    if is_launched() or verb not in SHARED_VERBS:
        return None
    spec = read_spec(verb, job.directory / "spec.json")
    assert isinstance(spec, SharedSpec)
    restarts = spec.max_restarts if isinstance(spec, TrainSpec) else 0
    size = _process_count(spec)
    if os.environ.get(PLACE):
        return _run_part(verb, job, size)
    if size == 1 and not restarts:
        return None
    Gang(verb, job, size, restarts).run()
    return 0


def _run_part(verb: str, job: Job, size: int) -> int:
    """Do this machine's part of a job that several share; whoever started it there starts it again."""
    began, place = time.monotonic(), place_here()
    assert place is not None
    Gang(verb, job, size, 0, place).run()
    if place.rank:  # on the first, its first process has said so, and what came of it
        job.events.emit(DoneEvent(round(time.monotonic() - began, 3)))
    return 0


def _process_count(spec: SharedSpec) -> int:
    """Return how many processes do the work. Raises InvalidRequest for more than there are GPUs."""
    if spec.processes == 1:
        return 1
    gpus = _gpus(spec.device)
    if spec.processes == "auto":
        return max(1, gpus)
    if 0 < gpus < spec.processes:
        raise InvalidRequest(
            f"{spec.processes} processes need a GPU each, and this machine has {gpus}",
            hint="--processes auto takes as many as there are",
        )
    return spec.processes


def _gpus(device: str) -> int:
    """Return the GPUs that the work may use; 0 for the CPU. Raises InvalidRequest without the engine."""
    if device not in ("auto", "cuda"):
        return 0
    try:
        import torch
    except ModuleNotFoundError as error:
        raise InvalidRequest(
            "the engine is not installed here: Python has no module torch",
            hint="pip install 't2v[engine]', or run on a host that has it",
        ) from error
    return torch.cuda.device_count()


class Gang:
    """Processes that share one job; this one starts them, passes signals on and says how it ended.

    size: how many; restarts: how often they are started again after one of them died
    place: of this machine among several whose processes do the job together
    """

    def __init__(self, verb: str, job: Job, size: int, restarts: int, place: Place | None = None) -> None:
        self.verb, self.job, self.size, self.restarts, self.place = verb, job, size, restarts, place
        self._told: signal.Signals | None = None
        self._pulse: Pulse | None = None
        self._gone: EngineError | None = None
        self._gone_at = 0.0

    def run(self) -> None:
        """Run them to the end of the job. Raises by what it ended, if not by being done."""
        for attempt in range(self.restarts + 1):
            ending = self._once()
            if ending is None:
                return
            if attempt == self.restarts or ending.is_on_request or ending.is_said:
                self._raise(ending)
            self.job.events.warning(
                f"{ending.message}; all start again, for the {_ordinal(attempt + 1)} time of {self.restarts} at most",
                hint=ending.hint,
            )
            os.environ[STARTED_AGAIN[0]] = "1"

    def _raise(self, ending: Ending) -> NoReturn:
        if ending.alarm:
            self.job.events.emit(AlarmEvent(ending.alarm, ending.message, ending.hint))
        raise _error_of(ending)

    def _once(self) -> Ending | None:
        """By what they ended; None when the work is done."""
        from t2v_core.processes.elastic import Ranks  # torch, which a job of one process imports when it needs it

        with tempfile.TemporaryDirectory(prefix="t2v-ranks-") as name:
            folder = Path(name)
            os.environ |= self._environment(folder)
            argv = [sys.executable, "-m", "t2v_core", self.verb, str(self.job.directory)]
            if self.place is None:
                return self._cause(Ranks(argv, self.size, folder).run(self._signal_to_pass_on), last_words(folder))
            return self._part(self.place, argv, folder)

    def _part(self, place: Place, argv: list[str], folder: Path) -> Ending | None:
        """Meet the other machines, run what is this one's part, and tell them by what it ended."""
        from t2v_core.processes.elastic import Ranks
        from t2v_core.processes.several_machines import Pulse, meet

        self.job.events.stage("hosts", f"waiting for {', '.join(place.hosts)} at {place.address}:{place.port}")
        met = place, meet(place, self.job.check_stop)
        self._pulse, is_well = Pulse(place), False
        try:
            died = Ranks(argv, self.size, folder, met).run(self._signal_to_pass_on)
            cause = self._cause_here(died, last_words(folder))
            is_well = cause is None or cause.is_on_request
        finally:
            self._pulse.end(is_well=is_well)
        return cause

    def _cause_here(self, died: list[Died], words: list[Ending]) -> Ending | None:
        """By what this machine's part ended, if not by being done; another one's end is told from its own."""
        from t2v_core.processes.several_machines import host_gone

        cause = self._cause(died, words)
        if cause is None:
            return None
        if self._gone is not None and self.job.stop_request() is None:
            return _ending(0, self._gone)
        if cause.is_echo:
            return _ending(cause.rank, host_gone(f"another host of this job is gone: {cause.message}", "see its log"))
        return cause

    def _environment(self, folder: Path) -> dict[str, str]:
        share = max(1, cores() // self.size)
        wanted = {"OMP_NUM_THREADS": str(share), "PYTHONUNBUFFERED": "1"}
        if self.place is not None:
            wanted["GLOO_SOCKET_IFNAME"] = self.place.interface
            wanted["NCCL_SOCKET_IFNAME"] = f"={self.place.interface}"
        elif (
            LOOPBACK_INTERFACE.exists()
        ):  # else gloo asks for the address of the machine's own name, which may have none
            wanted["GLOO_SOCKET_IFNAME"] = LOOPBACK_INTERFACE.name
        return {GANG: f"{os.getpid()}:{folder}"} | {k: v for k, v in wanted.items() if k not in os.environ}

    def _signal_to_pass_on(self) -> signal.Signals | None:
        """What this process was told by a signal, once; and the end, when another machine is gone."""
        if self._pulse is not None and self._gone is None and (gone := self._pulse.gone()) is not None:
            self._gone, self._gone_at = gone, time.monotonic()
            return signal.SIGTERM
        if self._gone is not None and time.monotonic() - self._gone_at > GONE_GRACE_S:
            return signal.SIGKILL
        asked = self.job.signal_request()
        number = None if asked is None else signal.SIGINT if asked.exit_code == 130 else signal.SIGTERM
        if number is self._told:
            return None
        self._told = number
        return number

    def _cause(self, died: list[Died], words: list[Ending]) -> Ending | None:
        """What came first, and not what it did to the others."""
        if not died:
            is_elsewhere = self.place is not None and self.place.rank > 0  # the first process is
            return next((word for word in words if word.rank == 0 or is_elsewhere), None)
        if (asked := self.job.signal_request()) is not None and not any(not word.is_on_request for word in words):
            return _ending(died[0].rank, asked)  # asked before they could listen
        own = [word for word in words if not word.is_on_request and not word.is_echo]
        if own:
            return own[0]
        silent = [one for one in died if one.rank not in {word.rank for word in words}]
        by_signal = [one for one in silent if one.exit_code < 0 and one.exit_code != -signal.SIGTERM]
        if by_signal or (silent and not words):
            return _silent(*(by_signal or silent)[0])
        return words[0]


def _silent(rank: int, code: int) -> Ending:
    """Of a process that could not say why."""
    if code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        hint = KILLED_HINT if -code == signal.SIGKILL else "the log may say more"
        return _ending(rank, WorkFailed(f"process {rank} of this job was killed ({name})", hint), 128 - code)
    return _ending(rank, WorkFailed(f"process {rank} of this job ended with code {code}", "the log may say more"), code)


def _ending(rank: int, error: EngineError, code: int | None = None) -> Ending:
    said = isinstance(error, Stopped)
    return Ending(rank, error.message, error.hint, code or error.exit_code, said, False, "", 0.0)


def _error_of(ending: Ending) -> EngineError:
    """The error that the job ends with."""
    if ending.is_on_request:
        return Stopped(ending.message, ending.hint, exit_code=ending.exit_code)
    kind = InvalidRequest if ending.exit_code == InvalidRequest.exit_code else WorkFailed
    error = kind(ending.message, ending.hint)
    error.exit_code = ending.exit_code
    return error


def _ordinal(number: int) -> str:
    words = ("first", "second", "third", "fourth", "fifth")
    return words[number - 1] if number <= len(words) else f"{number}th"
