"""Which threads listen: one for each host, each VM and each job that is followed, and the gauges of the chosen host."""

from __future__ import annotations

from collections.abc import Callable

from remote.power.state import Power
from t2v_tui.store.state import HostKind, JobKey, State
from t2v_tui.workers.services import Services
from t2v_tui.workers.streams import HostPoll, MachineWatch, RunFollow, Stream, Tell, VmWatch


class Subscriptions:
    """ready: told when a followed job has something to be taken"""

    def __init__(self, services: Services, tell: Tell, ready: Callable[[RunFollow], None]) -> None:
        self.services, self.tell, self.ready = services, tell, ready
        self.state: State | None = None
        self._polls: dict[str, HostPoll] = {}
        self._vms: dict[str, VmWatch] = {}
        self._follows: dict[JobKey, RunFollow] = {}
        self._told_whole: set[JobKey] = set()  # they have ended, and all that they said was told
        self._machine: MachineWatch | None = None

    def listen(self, state: State) -> None:
        """Listen to what there is now: start the threads that are missing, and end those of hosts that are gone."""
        self.state = state
        for name, host in state.hosts.items():
            if name not in self._polls:
                self._polls[name] = HostPoll(name, self.services, self.tell, self._is_off)
                self._polls[name].start()
            if host.kind is HostKind.VM and name not in self._vms:
                self._vms[name] = VmWatch(name, self.services, self.tell)
                self._vms[name].start()
        for known in (self._polls, self._vms):
            for name in [name for name in known if name not in state.hosts]:
                known.pop(name).close()
        if self._machine is None or self._machine.host != state.host:
            if self._machine is not None:
                self._machine.close()
            self._machine = MachineWatch(state.host, self.services, self.tell, self._is_off)
            self._machine.start()

    def _is_off(self, host: str) -> bool:
        view = self.state.hosts.get(host) if self.state else None
        return view is not None and view.vm is not None and view.vm.power is Power.STOPPED

    def follow(self, job: JobKey) -> None:
        """Follow a job until it has ended; one that has ended is read once: 100,000 steps take a second of a core."""
        if job not in self._follows and job not in self._told_whole:
            self._follows[job] = RunFollow(job, self.services, self.tell, self.ready)
            self._follows[job].start()

    def has_ended(self, job: JobKey) -> None:
        """Note that all the job said was told: it is not followed again."""
        self._follows.pop(job, None)
        self._told_whole.add(job)

    def wake(self, host: str) -> None:
        """Ask it now."""
        for stream in (self._polls.get(host), self._vms.get(host)):
            if stream is not None:
                stream.wake()

    def close(self) -> None:
        """End every thread that listens."""
        streams: list[Stream] = [*self._polls.values(), *self._vms.values(), *self._follows.values()]
        for stream in [*streams, *([self._machine] if self._machine else [])]:
            stream.close()
