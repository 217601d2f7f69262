"""What the last session saw, for the first paint: `.t2v/tui/state.json`. Losing it loses nothing but that."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from t2v_core.disk.files import write_json
from t2v_core.disk.plain_json import read_table
from t2v_core.disk.private import make_folder
from t2v_core.disk.typed_json import read_as
from t2v_core.errors import EngineError
from t2v_core.workspace import Workspace
from t2v_tui.store.cost_view import CostView
from t2v_tui.store.state import GuardView, HostKind, HostView, JobKey, LinkView, Reach, State, VmView


@dataclass(frozen=True)
class SessionMemory:
    """hosts as they were seen last; settings that were chosen for a verb, by its name"""

    hosts: Mapping[str, HostView] = field(default_factory=dict)
    host: str = ""
    shown: JobKey | None = None
    chosen: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _file(workspace: Workspace) -> Any:
    return workspace.root / ".t2v" / "tui" / "state.json"


def recall(workspace: Workspace) -> SessionMemory:
    """Return what the last session kept.

    Nothing of it is asked for again, so a file that is missing or of another version is no error.
    """
    try:
        said = read_table(_file(workspace))
        hosts = {name: _host(name, one) for name, one in said["hosts"].items()}
        shown = JobKey(*map(str, said["shown"])) if said["shown"] else None
        return SessionMemory(hosts, str(said["host"]), shown, {k: dict(v) for k, v in said["chosen"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return SessionMemory()


def _host(name: str, said: Mapping[str, Any]) -> HostView:
    link = {"reach": Reach.CACHED.value, "seen_t": said["seen_t"], "latency_s": said["latency_s"]}
    return HostView(
        name, HostKind(said["kind"]), str(said["address"]), str(said["workdir"]), read_as(LinkView, link),
        read_as(VmView, said["vm"]) if said["vm"] else None,
        read_as(CostView, said["cost"]) if said["cost"] else None,
        read_as(GuardView, said["guard"]) if said.get("guard") else None,
    )  # fmt: skip


def remember(workspace: Workspace, state: State, chosen: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep what this session saw.

    A disk that takes no more, or a folder that may not be written, costs the memory and nothing else.
    """
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
        make_folder(_file(workspace).parent)
        write_json(_file(workspace), said)
