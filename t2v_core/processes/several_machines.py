"""How the machines that share a job find each other, and hear that one is lost."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from torch._C._distributed_c10d import TCPStore
from torch.distributed import DistStoreError
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.elastic.rendezvous import RendezvousHandler, RendezvousInfo, RendezvousStoreInfo

from t2v_core.errors import WorkFailed
from t2v_core.processes.place import OTHER_HOST_GONE, Place

# A machine whose environment has to be read from a cold disk takes minutes to import torch.
MEETING_TIMEOUT_S = 300.0
CONNECT_TIMEOUT_S = 2.0
PULSE_S = 1.0
# A machine without a pulse for so long is gone. Its processes are then told to end, and killed if they hang in a
# collective: all within a minute.
LOST_S = 20.0
STORE_TIMEOUT_S = 10.0
FAREWELL_S = 5.0


def host_gone(message: str, hint: str) -> WorkFailed:
    """Return the error of a part that ended because another machine ended, or is not heard any more."""
    error = WorkFailed(message, hint)
    error.exit_code = OTHER_HOST_GONE
    return error


def meet(place: Place, attend: Callable[[], None]) -> Store:
    """Return the store that all machines of the job share, when all have come.

    attend: called several times a second meanwhile; what it raises ends the wait
    Raises WorkFailed when they are not there within five minutes, or another program has taken the port.
    """
    deadline = time.monotonic() + MEETING_TIMEOUT_S
    store = PrefixStore(place.run, _hold(place) if place.rank == 0 else _join(place, attend, deadline))
    store.set(f"came/{place.rank}", place.name)
    while missing := [name for rank, name in enumerate(place.hosts) if not store.check([f"came/{rank}"])]:
        attend()
        if time.monotonic() > deadline:
            raise WorkFailed(f"{' and '.join(missing)} did not come within {MEETING_TIMEOUT_S:g} s", "see its log")
        time.sleep(0.1)
    return store


def _hold(place: Place) -> TCPStore:
    try:
        return TCPStore(
            place.address, place.port, None, is_master=True, wait_for_workers=False, multi_tenant=True,
            timeout=timedelta(seconds=STORE_TIMEOUT_S),
        )  # fmt: skip
    except (RuntimeError, ValueError) as error:
        raise WorkFailed(
            f"port {place.port} of {place.name} was taken meanwhile: {str(error).splitlines()[0]}", "start it again"
        ) from error


def _connected(place: Place) -> TCPStore:
    """Return a connection to the store. Raises RuntimeError."""
    store = TCPStore(
        place.address, place.port, None, is_master=False, wait_for_workers=False,
        timeout=timedelta(seconds=CONNECT_TIMEOUT_S),
    )  # fmt: skip
    store.set_timeout(timedelta(seconds=STORE_TIMEOUT_S))
    return store


def _join(place: Place, attend: Callable[[], None], deadline: float) -> TCPStore:
    while True:
        attend()
        try:
            # Before anybody listens there, torch's own client fills the log with its stack.
            socket.create_connection((place.address, place.port), CONNECT_TIMEOUT_S).close()
            return _connected(place)
        except (OSError, RuntimeError) as error:  # DistStoreError, DistNetworkError
            if time.monotonic() > deadline:
                raise WorkFailed(
                    f"{place.hosts[0]} is not to be reached at {place.address}:{place.port} from {place.name}: "
                    f"{str(error).splitlines()[0]}",
                    "a firewall between them must let TCP through",
                ) from error
            time.sleep(0.2)


class MetRendezvous(RendezvousHandler):
    """Hands a store in which all machines have met to torchrun's agent, each with the rank that it was given.

    torchrun's own c10d handler gives ranks by the order of addresses, and the checkpoints lie on the first machine.
    """

    def __init__(self, place: Place, store: Store) -> None:
        self._place, self._store = place, store

    def get_backend(self) -> str:
        """Return the name of this kind."""
        return "t2v-met"

    @property
    def use_agent_store(self) -> bool:
        """Return True: the processes use the store of the machines, which outlives them."""
        return True

    def next_rendezvous(self) -> RendezvousInfo:
        """Return the store and the place in it."""
        place = self._place
        return RendezvousInfo(self._store, place.rank, place.size, RendezvousStoreInfo(place.address, place.port))

    def is_closed(self) -> bool:
        """Return False: it is for one start only."""
        return False

    def set_closed(self) -> None:
        """Do nothing, as above."""

    def num_nodes_waiting(self) -> int:
        """Return 0: nobody joins later."""
        return 0

    def get_run_id(self) -> str:
        """Return what tells this start from others."""
        return self._place.run

    def shutdown(self) -> bool:
        """Do nothing: the store ends with the process."""
        return True


class Pulse:
    """Tells the other machines that this one lives, and hears whether they do; a thread does it, from the beginning.

    It has a connection of its own: a question to a machine that is gone takes long. Raises RuntimeError without one.
    """

    def __init__(self, place: Place) -> None:
        self.place, self.store = place, PrefixStore(place.run, _connected(place))
        self._over = threading.Event()
        self._answered_at = now = time.monotonic()
        self._heard = {rank: (-1, now) for rank in range(place.size) if rank != place.rank}
        self._ended = ""
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def gone(self) -> WorkFailed | None:
        """Return which other machine has ended, or is not heard any more; None while all live."""
        now, names = time.monotonic(), self.place.hosts
        if self._ended:
            return host_gone(f"{self._ended} ended, and with it this part of the job", "its own log says why")
        if self.place.rank and now - self._answered_at > LOST_S:
            return host_gone(f"{names[0]} has not been heard for {LOST_S:g} s", "it is off, or the network is")
        lost = [names[rank] for rank, (_, since) in self._heard.items() if now - since > LOST_S]
        if lost and now - self._answered_at <= LOST_S:
            return host_gone(f"{' and '.join(lost)} was not heard for {LOST_S:g} s", "it is off, or the network is")
        return None

    def end(self, *, is_well: bool) -> None:
        """Tell the others how this machine ended; the first one waits a moment for theirs, since it holds the store."""
        self._over.set()
        # A question to a machine whose plug was pulled is waited for by the kernel, for a quarter of an hour.
        farewell = threading.Thread(target=self._say_end, args=(is_well,), name="farewell", daemon=True)
        farewell.start()
        farewell.join(FAREWELL_S)

    def _say_end(self, is_well: bool) -> None:
        deadline = time.monotonic() + FAREWELL_S
        try:
            self.store.set(f"ended/{self.place.rank}", "" if is_well else "failed")
            while self.place.rank == 0 and time.monotonic() < deadline and self._ended_count() < self.place.size:
                time.sleep(0.1)
        except RuntimeError:  # of a store that is gone: nobody listens
            return

    def _ended_count(self) -> int:
        return sum(self.store.check([f"ended/{rank}"]) for rank in range(self.place.size))

    def _beat(self) -> None:
        count = 0
        while not self._over.wait(PULSE_S):
            count += 1
            try:
                self.store.set(f"pulse/{self.place.rank}", str(count))
                self._listen()
            except DistStoreError:  # it did not answer in time; `gone` sees how long that lasts
                continue
            except RuntimeError:  # the connection is gone, and with it the machine that holds the store
                self._ended = self._ended or self.place.hosts[0]
                return
            self._answered_at = time.monotonic()

    def _listen(self) -> None:
        for rank, (before, _) in list(self._heard.items()):
            if self.store.check([f"ended/{rank}"]):
                if self.store.get(f"ended/{rank}"):
                    self._ended = self.place.hosts[rank]
                self._heard.pop(rank)
            elif self.store.check([f"pulse/{rank}"]) and (now := int(self.store.get(f"pulse/{rank}"))) != before:
                self._heard[rank] = (now, time.monotonic())
