"""`t2v doctor --host`: from the way to a host up to its guard, and the line that mends each thing from here.

What comes before a t2v that is installed there is looked at from here; then the doctor of that t2v is asked. Nothing is
changed there; what logging in takes on any other day, it takes here as well: keys pinned by the cloud's word, a login.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from remote.errors import (
    AgentError,
    AuthFailed,
    HostKeyRefused,
    HostKeyUnknown,
    HostOff,
    JobNotFound,
    NotReady,
    RemoteError,
)
from remote.guard import GuardState, guard_status
from remote.hosts.agent_client import Agent
from remote.hosts.host import Host, agent_on
from remote.hosts.known_hosts import fingerprint
from remote.hosts.ssh import SSHHost
from remote.jobs.client import HostJobs
from remote.launch.launch import MAY_LINGER
from remote.launch.preflight import inspect_host
from remote.power.host import MachineHost, switched
from remote.power.state import MachineState
from remote.replies.machine import Examination
from remote.replies.questions import EXAMINE
from remote.setup.bootstrap import INSTALL_BYTES, Steps
from remote.setup.old_data import command, old_data, old_data_words
from remote.setup.release import Release, current_release
from remote.steps import Status, StepState
from t2v_core.diagnosis.check import Check, State, bad, good, odd
from t2v_core.format import span, timing
from t2v_core.settings import values_for, variable_name
from t2v_core.specs import DoctorSpec, Spec, asked_values, make_spec
from t2v_core.workspace import Workspace

STATES = {Status.OK: State.GOOD, Status.DONE: State.GOOD, Status.DOING: State.GOOD, Status.NOTE: State.ODD,
          Status.FAILED: State.BAD}  # fmt: skip
A_COMMAND = re.compile(r"(t2v|gcloud|sudo|unset|ssh|there:) \S")
EXAMINE_TIMEOUT_S, CHECKSUMS_TIMEOUT_S = 180.0, 3600.0
# What the doctor there says of the t2v.toml there counts for nobody here: jobs bring their settings along.
NOT_OURS = ("settings",)


def examine_host(host: Host, workspace: Workspace, spec: DoctorSpec, release: Release | None = None) -> Iterator[Check]:
    """Yield every check in turn, as t2v_core.diagnosis.examine.examine has them.

    workspace: the one here, whose settings say which data and encoders are meant
    spec:      its paths are those of the workspace there
    Raises InvalidRequest; HostUnreachable, CloudError or AgentError after yielding what is bad, when it goes no
    further.
    """
    environment = settings_for_there(workspace)
    yield from _way(host)
    release = release or current_release()
    try:
        with agent_on(host) as agent:
            steps = Steps(host, workspace, release, INSTALL_BYTES)
            steps.ask_standing(agent)
            there = _asked(agent, steps, spec, environment)
    except RemoteError as error:
        yield _failed("agent", error)
        raise
    if steps.there.logout:
        yield odd("logout", steps.there.logout, MAY_LINGER)
    yield from _release(steps)
    if isinstance(there, Examination):
        yield from _as_it_says(there, steps)
        yield from _old_in(host, workspace, spec, there)
    else:
        yield from _as_seen(steps, there)
    if not isinstance(there, Examination):
        yield _data(host, workspace, spec, release)
    if (machine := switched(host)) is not None:
        yield _guard(machine)


def settings_for_there(workspace: Workspace) -> dict[str, str]:
    """Return what preprocessing and training are told here, as variables.

    The doctor there looks for the same.
    """
    values = {verb: values_for(verb, workspace, os.environ, {}) for verb in ("preprocess", "train")}
    return {
        variable_name(verb, name): str(value)
        for verb, given in values.items()
        for name, value in given.items()
        if isinstance(value, str | int | float | os.PathLike)
    }


def _way(host: Host) -> Iterator[Check]:
    """From the cloud's word to a login."""
    if (machine := switched(host)) is not None:
        yield from _vm(machine)
    if not isinstance(host, SSHHost):
        return
    began = time.monotonic()
    try:
        host.connect()
    except HostKeyUnknown as error:
        yield bad("host key", f"{error.message}; compare it once with the machine's own", f"t2v host trust {host.name}")
        raise
    except RemoteError as error:
        is_key, is_login = isinstance(error, HostKeyRefused), isinstance(error, AuthFailed)
        yield _failed("host key" if is_key else "login" if is_login else "SSH", error)
        raise
    yield good("SSH", f"{host.user}@{host.route} lets you in, after {timing(time.monotonic() - began)}")
    keys = host.keys
    pinned = ", ".join(fingerprint(key) for key in keys.taken)
    is_ours = keys.source == str(host.known_hosts.path)
    yield good(
        "host key", f"{pinned} is pinned as {host.key_name}" if is_ours else f"{pinned}, as {keys.source} has it"
    )
    if host.config.trouble:
        yield odd("ssh config", host.config.trouble, "sudo apt install openssh-client")


def _vm(host: MachineHost) -> Iterator[Check]:
    try:
        state = host.vm.state()
    except RemoteError as error:
        yield _failed("VM", error)
        raise
    if not state.is_running:
        sentence = f"{state.place} is {state.status}, so nothing in it can be looked at"
        yield bad("VM", sentence, _start_line(host, state))
        raise HostOff(sentence, _start_line(host, state))
    yield good("VM", f"{state.place} is {state.status}, {state.machine_type}")


def _start_line(host: MachineHost, state: MachineState) -> str:
    return f"t2v vm {'start' if state.is_startable else 'status'} --host {host.name}"


def _failed(name: str, error: RemoteError) -> Check:
    """Its hint is the line to type when it is one; else it belongs to the sentence."""
    if A_COMMAND.match(error.hint):
        return bad(name, error.message, error.hint)
    return bad(name, f"{error.message}; {error.hint}" if error.hint else error.message)


def _asked(
    agent: Agent, steps: Steps, spec: DoctorSpec, environment: Mapping[str, str]
) -> Examination | AgentError | None:
    """The report of the doctor there; None when no Python there can run one, and why it does not answer."""
    if steps.there.engine is None or not steps.is_installed:
        return None
    timeout_s = CHECKSUMS_TIMEOUT_S if spec.checksums else EXAMINE_TIMEOUT_S
    release = steps.release.name if steps.is_ours and _has_release(steps) else None
    try:
        return agent.ask(
            EXAMINE, timeout_s=timeout_s + 20, workspace=steps.host.workdir, python=[steps.host.engine_python],
            release=release, spec=asked_values(spec), env=dict(environment), patience_s=timeout_s,
        )  # fmt: skip
    except AgentError as error:
        return error
    except JobNotFound as error:  # its workspace is not there yet
        return AgentError(error.message, error.hint)


def _has_release(steps: Steps) -> bool:
    return steps.release.name in steps.there.releases


def _release(steps: Steps) -> Iterator[Check]:
    name, line = steps.release.name, f"t2v bootstrap --host {steps.host.name}"
    if not steps.is_ours:
        yield good("t2v there", f"{steps.host.engine_python}, as t2v.toml says")
    elif _has_release(steps):
        yield good("t2v there", f"{name}, the same as here")
    else:
        others = f"; there is {', '.join(steps.there.releases[-2:])}" if steps.there.releases else ""
        yield odd("t2v there", f"the next job brings this machine's t2v ({name}){others}", line)


def _as_it_says(there: Examination, steps: Steps) -> Iterator[Check]:
    for said in there.checks:
        check = Check(said.name, said.state, said.sentence, said.mend)
        if check.name not in NOT_OURS:
            yield mended_from_here(check, steps.host)


def mended_from_here(check: Check, host: Host) -> Check:
    """Return the check with a line to type here where t2v can mend it from here.

    Its own line is one to type there, and is marked so where it stays.
    """
    line = check.mend
    if "pip install" in line and host.is_managed:
        line = f"t2v bootstrap --host {host.name}"
    elif check.name == "data" and line.startswith("mkdir "):
        line = f"t2v push data --host {host.name}"
    elif line.startswith("t2v "):
        line = f"{line} --host {host.name}"
    elif line:
        line = f"there: {line}"
    return replace(check, mend=line)


def _as_seen(steps: Steps, why: AgentError | None) -> Iterator[Check]:
    """Without a doctor there: Python, disk, driver, environment and encoders, as a bootstrap looks at them."""
    line = f"t2v bootstrap --host {steps.host.name}"
    if why is not None:
        yield odd("doctor there", f"{why.message}; looked at from here instead", line if steps.is_ours else "")
    for step in (steps.python, steps.disk):
        with suppress(NotReady):
            yield from map(_of_step, step())
    yield _of_step(steps.driver())
    if steps.is_installed:
        with suppress(NotReady):
            yield from map(_of_step, steps.kept())
    else:
        yield odd("environment", "what the engine needs is not installed there; the next job installs it", line)
    yield _of_step(steps.encoders())


def _of_step(step: StepState) -> Check:
    is_line = bool(A_COMMAND.match(step.hint))
    sentence = step.detail if is_line or not step.hint else f"{step.detail}; {step.hint}"
    return Check(step.name, STATES[step.status], sentence, step.hint if is_line else "")


def _old_in(host: Host, workspace: Workspace, asked: DoctorSpec, there: Examination) -> Iterator[Check]:
    """What the doctor there does not look for: .pt files of the previous system where it misses latents."""
    if any(said.name == "latents" and said.state != State.BAD for said in there.checks):
        return
    data = str(getattr(_training(workspace, asked), "data", ""))
    if old := old_data(HostJobs(host, workspace), data):
        yield odd("old data", f"there are {old_data_words(old)} in {data}", command(data, host.name))


def _training(workspace: Workspace, asked: DoctorSpec) -> Spec:
    """What `t2v train` here would ask for."""
    given = {"data": asked.data} if asked.data is not None else {}
    return make_spec("train", values_for("train", workspace, os.environ, given))


def _data(host: Host, workspace: Workspace, asked: DoctorSpec, release: Release) -> Check:
    spec = _training(workspace, asked)
    data = getattr(spec, "data", "")
    standing = inspect_host(HostJobs(host, workspace), "train", spec, release, begins=False)
    if standing.missing:
        sentence = f"there is no {' and no '.join(standing.missing)} in {data}, which training reads"
        if standing.old:
            return bad("data", f"{sentence}; there are {old_data_words(standing.old)}", command(str(data), host.name))
        return bad("data", sentence, f"t2v push data --host {host.name}")
    return good("data", f"{data} has what training reads")


def _guard(host: MachineHost) -> Check:
    """What stops it when it is forgotten."""
    line = f"t2v vm start --host {host.name}"  # of one that runs it only sees to the guard
    if host.vm.stays_on:
        return odd("guard", f"there is none, so it does not stop by itself: {host.vm.stays_on}")
    try:
        guard = guard_status(host)
    except RemoteError as error:
        return _failed("guard", error)
    if not guard.is_installed:
        return odd("guard", "there is none yet, so it does not stop by itself; the next job brings one", line)
    if not guard.is_alive:
        return bad("guard", "it no longer checks, so the VM does not stop by itself", line)
    if not guard.can_power_off:
        return _without_sudo(host)
    return _how_it_stands(guard)


def _without_sudo(host: MachineHost) -> Check:
    sentence = "it is not allowed to switch the VM off"
    if not host.let_it_power_off:
        return bad("guard", f"{sentence}: let {host.user} use sudo there without a password")
    return bad("guard", sentence, f"there: {host.let_it_power_off.format(user=host.user)}")


def _how_it_stands(guard: GuardState) -> Check:
    if guard.error:
        return bad("guard", guard.error)
    at_work = ", ".join((*guard.busy, *guard.unknown))
    left_s = max(0.0, (guard.stops_t or time.time()) - time.time())
    when = f"stops it in {span(left_s)} if nothing changes ({guard.why})"
    return good("guard", f"at work: {at_work}; {when}" if at_work else f"idle; {when}")
