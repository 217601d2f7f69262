"""Makes a bare host ready for the engine: steps that look first, change only what is missing, and can be run again.

One round trip tells how the host stands; when nothing is missing, that is all. The long part (a virtual environment,
gigabytes of packages) is a job on the host with a log, which goes on when the link or this side is lost.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from remote.errors import NotReady
from remote.hosts.agent_client import Agent
from remote.hosts.host import Host, agent_on
from remote.hosts.settings import ENGINE_PYTHON as OUR_PYTHON
from remote.jobs.follow import Follower, LinkState, LogChunk
from remote.jobs.spool import Spool
from remote.replies.job_row import JobRow
from remote.replies.machine import Engine, Standing
from remote.replies.questions import ADOPT_VENV, PUT, STANDING, START, STATUS, UNPACK_RELEASE, USE_RELEASE
from remote.setup.bootstrap_plan import Change, changes
from remote.setup.release import Release, current_release
from remote.steps import Status, StepState
from remote.workspace_id import identity
from t2v_core.events import StageEvent
from t2v_core.format import part_of, size
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
    is_replacing: bool = False,
) -> Ready:
    """Take all steps, told as they go. Raises as `bootstrap`."""
    release = release or current_release()
    has_changed = False
    for state in bootstrap(host, workspace, release=release, is_replacing=is_replacing):
        has_changed |= state.status is Status.DONE
        tell(state)
    return Ready(release.name, has_changed)


def look_beforehand(host: Host, workspace: Workspace, release: Release | None = None) -> list[Change]:
    """Return what a bootstrap would make there; nothing is made.

    Raises NotReady for what would stop it, HostUnreachable.
    """
    release = release or current_release()
    steps = Steps(host, workspace, release, INSTALL_BYTES)
    with agent_on(host) as agent:
        steps.ask_standing(agent)
    deque(steps.place(), maxlen=0)
    if not steps.is_adopting:
        deque(chain(steps.python(), steps.disk()), maxlen=0)
    return steps.changes()


def bootstrap(
    host: Host,
    workspace: Workspace,
    *,
    release: Release | None = None,
    install_bytes: int | None = None,
    is_replacing: bool = False,
) -> Iterator[StepState]:
    """Make a host ready, step by step; may be left at any point and begun again, also by somebody else meanwhile.

    The steps are python, disk, driver, change (each thing that is about to be made), release, venv, dependencies, in
    use, encoders.

    workspace:     the one here, which keeps the log of what ran there
    release:       what to bring (default: the t2v that runs)
    install_bytes: free disk space that is wanted there before packages are installed (default: INSTALL_BYTES)
    is_replacing:  also in an environment that another workspace, which shares the folder there, has installed

    Raises NotReady after yielding the failed step, HostUnreachable when the link is lost, AgentError.
    """
    release = release or current_release()
    steps = Steps(host, workspace, release, install_bytes or INSTALL_BYTES, is_replacing=is_replacing)
    with agent_on(host) as agent:
        steps.ask_standing(agent)
        yield from steps.place()
        yield from steps.owner()
        if steps.is_adopting:
            yield from steps.adopt(agent)
        yield from steps.python()
        yield from steps.disk()
        yield steps.driver()
        for change in steps.changes():
            yield StepState("change", Status.NOTE, str(change))
        yield from steps.bring_release(agent)
        if steps.is_installed:
            yield from steps.kept()
            yield from steps.use(agent)
            yield steps.encoders()
            return
        job = steps.begin_install(agent)
    yield from steps.watch_install(job)
    with agent_on(host) as agent:  # the link may have been lost more than once
        steps.ask_standing(agent)
        yield from steps.installed_now()
        yield from steps.use(agent)
    yield steps.encoders()


class Steps:
    """What is wanted, and how the host stood when it was looked at last."""

    def __init__(
        self, host: Host, workspace: Workspace, release: Release, install_bytes: int, *, is_replacing: bool = False
    ) -> None:
        self.by, self.is_replacing = identity(workspace), is_replacing
        self.host, self.workspace, self.release, self.install_bytes = host, workspace, release, install_bytes
        self._there: Standing | None = None
        self.base_python = ""
        # With a Python of the user's own in t2v.toml the environment is theirs: looked at, never changed.
        self.is_ours = host.engine_python == f"{host.workdir}/{OUR_PYTHON}"

    def ask_standing(self, agent: Agent) -> None:
        """Ask the host how it stands, and keep the answer."""
        self._there = agent.ask(
            STANDING, timeout_s=STANDING_TIMEOUT_S, workspace=self.host.workdir, python=[self.host.engine_python],
            requirements_sha256=self.release.requirements_sha256,
        )  # fmt: skip

    @property
    def there(self) -> Standing:
        """Return how the host stood when it was looked at last."""
        assert self._there is not None, "ask_standing comes first"
        return self._there

    @property
    def is_installed(self) -> bool:
        """Tell whether the environment runs, and holds what this release needs."""
        engine, installed = self.there.engine, self.there.installed
        if not self.is_ours:
            return True
        if engine is None or installed.requirements_sha256 != self.release.requirements_sha256:
            return False
        # After an upgrade of the system's Python the same venv runs, and finds none of its packages.
        return _version(engine.python) == _version(installed.python)

    def place(self) -> Iterator[StepState]:
        """Yield nothing for a place where `.t2v/` and `jobs/` can be ours. Raises NotReady for another."""
        if self.there.obstacle:
            hint = f"fix that there, or set workdir in [host.{self.host.name}]"
            yield from self._fail("place", f"{self.host.name}: {self.there.obstacle}", hint)

    @property
    def rival(self) -> str:
        """Return the other workspace that has installed the environment there.

        Empty when it is this one's, or nobody's.
        """
        by = self.there.installed.by
        if not (self.is_ours and by.id) or self.is_replacing:
            return ""
        return "" if by.id == self.by.get("id") else by.name or by.id

    def owner(self) -> Iterator[StepState]:
        """Refuse to install under the jobs of another workspace that shares the folder there. Raises NotReady."""
        if self.rival and not self.is_installed:
            sentence = f"the environment on {self.host.name} belongs to {self.rival}, and this t2v needs other packages"
            own = f"set a workdir of its own in [host.{self.host.name}]"
            yield from self._fail("venv", sentence, f"{own}, or t2v bootstrap --host {self.host.name} --replace")

    @property
    def is_adopting(self) -> bool:
        """Tell whether an earlier version made an environment in venv/, which holds what is needed and is used on."""
        return self.is_ours and self.there.is_adoptable

    def adopt(self, agent: Agent) -> Iterator[StepState]:
        """Go on with the environment that an earlier t2v made, and look again."""
        yield StepState("venv", Status.DOING, "going on with venv/, which an earlier t2v made")
        sha256 = self.release.requirements_sha256
        agent.ask(ADOPT_VENV, workspace=self.host.workdir, requirements_sha256=sha256)
        self.ask_standing(agent)

    def changes(self) -> list[Change]:
        """Return what is about to be made there, as it was looked at last."""
        return changes(self.there, self.release, needs_environment=not self.is_installed, is_ours=self.is_ours,
                       base_python=self.base_python)  # fmt: skip

    def python(self) -> Iterator[StepState]:
        """Choose the environment's own if there is nothing to do, else one of the host that can make it.

        Raises NotReady when there is none.
        """
        engine = self.there.engine
        if engine is not None and self.is_installed and _version(engine.python) >= ENGINE_PYTHON:
            yield StepState("python", Status.OK, engine.python)
            return
        wanted = ".".join(map(str, ENGINE_PYTHON))
        if not self.is_ours:
            it = f"is Python {engine.python}" if engine else "does not run"
            sentence = f"{self.host.engine_python} on {self.host.name} {it}; the engine needs {wanted} or newer"
            yield from self._fail("python", sentence, f"correct 'python' in [host.{self.host.name}], or leave it out")
        found = [one for one in self.there.pythons if _version(one.version) >= ENGINE_PYTHON]
        chosen = next((one for one in found if one.makes_venvs), None)
        if chosen is not None:
            self.base_python = chosen.path
            yield StepState("python", Status.OK, f"{chosen.version} ({chosen.path})")
            return
        if found:
            package = f"python{'.'.join(found[0].version.split('.')[:2])}-venv"
            sentence = f"Python {found[0].version} on {self.host.name} cannot make a virtual environment"
            yield from self._fail("python", sentence, f"there: sudo apt install {package}")
        newest = max((one.version for one in self.there.pythons), key=_version, default="none")
        sentence = f"the newest Python on {self.host.name} is {newest}; the engine needs {wanted} or newer"
        yield from self._fail("python", sentence, f"there: sudo apt install python{wanted} python{wanted}-venv")

    def disk(self) -> Iterator[StepState]:
        """Check that there is room for what will be made. Raises NotReady."""
        needed = RELEASE_BYTES if self.is_installed else self.install_bytes
        free = self.there.disk_free_bytes
        if free < needed:
            sentence = f"{self.host.name} has {size(free)} free in {self.there.workspace}, and {size(needed)} is needed"
            yield from self._fail("disk", sentence, f"free some space there, or set workdir in [host.{self.host.name}]")
        yield StepState("disk", Status.OK, f"{size(free)} free")

    def driver(self) -> StepState:
        """Tell of the GPUs and their driver, and judge nothing: without a GPU the engine runs on the CPU."""
        if not self.there.gpus:
            return StepState("driver", Status.NOTE, self.there.gpu_why or "no GPU", "the engine will use the CPU")
        names = ", ".join(gpu.name or "a GPU" for gpu in self.there.gpus)
        return StepState("driver", Status.OK, f"{self.there.driver}, {names}")

    def bring_release(self, agent: Agent) -> Iterator[StepState]:
        """Send the release in pieces, from where it broke off; it is unpacked under another name and renamed."""
        name = self.release.name
        if name in self.there.releases:
            yield StepState("release", Status.OK, name)
            return
        yield StepState("release", Status.DOING, "building the wheel")
        data = self.release.bundle()
        where: dict[str, Any] = {"workspace": self.host.workdir, "sha256": hashlib.sha256(data).hexdigest()}
        sent = agent.ask(PUT, **where).size_bytes
        while sent < len(data):
            piece = base64.b64encode(data[sent : sent + PIECE_BYTES]).decode()
            sent = agent.ask(PUT, timeout_s=PUT_TIMEOUT_S, **where, offset=sent, data=piece).size_bytes
            yield StepState("release", Status.DOING, f"sent {part_of(sent, len(data))}")
        agent.ask(UNPACK_RELEASE, timeout_s=PUT_TIMEOUT_S, **where, release=name)
        yield StepState("release", Status.DONE, name)

    def begin_install(self, agent: Agent) -> str:
        """Return the job that installs: one that runs already, whoever began it, or a new one."""
        rows = agent.ask(STATUS, workspace=self.host.workdir, jobs=None).jobs
        running = [row.job for row in rows if row.verb == JOB_VERB and not row.has_ended]
        if running:
            return running[-1]
        folder = PurePosixPath(self.there.workspace, ".t2v/releases", self.release.name)
        script = str(folder / "remote" / "setup" / "install_on_host.py")
        said = agent.ask(
            START, timeout_s=45.0, workspace=self.host.workdir, verb=JOB_VERB, key=secrets.token_hex(16),
            spec={
                "requirements_sha256": self.release.requirements_sha256, "release": self.release.name, "by": self.by,
            },
            argv=[self.base_python, "-I", "-X", "utf8", script],
        )  # fmt: skip
        return said.job

    def watch_install(self, job: str) -> Iterator[StepState]:
        """Tell the job's stages and the last line of its log, across lost links, to its end.

        Raises NotReady when it did not succeed.
        """
        step, row = "venv", None
        for said in Follower(self.host, job, Spool.of(self.workspace, self.host.name, job)):
            match said:
                case StageEvent(name):
                    if name != step:
                        yield StepState(step, Status.DONE)
                    step = name
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
        """Tell what the job came to; it may have been somebody's with an older release. Raises NotReady."""
        engine = self.there.engine
        if engine is None or not self.is_installed:
            sentence = f"another bootstrap of {self.host.name} has just installed what another release needs"
            yield from self._fail("dependencies", sentence, f"t2v bootstrap --host {self.host.name}")
            return
        yield StepState("dependencies", Status.DONE, _engine_in_words(engine))

    def kept(self) -> Iterator[StepState]:
        """Tell of an environment that needs nothing. Raises NotReady when the user's own lacks a package."""
        engine = self.there.engine
        if engine is None:  # the user's own, which does not run: that is said of its Python
            return
        yield StepState("venv", Status.OK, self.host.engine_python)
        missing = [name for name, version in engine.packages.items() if version is None]
        if missing and not self.is_ours:
            sentence = f"{self.host.engine_python} on {self.host.name} has no {', '.join(missing)}"
            pins = PurePosixPath(self.there.workspace, ".t2v/releases", self.release.name)
            install = f"{self.host.engine_python} -m pip install -r {pins}/requirements.txt -c {pins}/constraints.txt"
            yield from self._fail("dependencies", sentence, f"there: {install}")
        yield StepState("dependencies", Status.OK, _engine_in_words(engine))

    def use(self, agent: Agent) -> Iterator[StepState]:
        """Have the environment import this release from now on.

        One of the user's own is told which one job by job.
        """
        if not self.is_ours or self.there.in_use == self.release.name:
            yield StepState("in use", Status.OK, self.release.name)
            return
        if self.rival and self.there.in_use in self.there.releases:
            detail = f"{self.there.in_use}, of {self.rival}; jobs of this workspace name {self.release.name}"
            yield StepState("in use", Status.NOTE, detail)
            return
        agent.ask(USE_RELEASE, workspace=self.host.workdir, release=self.release.name)
        yield StepState("in use", Status.DONE, self.release.name)

    def encoders(self) -> StepState:
        """Tell which encoders the first work there has to fetch; said beforehand, since it may be slow."""
        missing = [model for model in (SD_VAE, CLIP_B32) if model not in self.there.hub]
        if missing:
            return StepState("encoders", Status.NOTE, f"the first preprocess there downloads {' and '.join(missing)}")
        return StepState("encoders", Status.OK, f"{SD_VAE}, {CLIP_B32}")

    def _fail(self, name: str, sentence: str, hint: str) -> Iterator[StepState]:
        yield StepState(name, Status.FAILED, sentence, hint)
        raise NotReady(sentence, hint)


def _version(text: str) -> tuple[int, ...]:
    """`3.11.2` as numbers; of `3.15.0rc1` those that are."""
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def _engine_in_words(engine: Engine) -> str:
    said = [f"{name} {version}" for name, version in engine.packages.items() if version]
    return ", ".join(said) or "installed"


def _last_line(data: bytes) -> str:
    lines = [line.strip() for line in data.decode(errors="replace").replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
