"""The guard of a VM, from this side: see to it that one is there, read its countdown, keep the VM a while longer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from remote.agent.base.processes import boot_id
from remote.hosts.host import Host, agent_on
from remote.hosts.settings import HostSettings
from remote.replies.guard import GuardStands, LastStop, NoGuard
from remote.replies.jobs import Resumed
from remote.replies.question import Question
from remote.replies.questions import GUARD, INSTALL_GUARD, KEEP, RESUME_PREEMPTED

# It looks for sudo and systemd, which takes its time on a busy machine, and starts a process where there is none.
INSTALL_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class GuardState:
    """How a guard stands. Times are Unix seconds by this machine's clock.

    by:            systemd timer, or process where there is no systemd
    is_alive:      it has looked within the last minutes
    can_power_off: False: it has no right to; only the cloud's own limit stops the VM then
    busy:          what keeps the VM at work
    unknown:       what could not be seen; counts as work, up to the cap
    idle_since_t:  None while it is at work
    stops_t, why:  when the VM stops if nothing changes, and on what grounds
    cap_t:         when it stops whatever it does
    kept_until_t:  somebody asked that it stays; None when nobody did
    error:         why it could not do what was due; may be empty
    kept_of:       the workspace whose rules it kept when it was asked for others; empty when it keeps what was asked
    """

    is_installed: bool
    by: str = ""
    is_alive: bool = False
    can_power_off: bool = False
    busy: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    idle_since_t: float | None = None
    stops_t: float | None = None
    why: str = ""
    cap_t: float | None = None
    kept_until_t: float | None = None
    error: str = ""
    last_stop: LastStop | None = None
    kept_of: str = ""

    @classmethod
    def of(cls, said: NoGuard | GuardStands, now_t: float) -> GuardState:
        """Return what an agent's reply that came at `now_t` means; its spans become times by this machine's clock."""
        if not said.is_installed:
            return cls(is_installed=False, last_stop=said.last_stop)
        is_idle = not said.busy and not said.unknown
        return cls(
            is_installed=True,
            by=said.by,
            is_alive=said.is_alive,
            can_power_off=said.can_power_off,
            busy=said.busy,
            unknown=said.unknown,
            idle_since_t=now_t - said.idle_s if is_idle else None,
            stops_t=now_t + said.stops_in_s,
            why=said.why,
            cap_t=now_t + said.cap_in_s,
            kept_until_t=now_t + said.kept_s if said.kept_s > 0 else None,
            error=said.error or "",
            last_stop=said.last_stop,
            kept_of=said.kept_of or "",
        )


def guard_status(host: Host) -> GuardState:
    """Return what the guard saw at its last look. Raises HostUnreachable, AgentError."""
    return _ask(host, GUARD)


def keep(host: Host, seconds: float) -> GuardState:
    """Keep a VM for so long although it is idle, up to its cap; 0 lets go of it. Raises JobNotFound without a guard."""
    return _ask(host, KEEP, seconds=float(seconds))


def install_guard(
    host: Host, settings: HostSettings, by: Mapping[str, str], *, is_replacing: bool = False,
    is_any_machine: bool = False,
) -> GuardState:  # fmt: skip
    """Agree on the rules of t2v.toml, and see to it that they are kept; asking again changes nothing.

    by:           this workspace, as `remote.workspace_id.identity` has it
    is_replacing: also in the place of rules that another workspace agreed on
    is_any_machine: t2v.toml names it as one to power off, whatever its firmware says; refused of this machine itself
    """
    return _ask(
        host,
        INSTALL_GUARD,
        timeout_s=INSTALL_TIMEOUT_S,
        workspace=host.workdir,
        by=dict(by),
        is_replacing=is_replacing,
        **({"is_any_machine": True, "asked_on": boot_id()} if is_any_machine else {}),
        idle_stop_min=float(settings.idle_stop_min),
        max_run_h=float(settings.max_run_h),
        idle_gpu_percent=float(settings.idle_gpu_percent),
    )


def resume_preempted(host: Host) -> list[Resumed]:
    """Go on with the training that preemption ended, if it was the latest; to be asked after a VM was started."""
    with agent_on(host) as agent:
        return list(agent.ask(RESUME_PREEMPTED, timeout_s=45.0, workspace=host.workdir).resumed)


def _ask(
    host: Host, question: Question[NoGuard | GuardStands], *, timeout_s: float = 30.0, **parameters: Any
) -> GuardState:
    with agent_on(host) as agent:
        return GuardState.of(agent.ask(question, timeout_s=timeout_s, **parameters), time.time())
