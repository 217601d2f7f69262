"""One press: VM ▸ SSH ▸ guard ▸ code ▸ environment ▸ data ▸ disk ▸ launch, each done where it is due.

Each step looks first. It may be left at any step and asked again from the start: what is there stays, and one press
stays one job.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

from remote.errors import NotReady, RemoteError
from remote.hosts.host import Host
from remote.hosts.settings import LOCAL
from remote.jobs.client import HostJobs, RemoteJob
from remote.launch.preflight import HostStatus, inspect_host, reads_elsewhere
from remote.power.host import switched
from remote.power.start import guarded, ssh_up, vm_up
from remote.setup.old_data import command, old_data_words
from remote.setup.release import Release, current_release
from remote.steps import Status, StepState
from t2v_core.format import size
from t2v_core.specs import Spec
from t2v_core.workspace import Workspace

STEPS = ("VM", "SSH", "guard", "code", "environment", "data", "disk", "launch")
# A bootstrap's steps, by the one that they belong to here.
BELONGS_TO = {"release": "code", "in use": "code", "disk": "disk"}
# Less than this ends any work soon; the engine itself knows what its checkpoints need.
MIN_FREE_BYTES = 2_000_000_000


MAY_LINGER = "by its administrator, there: sudo loginctl enable-linger USER"


class Launch:
    """Iterate it for its steps, in the order of STEPS, those that are none for the host left out.

    after: id of a job there that has to succeed first; it may be the one that makes the data
    key:   makes it the same job as an earlier request; by itself the same press is remembered for an hour
    argv:  another program in the engine's place
    cancelled:  set by another thread that does not want it any more: a VM is not started from then on
    job:   what came of it, after the last step

    Raises after yielding the failed step: CloudError, HostUnreachable, NotReady, AgentError.
    """

    def __init__(
        self, host: Host, workspace: Workspace, verb: str, spec: Spec, *, after: str | None = None,
        key: str | None = None, jobs: HostJobs | None = None, cancelled: threading.Event | None = None,
        argv: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.cancelled = cancelled
        self.host, self.workspace, self.verb, self.spec = host, workspace, verb, spec
        self.after, self.key, self.argv = after, key, argv
        self.jobs = jobs or HostJobs(host, workspace)
        self.job: RemoteJob | None = None

    def __iter__(self) -> Iterator[StepState]:
        release = yield from self.ready()
        yield from self._launched(release)

    def ready(self) -> Generator[StepState, None, Release | None]:
        """Yield every step but the launch; returns the release that the job will need there."""
        if self.host.name == LOCAL:
            return None
        release = current_release()
        yield from self._reached()
        standing = yield from self._looked(release)
        yield from self._named(standing)
        yield from self._data(standing)  # before gigabytes are installed for nothing
        yield from self._made_ready(release, standing)
        yield from self._disk(standing)
        return release if self.host.is_managed else None

    def _reached(self) -> Iterator[StepState]:
        if (host := switched(self.host)) is None:
            return
        yield from vm_up(host, self.workspace, self.cancelled)
        yield from ssh_up(host)
        yield from guarded(host, self.workspace)  # at once: what comes takes minutes, may fail, and may be left

    def _looked(self, release: Release) -> Generator[StepState, None, HostStatus]:
        try:
            standing = inspect_host(self.jobs, self.verb, self.spec, release, begins=True)
        except RemoteError as error:
            yield StepState("SSH", Status.FAILED, error.message, error.hint)
            raise
        if standing.logout:
            yield StepState("SSH", Status.NOTE, standing.logout, MAY_LINGER)
        else:
            yield StepState("SSH", Status.OK, self.host.name)
        return standing

    def _named(self, standing: HostStatus) -> Iterator[StepState]:
        """Files that are named; a job that comes first may be the one that makes them."""
        if not standing.absent or self.after is not None:
            return
        name = standing.absent[0]
        sentence = f"{self.host.name} has no {name}"
        hint = f"bring it: t2v push {name} --host {self.host.name}; a relative path is one of the workspace there"
        yield StepState("data", Status.FAILED, sentence, hint)
        raise NotReady(sentence, hint)

    def _data(self, standing: HostStatus) -> Iterator[StepState]:
        data = getattr(self.spec, "data", None)
        if data is None or (standing.missing and self.after is not None):
            return
        if not standing.missing:
            yield StepState("data", Status.OK, str(reads_elsewhere(self.spec) or data))
            return
        what = " and ".join(standing.missing)
        sentence = f"{self.host.name} has no {what} in {data}"
        if standing.old:
            sentence = f"{sentence} that training reads yet; there are {old_data_words(standing.old)}"
            hint = f"take those: {command(str(data), self.host.name)}"
            yield StepState("data", Status.FAILED, sentence, hint)
            raise NotReady(sentence, hint)
        make = f", or make them there: t2v preprocess --host {self.host.name}" if self.verb == "train" else ""
        hint = f"bring them: t2v push data --host {self.host.name}{make}"
        yield StepState("data", Status.FAILED, sentence, hint)
        raise NotReady(sentence, hint)

    def _made_ready(self, release: Release, standing: HostStatus) -> Iterator[StepState]:
        if not self.host.is_managed:
            yield StepState("environment", Status.OK, self.host.engine_python)
        elif standing.has_release and standing.has_environment:
            yield StepState("code", Status.OK, release.name)
            yield StepState("environment", Status.OK, self.host.engine_python)
        else:
            from remote.setup.bootstrap import bootstrap  # the first job on a host needs it, no other

            yield StepState("code", Status.DOING, f"making {self.host.name} ready")
            for state in bootstrap(self.host, self.workspace, release=release):
                yield replace(state, name=BELONGS_TO.get(state.name, "environment"), detail=_with_name(state))

    def _disk(self, standing: HostStatus) -> Iterator[StepState]:
        free = standing.disk_free_bytes
        if free is None:
            return
        if free < MIN_FREE_BYTES:
            sentence = f"{self.host.name} has {size(free)} free in {self.host.workdir}"
            hint = "remove old checkpoints or outputs there, or make its disk larger"
            yield StepState("disk", Status.FAILED, sentence, hint)
            raise NotReady(sentence, hint)
        yield StepState("disk", Status.OK, f"{size(free)} free")

    def _launched(self, release: Release | None) -> Iterator[StepState]:
        yield StepState("launch", Status.DOING, self.verb)
        name = release.name if release is not None else None
        try:
            self.job = self.jobs.submit(
                self.verb, self.spec, after=self.after, key=self.key, release=name, argv=self.argv
            )
        except RemoteError as error:
            yield StepState("launch", Status.FAILED, error.message, error.hint)
            raise
        word = "" if self.job.is_new else "; it was already submitted, but the reply was lost"
        yield StepState("launch", Status.DONE, f"{self.job.job}, {self.job.state}{word}")


def _with_name(state: StepState) -> str:
    return f"{state.name}: {state.detail}" if state.detail else state.name
