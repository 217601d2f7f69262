"""The jobs of one host: start, list, stop, and ask something of one. The same for this machine and for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from remote.errors import AuthFailed, HostKeyRefused, HostOff, HostUnreachable, NotAnswered
from remote.hosts.agent_client import Agent
from remote.hosts.backoff import Backoff
from remote.hosts.host import Host
from remote.hosts.settings import LOCAL
from remote.jobs.request_keys import pressed
from remote.jobs.spool import Spool
from remote.replies.job_row import JobRow
from remote.replies.jobs import JobRows, Stopped
from remote.replies.question import Question, bad_reply
from remote.replies.questions import REQUEST, START, STATUS, STOP
from remote.workspace_id import identity
from t2v_core.errors import EngineError
from t2v_core.workspace import Workspace

if TYPE_CHECKING:
    from t2v_core.specs import Spec

R = TypeVar("R")
# A question is asked again for so long when its answer is lost; a start is worth a longer wait.
QUESTION_PATIENCE_S, START_PATIENCE_S = 20.0, 60.0
START_TIMEOUT_S = 45.0  # a supervisor on a machine that swaps may take 30 s to say that it is at work
STOP_GRACE_S = 60.0


@dataclass(frozen=True)
class RemoteJob:
    """A job that a host has.

    is_new: made by this request; False for one that an earlier request with the same key made
    """

    host: str
    job: str
    is_new: bool
    state: str


class HostJobs:
    """Talks to the agent of one host, over one channel that is opened when it is needed and again when it was lost.

    workspace: the one here, which keeps what is known of the host's jobs and the keys of unanswered requests

    Every question may be asked twice without harm, so one whose answer is lost is asked again by itself. Raises
    HostUnreachable when the host cannot be reached at first, LinkLost when it stays away; threads may share it.
    """

    def __init__(self, host: Host, workspace: Workspace) -> None:
        self.host, self.workspace = host, workspace
        self._agent: Agent | None = None
        self._told = JobRows(())  # the last reply about all jobs
        self._lock = threading.Lock()

    @cached_property
    def identity(self) -> dict[str, str]:
        """Return this workspace as the host knows it; a folder of this machine has only itself."""
        return {} if self.host.name == LOCAL else identity(self.workspace)

    def submit(
        self,
        verb: str,
        spec: Spec,
        *,
        after: str | None = None,
        key: str | None = None,
        env: Mapping[str, str] | None = None,
        release: str | None = None,
        argv: Sequence[str] = (),
        engine: Sequence[str] = (),
    ) -> RemoteJob:
        """Start a job that goes on without us; its paths are relative to the workspace there.

        after: id of a job that has to succeed first
        key:   makes it the same job as an earlier request; made and remembered here when it is left out
        release: of t2v that it needs there; JobNotFound when the host has not got it
        argv:  another program in the engine's place; `~` at its beginning is the home folder there
        engine: a program that is begun as the engine's Python is, `… -m t2v_core VERB JOBDIR`, and needs no GPU itself
        """
        from t2v_core.specs import asked_values  # 0.05 s that a transfer and a look need not pay

        asked = {
            "verb": verb, "spec": asked_values(spec), "after": after, "env": dict(env or {}),
            "needs_gpu": not engine and getattr(spec, "device", "cpu") != "cpu",
            **({"release": release} if release else {}),
            **({"argv": list(argv)} if argv else {"python": list(engine) or [self.host.engine_python]}),
        }  # fmt: skip
        if key is not None:
            return self._start(asked, key)
        with pressed(self.workspace, {"host": self.host.name, "there": self.host.workdir, **asked}) as made:
            return self._start(asked, made)

    def _start(self, asked: dict[str, Any], key: str) -> RemoteJob:
        said = self.ask(START, START_PATIENCE_S, START_TIMEOUT_S, **asked, key=key)
        if said.is_new:  # it is known here from now on, also to who never looks again from this terminal
            self._keep(
                JobRow(
                    said.job, asked["verb"], said.state, queued_t=time.time(), needs_gpu=asked["needs_gpu"],
                    after=asked["after"],
                )
            )  # fmt: skip
        return RemoteJob(self.host.name, said.job, said.is_new, said.state)

    def rows(self) -> tuple[JobRow, ...]:
        """Return all of them, oldest first; how they stand is kept for when the host is off.

        What reads as it did is the same object as the last time, and so is the tuple when all of it does.
        """
        before = self._told
        said = self.ask(STATUS, jobs=None, known=before.tag)
        news = {row.job: row for row in said.jobs}
        for row in said.jobs:
            self._keep(row)
        if not said.is_news:
            self._told = said
        elif news:
            self._told = JobRows(tuple(news.get(row.job, row) for row in before.jobs), said.tag)
        else:
            return before.jobs
        return self._told.jobs

    def row(self, job: str) -> JobRow:
        """Return how one job stands. Raises JobNotFound."""
        rows = self.ask(STATUS, jobs=[job]).jobs
        if not rows or rows[0].job != job:
            raise bad_reply(self.host.name, STATUS.name, "it is about another job")
        row = rows[0]
        self._keep(row)
        return row

    def stop(self, job: str, *, grace_s: float = STOP_GRACE_S, is_anyones: bool = False) -> Stopped:
        """End a job, by force if need be, and look what is left of it. The host carries it through on its own.

        grace_s:    how long the work may take to end by itself, as for a checkpoint
        is_anyones: also one that another workspace began, which is Refused else
        """
        return self.ask(STOP, timeout_s=grace_s + 120, job=job, grace_s=float(grace_s), is_anyones=is_anyones)

    def request(self, job: str, what: str) -> None:
        """Ask for something that is done within a step. what: stop, save, pause, resume; beside: wait for no turn"""
        self.ask(REQUEST, job=job, what=what)

    def _keep(self, row: JobRow) -> None:
        if self.host.name == LOCAL:
            return
        spool = Spool.of(self.workspace, self.host.name, row.job)
        known = spool.known()
        if known is None or known.row != row:
            spool.keep(row)

    def ask(
        self,
        question: Question[R],
        /,
        retry_s: float = QUESTION_PATIENCE_S,
        timeout_s: float = 15.0,
        **parameters: Any,
    ) -> R:
        """Ask the agent one question about its workspace, again for `retry_s` while its answer is lost on the way.

        Raises BadReply for a reply of another form, and what the agent says is wrong.
        """
        agent: Agent | None = self._connected()
        backoff = Backoff()
        deadline = time.monotonic() + retry_s
        while True:
            try:
                agent = agent or self._connected()
                return agent.ask(
                    question, timeout_s=timeout_s, workspace=self.host.workdir, by=self.identity, **parameters
                )
            except (HostUnreachable, NotAnswered) as error:
                if isinstance(error, AuthFailed | HostKeyRefused | HostOff) or time.monotonic() > deadline:
                    raise
                agent = None
            time.sleep(backoff.next_s())

    def connect_soon(self) -> None:
        """Begin to connect while the caller does something else; whoever asks first waits, and learns why not."""
        threading.Thread(target=self._connect_early, name="connect", daemon=True).start()

    def _connect_early(self) -> None:
        with suppress(EngineError):  # it is tried again by whoever asks
            self._connected()

    def _connected(self) -> Agent:
        with self._lock:
            if self._agent is None or not self._agent.is_up:
                if self._agent is not None:
                    self._agent.close()
                self._agent = Agent(self.host.open(["serve"]), self.host.name)
            return self._agent

    def close(self) -> None:
        """End the conversation and the connection; jobs go on."""
        with self._lock:
            if self._agent is not None:
                self._agent.close()
                self._agent = None
        self.host.close()

    def __enter__(self) -> HostJobs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
