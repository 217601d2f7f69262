"""Makes a bare host ready for the engine: steps that look first, change only what is missing, and can be run again.

One round trip tells how the host stands; when nothing is missing, that is all. The long part (a virtual environment,
gigabytes of packages) is a job on the host with a log, which goes on when the link or this side is lost.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from remote.agent_client import Agent
from remote.errors import NotReady
from remote.hosts import Host, agent_on
from remote.job_row import JobRow
from remote.logs import Follower, LinkState, LogChunk
from remote.release import Release, current_release
from remote.spool import Spool
from remote.steps import Status, StepState
from t2v_core.events import Event
from t2v_core.specs import CLIP_B32, SD_VAE
from t2v_core.workspace import Workspace

ENGINE_PYTHON = (3, 11)
# An estimate: torch with CUDA's libraries, packed and unpacked at the same time.
INSTALL_BYTES = 12_000_000_000
RELEASE_BYTES = 100_000_000
PIECE_BYTES = 512 * 1024
STANDING_TIMEOUT_S = 90.0  # nvidia-smi takes seconds when the driver has gone to sleep
PUT_TIMEOUT_S = 120.0
JOB_VERB = "bootstrap"


@dataclass(frozen=True)
class Ready:
    """A host that can run the engine.

    release: to name when a job is started, so that it keeps this one whatever is installed later
    """

    release: str
    has_changed: bool


def ensure_ready(
    host: Host,
    workspace: Workspace,
    *,
    release: Release | None = None,
    tell: Callable[[StepState], None] = lambda _: None,
) -> Ready:
    """All steps, told as they go. Raises as `bootstrap`."""
    release = release or current_release()
    has_changed = False
    for state in bootstrap(host, workspace, release=release):
        has_changed |= state.status is Status.DONE
        tell(state)
    return Ready(release.name, has_changed)


def bootstrap(
    host: Host, workspace: Workspace, *, release: Release | None = None, install_bytes: int = INSTALL_BYTES
) -> Iterator[StepState]:
    """Make a host ready, step by step; may be left at any point and begun again, also by somebody else meanwhile.

    The steps are python, disk, driver, release, venv, dependencies, in use, encoders.

    workspace:     the one here, which keeps the log of what ran there
    release:       what to bring (default: the t2v that runs)
    install_bytes: free disk space that is wanted there before packages are installed

    Raises NotReady after yielding the failed step, HostUnreachable when the link is lost, AgentError.
    """
    steps = Steps(host, workspace, release or current_release(), install_bytes)
    with agent_on(host) as agent:
        steps.look(agent)
        yield from steps.python()
        yield from steps.disk()
        yield steps.driver()
        yield from steps.bring_release(agent)
        if steps.is_installed:
            yield from steps.kept()
            yield from steps.use(agent)
            yield steps.encoders()
            return
        job = steps.begin_install(agent)
    yield from steps.watch_install(job)
    with agent_on(host) as agent:  # the link may have been lost more than once
        steps.look(agent)
        yield from steps.installed_now()
        yield from steps.use(agent)
    yield steps.encoders()


class Steps:
    """What is wanted, and how the host stood when it was looked at last."""

    def __init__(self, host: Host, workspace: Workspace, release: Release, install_bytes: int) -> None:
        self.host, self.workspace, self.release, self.install_bytes = host, workspace, release, install_bytes
        self.there: dict[str, Any] = {}
        self.base_python = ""
        # With a Python of the user's own in t2v.toml the environment is theirs: looked at, never changed.
        self.is_ours = host.engine_python == f"{host.workdir}/venv/bin/python"

    def look(self, agent: Agent) -> None:
        self.there = agent.call(
            "standing", timeout_s=STANDING_TIMEOUT_S, workspace=self.host.workdir, python=[self.host.engine_python],
            requirements_sha256=self.release.requirements_sha256,
        )  # fmt: skip

    @property
    def is_installed(self) -> bool:
        """The environment runs, and holds what this release needs."""
        engine, installed = self.there["engine"], self.there["installed"]
        if not self.is_ours:
            return True
        if engine is None or installed.get("requirements_sha256") != self.release.requirements_sha256:
            return False
        # After an upgrade of the system's Python the same venv runs, and finds none of its packages.
        return _version(engine["python"]) == _version(installed["python"])

    def python(self) -> Iterator[StepState]:
        """The environment's own if there is nothing to do, else one of the host that can make it."""
        engine = self.there["engine"]
        if engine is not None and self.is_installed and _version(engine["python"]) >= ENGINE_PYTHON:
            yield StepState("python", Status.OK, engine["python"])
            return
        wanted = ".".join(map(str, ENGINE_PYTHON))
        if not self.is_ours:
            it = f"is Python {engine['python']}" if engine else "does not run"
            sentence = f"{self.host.engine_python} on {self.host.name} {it}; the engine needs {wanted} or newer"
            yield from self._fail("python", sentence, f"mend 'python' in [host.{self.host.name}], or leave it out")
        found = [one for one in self.there["pythons"] if _version(one["version"]) >= ENGINE_PYTHON]
        chosen = next((one for one in found if one["makes_venvs"]), None)
        if chosen is not None:
            self.base_python = str(chosen["path"])
            yield StepState("python", Status.OK, f"{chosen['version']} ({chosen['path']})")
            return
        if found:
            package = f"python{'.'.join(found[0]['version'].split('.')[:2])}-venv"
            sentence = f"Python {found[0]['version']} on {self.host.name} cannot make a virtual environment"
            yield from self._fail("python", sentence, f"there: sudo apt install {package}")
        newest = max((one["version"] for one in self.there["pythons"]), key=_version, default="none")
        sentence = f"the newest Python on {self.host.name} is {newest}; the engine needs {wanted} or newer"
        yield from self._fail("python", sentence, f"there: sudo apt install python{wanted} python{wanted}-venv")

    def disk(self) -> Iterator[StepState]:
        needed = RELEASE_BYTES if self.is_installed else self.install_bytes
        free = int(self.there["disk_free_bytes"])
        if free < needed:
            sentence = (
                f"{self.host.name} has {_gb(free)} free in {self.there['workspace']}, and {_gb(needed)} are needed"
            )
            yield from self._fail("disk", sentence, f"free some space there, or set workdir in [host.{self.host.name}]")
        yield StepState("disk", Status.OK, f"{_gb(free)} free")

    def driver(self) -> StepState:
        """Told, not judged: without a GPU the engine runs on the CPU."""
        if not self.there["gpus"]:
            return StepState("driver", Status.NOTE, self.there["gpu_why"] or "no GPU", "the engine will use the CPU")
        names = ", ".join(str(gpu["name"]) for gpu in self.there["gpus"])
        return StepState("driver", Status.OK, f"{self.there['driver']}, {names}")

    def bring_release(self, agent: Agent) -> Iterator[StepState]:
        """Sent in pieces, gone on with where it broke off, unpacked there under another name and renamed."""
        name = self.release.name
        if name in self.there["releases"]:
            yield StepState("release", Status.OK, name)
            return
        yield StepState("release", Status.DOING, "building the wheel")
        data = self.release.bundle()
        where: dict[str, Any] = {"workspace": self.host.workdir, "sha256": hashlib.sha256(data).hexdigest()}
        sent = int(agent.call("put", **where)["size_bytes"])
        while sent < len(data):
            piece = base64.b64encode(data[sent : sent + PIECE_BYTES]).decode()
            said = agent.call("put", timeout_s=PUT_TIMEOUT_S, **where, offset=sent, data=piece)
            sent = int(said["size_bytes"])
            yield StepState("release", Status.DOING, f"sent {_mb(sent)} of {_mb(len(data))}")
        agent.call("unpack_release", timeout_s=PUT_TIMEOUT_S, **where, release=name)
        yield StepState("release", Status.DONE, name)

    def begin_install(self, agent: Agent) -> str:
        """The job that installs: one that runs already, whoever began it, or a new one."""
        rows = [JobRow.from_wire(said) for said in agent.call("status", workspace=self.host.workdir, jobs=None)["jobs"]]
        running = [row.job for row in rows if row.verb == JOB_VERB and not row.has_ended]
        if running:
            return running[-1]
        folder = PurePosixPath(self.there["workspace"], ".t2v/releases", self.release.name)
        script = str(folder / "remote" / "install_there.py")
        said = agent.call(
            "start", timeout_s=45.0, workspace=self.host.workdir, verb=JOB_VERB, key=secrets.token_hex(16),
            spec={"requirements_sha256": self.release.requirements_sha256, "release": self.release.name},
            argv=[self.base_python, "-I", "-X", "utf8", script],
        )  # fmt: skip
        return str(said["job"])

    def watch_install(self, job: str) -> Iterator[StepState]:
        """Its stages and the last line of its log, across lost links, to its end."""
        step, row = "venv", None
        for said in Follower(self.host, job, Spool.of(self.workspace, self.host.name, job)):
            match said:
                case Event(kind="stage"):
                    if said.fields["name"] != step:
                        yield StepState(step, Status.DONE)
                    step = str(said.fields["name"])
                    yield StepState(step, Status.DOING, f"job {job}")
                case LogChunk() if line := _last_line(said.data):
                    yield StepState(step, Status.DOING, line)
                case LinkState(is_up=False):
                    yield StepState(step, Status.DOING, f"link: {said.why}; the job goes on there")
                case JobRow():
                    row = said
        if row is None or row.state != "succeeded":
            reason = row.reason if row else "it was left"
            hint = (row.hint if row else "") or f"t2v logs {job}"
            yield from self._fail(step, f"{step} on {self.host.name}: {reason}", hint)

    def installed_now(self) -> Iterator[StepState]:
        """What the job came to; it may have been somebody's with an older release."""
        if not self.is_installed:
            sentence = f"another bootstrap of {self.host.name} has just installed what an other release needs"
            yield from self._fail("dependencies", sentence, f"t2v bootstrap --host {self.host.name}")
        yield StepState("dependencies", Status.DONE, _engine_in_words(self.there["engine"]))

    def kept(self) -> Iterator[StepState]:
        """Of an environment that needs nothing."""
        engine = self.there["engine"]
        yield StepState("venv", Status.OK, self.host.engine_python)
        missing = [name for name in ("torch", "diffusers", "transformers") if engine[name] is None]
        if missing and not self.is_ours:
            sentence = f"{self.host.engine_python} on {self.host.name} has no {', '.join(missing)}"
            pins = PurePosixPath(self.there["workspace"], ".t2v/releases", self.release.name)
            install = f"{self.host.engine_python} -m pip install -r {pins}/requirements.txt -c {pins}/constraints.txt"
            yield from self._fail("dependencies", sentence, f"there: {install}")
        yield StepState("dependencies", Status.OK, _engine_in_words(engine))

    def use(self, agent: Agent) -> Iterator[StepState]:
        """The environment imports this release from now on. One of the user's own is told which one job by job."""
        if not self.is_ours or self.there["in_use"] == self.release.name:
            yield StepState("in use", Status.OK, self.release.name)
            return
        agent.call("use_release", workspace=self.host.workdir, release=self.release.name)
        yield StepState("in use", Status.DONE, self.release.name)

    def encoders(self) -> StepState:
        """They are fetched by the first work that needs them; said beforehand, since it may be slow."""
        missing = [model for model in (SD_VAE, CLIP_B32) if model not in self.there["hub"]]
        if missing:
            return StepState("encoders", Status.NOTE, f"the first preprocess there fetches {' and '.join(missing)}")
        return StepState("encoders", Status.OK, f"{SD_VAE}, {CLIP_B32}")

    def _fail(self, name: str, sentence: str, hint: str) -> Iterator[StepState]:
        yield StepState(name, Status.FAILED, sentence, hint)
        raise NotReady(sentence, hint)


def _version(text: str) -> tuple[int, ...]:
    """`3.11.2` as numbers; of `3.15.0rc1` those that are."""
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def _engine_in_words(engine: dict[str, Any]) -> str:
    said = [f"{name} {engine[name]}" for name in ("torch", "diffusers", "transformers") if engine[name]]
    return ", ".join(said) or "installed"


def _last_line(data: bytes) -> str:
    lines = [line.strip() for line in data.decode(errors="replace").replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
