"""`t2v web --forward NAME`: the page is a job on the host, and its port comes here over SSH."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from remote.errors import NotReady
from remote.hosts.forward import Forward
from remote.hosts.ssh import SSHHost
from remote.jobs.follow import Follower, LinkState, LogChunk, Said
from remote.jobs.host_pool import HostPool
from remote.jobs.spool import Spool
from remote.launch.launch import Launch
from remote.replies.job_row import JobRow
from remote.steps import Status
from t2v_core.errors import EngineError, InvalidRequest
from t2v_core.events import ErrorEvent, StageEvent
from t2v_core.specs import ServeSpec
from t2v_core.workspace import Workspace
from t2v_tui.cli.engine.run import INTERRUPTED
from t2v_tui.cli.narrate import Narrator, narrator
from t2v_tui.web.server import listen

# Nobody has looked at it for so long: its terminal is gone, and a VM must not be kept up by it.
UNUSED_MIN = 15
URL = re.compile(rb"^http://127\.0\.0\.1:(\d+)\s*$", re.MULTILINE)
STOP_GRACE_S = 20.0


def forward_page(name: str, port: int, workspace: Workspace, flags: list[str]) -> int:
    """Start the page there, bring its port here, and end it when this ends. Returns 130 after Ctrl-C."""
    listening = listen("127.0.0.1", port)  # taken here is said before anything is started there
    teller = narrator()
    with HostPool(workspace) as hosts, listening:
        jobs = hosts.jobs(name)
        host = jobs.host
        if not isinstance(host, SSHHost):
            raise InvalidRequest(f"--forward {name}: it is not reached over SSH", hint="t2v web shows it here as it is")
        argv = [host.engine_python, "-m", *_program(host), "--port", "0", "--unused-min", str(UNUSED_MIN), *flags]
        job = _started(Launch(host, workspace, "web", ServeSpec.model_validate({}), jobs=jobs, argv=argv), teller)
        follower = Follower(hosts.host(name), job, Spool.of(workspace, name, job))
        forward = None
        try:
            chunks = iter(follower)
            there = _port_of(chunks, job, teller)
            forward = Forward(host, there, listening)
            forward.start()
            print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
            teller.say(f"page and work are on {name}, job {job}; Ctrl-C ends the page there", "dim")
            return _until_it_ends(chunks, teller, name)
        except KeyboardInterrupt:
            teller.say("ending the page there")
            return INTERRUPTED
        finally:
            if forward is not None:
                forward.close()
            follower.close()
            teller.close()
            with suppress(EngineError):
                jobs.stop(job, grace_s=STOP_GRACE_S)


def _started(launch: Launch, teller: Narrator) -> str:
    for state in launch:
        if state.status in (Status.DOING, Status.DONE, Status.NOTE) and state.name != "launch":
            teller.say(f"  {state.name}: {state.detail}", "dim")
    if launch.job is None:
        raise NotReady("the page was not started", "ask again")
    return launch.job.job


def _program(host: SSHHost) -> list[str]:
    """In an environment of ours the page's packages may be installed; in one of the user's nothing is."""
    return ["remote.setup.page_on_host"] if host.is_managed else ["t2v_tui.cli.main", "web"]


def _port_of(chunks: Iterator[Said], job: str, teller: Narrator) -> int:
    """The port that the page there says it listens on. Raises NotReady with its own word when it ends first."""
    log = b""
    for said in chunks:
        if isinstance(said, StageEvent):
            teller.say(f"  installing there, once: {said.name}", "dim")
        if isinstance(said, ErrorEvent):
            raise NotReady(f"the page does not start there: {said.message}", said.hint)
        if isinstance(said, LogChunk):
            log += said.data
            if found := URL.search(log):
                return int(found[1])
        if isinstance(said, JobRow):
            break
    lines = [line for line in log.decode(errors="replace").splitlines() if line.strip()]
    why = next((line for line in lines if line.startswith("error:")), lines[-1] if lines else "no reason given")
    hint = next((line.removeprefix("hint:").strip() for line in lines if line.startswith("hint:")), f"t2v logs {job}")
    raise NotReady(f"the page does not start there: {why.removeprefix('error:').strip()}", hint)


def _until_it_ends(chunks: Iterator[Said], teller: Narrator, name: str) -> int:
    for said in chunks:
        if isinstance(said, LinkState):
            teller.say(f"link:  {name} is back" if said.is_up else f"link:  {said.why}", "yellow")
        if isinstance(said, JobRow):
            teller.say(f"the page there has ended: {said.reason}")
            return said.exit_code
    return 0
