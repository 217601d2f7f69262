"""What the last session saw, for the first paint: `.t2v/tui/state.json`. Losing it loses nothing but that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from t2v_core.errors import EngineError
from t2v_core.files import write_json
from t2v_core.workspace import Workspace
from t2v_tui.cost_view import CostView
from t2v_tui.state import GuardView, HostKind, HostView, JobKey, LinkView, Power, Reach, State, VmView


@dataclass(frozen=True)
class Memory:
    """hosts as they were seen last; settings that were chosen for a verb, by its name"""

    hosts: Mapping[str, HostView] = field(default_factory=dict)
    host: str = ""
    shown: JobKey | None = None
    chosen: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _file(workspace: Workspace) -> Any:
    return workspace.root / ".t2v" / "tui" / "state.json"


def recall(workspace: Workspace) -> Memory:
    """Nothing of it is asked for again, so a file that is missing or of another version is no error."""
    try:
        said = json.loads(_file(workspace).read_bytes())
        hosts = {name: _host(name, one) for name, one in said["hosts"].items()}
        shown = JobKey(*said["shown"]) if said["shown"] else None
        return Memory(hosts, str(said["host"]), shown, dict(said["chosen"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Memory()


def _host(name: str, said: Mapping[str, Any]) -> HostView:
    link = LinkView(Reach.CACHED, seen_t=said["seen_t"], latency_s=said["latency_s"])
    vm = said["vm"]
    return HostView(
        name, HostKind(said["kind"]), said["address"], said["workdir"], link,
        VmView(**{**vm, "power": Power(vm["power"])}) if vm else None,
        CostView(**said["cost"]) if said["cost"] else None,
        GuardView(**said["guard"]) if said.get("guard") else None,
    )  # fmt: skip


def remember(workspace: Workspace, state: State, chosen: Mapping[str, Mapping[str, Any]]) -> None:
    """A disk that takes no more, or a folder that may not be written, costs the memory and nothing else."""
    hosts = {
        name: {
            "kind": host.kind, "address": host.address, "workdir": host.workdir, "seen_t": host.link.seen_t,
            "latency_s": host.link.latency_s, "vm": asdict(host.vm) if host.vm else None,
            "cost": asdict(host.cost) if host.cost else None,
            "guard": asdict(host.guard) if host.guard else None,
        }
        for name, host in state.hosts.items()
    }  # fmt: skip
    said = {"hosts": hosts, "host": state.host, "shown": state.shown, "chosen": {k: dict(v) for k, v in chosen.items()}}
    with suppress(EngineError, OSError):
        _file(workspace).parent.mkdir(parents=True, exist_ok=True)
        write_json(_file(workspace), said)
