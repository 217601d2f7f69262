"""torchrun's elastic agent, run by this process: it starts the ranks of this machine and ends them together."""

from __future__ import annotations

import logging
import os
import signal
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from torch.distributed.distributed_c10d import Store
from torch.distributed.elastic.agent.server.api import RunResult, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.rendezvous import RendezvousHandler, RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from t2v_core.errors import WorkFailed
from t2v_core.processes.place import Place
from t2v_core.processes.rank_log import RankLog
from t2v_core.processes.several_machines import MetRendezvous

LOOPBACK = "127.0.0.1"
POLL_S = 0.1


class Died(NamedTuple):
    """A process that ended with another exit code than 0; negative for a signal."""

    rank: int
    exit_code: int


class Ranks:
    """Processes of one job on this machine, from their start to the end of the last.

    argv: what each runs; size: how many; folder: for their pipes
    met: the place of this machine among several, and the store that they share
    """

    def __init__(self, argv: Sequence[str], size: int, folder: Path, met: tuple[Place, Store] | None = None) -> None:
        # It says with each start that it cannot take signals in a thread, which is what is wanted.
        logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.ERROR)
        self._log = RankLog(folder)
        address = LOOPBACK if met is None else met[0].own_address
        self._handler: RendezvousHandler = _alone() if met is None else MetRendezvous(*met)
        spec = WorkerSpec(
            role="t2v", local_world_size=size, entrypoint=argv[0], args=tuple(argv[1:]), rdzv_handler=self._handler,
            max_restarts=0, monitor_interval=POLL_S, local_addr=address,
        )  # fmt: skip
        self._agent = LocalElasticAgent(spec, self._log)
        self._result: RunResult | None = None
        self._error: BaseException | None = None

    def run(self, attend: Callable[[], signal.Signals | None]) -> list[Died]:
        """Run them to their end; returns those that ended with an exit code, the first first.

        As soon as one has, the others are told to end by SIGTERM, and killed after 30 s.
        attend: called all the while in this thread; each signal that it returns goes to all of them
        Raises WorkFailed when they cannot be started.
        """
        thread = threading.Thread(target=self._run, name="ranks")
        thread.start()
        try:
            while thread.is_alive():
                thread.join(POLL_S)
                if (number := attend()) is not None:
                    self._send(number)
        except BaseException:  # a second Ctrl-C: at once
            while thread.is_alive():
                self._send(signal.SIGKILL)
                thread.join(POLL_S)
            raise
        finally:
            self._log.close()
        if self._error is not None or self._result is None:
            raise WorkFailed(
                f"the processes of this job could not be started: {self._error}", hint="the job's log may say more"
            ) from self._error
        return [Died(rank, failure.exitcode) for rank, failure in self._result.failures.items()]

    def _run(self) -> None:
        try:
            self._result = self._agent.run()
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
            self._error = error
        finally:
            self._handler.shutdown()

    def _send(self, number: signal.Signals) -> None:
        for worker in self._agent.get_worker_group().workers:
            if isinstance(worker.id, int):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(worker.id, number)


def _alone() -> RendezvousHandler:
    return get_rendezvous_handler(
        RendezvousParameters("c10d", f"{LOOPBACK}:0", uuid.uuid4().hex, 1, 1, LOOPBACK, is_host="true")
    )
