"""Several processes that share one job, as our own door and `torchrun` start them.

They leave each other word in a shared store and use no collective: one of those waits inside C++, where a request to
stop is not heard, and where a process that was killed leaves the others for half an hour.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from t2v_core.errors import EngineError, InvalidRequest, Stopped, WorkFailed
from t2v_core.job import Job
from t2v_core.processes.shared_store import LaunchedStore, OwnStore, SharedStore, is_held_by_launcher

# One batch of the full-size VAE takes minutes on a CPU; processes that do nothing for so long are gone or stuck.
SILENCE_TIMEOUT_S = 3600
# A launcher ends all processes as soon as one has failed; the first one needs this long at most to say why.
FAREWELL_TIMEOUT_S = 120
# Without a launcher the first one holds the store. Who is longer than this at a batch finds it gone, and ends by that.
HOLD_STORE_S = 5
POLL_S = 0.1


def is_first_process() -> bool:
    """Return True for one process of those that a launcher started, and for one that it did not."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True)
class _Ending:
    """What ended a process, as the others read it."""

    message: str
    hint: str
    exit_code: int


class ProcessGroup:
    """This process among those that share the job.

    rank: 0 … size - 1; the first one alone writes events, manifests and everything else that stands once
    local_rank, local_size: the same among those on this machine
    """

    def __init__(
        self, job: Job, store: SharedStore, *, rank: int = 0, size: int = 1, local_rank: int = 0, local_size: int = 1
    ) -> None:
        self.job, self.store = job, store
        self.rank, self.size, self.local_rank, self.local_size = rank, size, local_rank, local_size
        self._heard: Counter[str] = Counter()

    @property
    def is_first(self) -> bool:
        """Return True for the process of rank 0."""
        return self.rank == 0

    def device(self, asked: str) -> str:
        """Give each process of a machine its own GPU, unless one is named."""
        if self.size == 1 or asked not in ("auto", "cuda"):
            return asked
        import torch  # several processes have it loaded

        gpus = torch.cuda.device_count()
        return f"cuda:{self.local_rank % gpus}" if gpus else asked

    def take(self, work: str) -> int:
        """Take the next piece of `work` that nobody has taken; returns its number, from 0."""
        return self.store.add(f"taken/{work}", 1) - 1

    def count(self, what: str, amount: int = 0) -> int:
        """Add to a count of all processes; returns the sum."""
        if amount:
            self.store.add("news", 1)
        return self.store.add(f"count/{what}", amount)

    def publish(self, name: str, value: Any) -> None:
        """Say something, as JSON, that every process can wait for."""
        self.store.set(f"published/{name}", json.dumps(value))

    def published(self, name: str) -> Any:
        """Return what the process that knows has published, or will. Raises as `wait_until`."""
        self.wait_until(lambda: self.store.has(f"published/{name}"))
        return json.loads(self.store.get(f"published/{name}"))

    def tell(self, topic: str, message: dict[str, Any]) -> None:
        """Leave a message for the first process."""
        number = self.store.add(f"told/{topic}", 1)
        self.store.set(f"message/{topic}/{number}", json.dumps(message))

    def hear(self, topic: str) -> Iterator[dict[str, Any]]:
        """Yield the messages that came since the last time."""
        while self.store.has(key := f"message/{topic}/{self._heard[topic] + 1}"):
            self._heard[topic] += 1
            yield json.loads(self.store.get(key))

    def check_stop(self) -> None:
        """Raise Stopped when the work was asked to end, here or in another process, or what ended another one."""
        asked: Stopped | None = None
        try:
            self.job.check_stop()
        except Stopped as stopped:
            asked = stopped
        other = self._ending()
        # A launcher ends the others by a signal when one has failed: then its failure is the reason, not the signal.
        if other is not None and not (asked and isinstance(other, Stopped)):
            raise other
        if asked is not None:
            raise asked

    def wait_until(self, is_so: Callable[[], bool], *, timeout_s: float = SILENCE_TIMEOUT_S) -> None:
        """Wait for the others. Raises as `check_stop`, and WorkFailed when none of them gets on for `timeout_s`."""
        news, since = -1, time.monotonic()
        while not is_so():
            self.check_stop()
            if (latest := self.store.add("news", 0)) != news:
                news, since = latest, time.monotonic()
            if time.monotonic() - since > timeout_s:
                raise WorkFailed(
                    f"the other processes of this run have done nothing for {timeout_s:g} s",
                    hint="end them and run again; complete shards are kept",
                )
            time.sleep(POLL_S)

    def end(self, error: BaseException) -> None:
        """Tell the others that this process ends, and why; the first to do so is heard."""
        if isinstance(error, KeyboardInterrupt):
            error = Stopped("interrupted twice", exit_code=130)
        if not isinstance(error, EngineError):
            error = EngineError(f"{type(error).__name__}: {error}", hint="the traceback is in the job's log")
        if self.store.add("endings", 1) == 1:
            ending = _Ending(error.message, error.hint, error.exit_code)
            self.store.set("ending", json.dumps(asdict(ending)))

    def leave(self, *, has_failed: bool) -> None:
        """Leave the others.

        Nobody who is still needed goes first: not who writes the events, and not who holds the store.
        """
        self.store.add("left", 1)
        if self.is_first:
            self.store.set("first-left", "")
            if not is_held_by_launcher():
                self._linger(HOLD_STORE_S, lambda: self.store.add("left", 0) == self.size)
        elif has_failed:
            self._linger(FAREWELL_TIMEOUT_S, lambda: self.store.has("first-left"))

    def _linger(self, timeout_s: float, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_so() and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _ending(self) -> EngineError | None:
        """What ended another process."""
        if not self.store.has("ending"):
            return None
        ending = _Ending(**json.loads(self.store.get("ending")))
        if ending.exit_code in (Stopped("").exit_code, 130):
            return Stopped("stopped with the other processes of this run", exit_code=ending.exit_code)
        kind = InvalidRequest if ending.exit_code == InvalidRequest.exit_code else WorkFailed
        return kind(ending.message, ending.hint)


@contextmanager
def joined(job: Job) -> Iterator[ProcessGroup]:
    """Yield the group that the environment speaks of (RANK, WORLD_SIZE, …), or this process alone.

    All processes but the first are mute from then on. Whatever ends one of them ends all.
    Raises WorkFailed when they do not find each other.
    """
    group = _group(job)
    if not group.is_first:
        job.events.mute()
    has_failed = True
    try:
        yield group
        has_failed = False
    except BaseException as error:
        with suppress(WorkFailed):  # who holds the store may be gone already, and then nobody asks
            group.end(error)
        raise
    finally:
        with suppress(WorkFailed):
            group.leave(has_failed=has_failed)


def _group(job: Job) -> ProcessGroup:
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ProcessGroup(job, OwnStore())
    rank = int(os.environ["RANK"])
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    return ProcessGroup(job, LaunchedStore(), rank=rank, size=size, local_rank=local_rank, local_size=local_size)
