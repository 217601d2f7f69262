"""What the last session saw, for the first paint: `.t2v/tui/state.json`. Losing it loses nothing but that."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from t2v_core.disk.files import write_json
from t2v_core.disk.plain_json import read_table
from t2v_core.disk.private import make_folder
from t2v_core.disk.typed_json import UnixTime, read_as
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
        kept = read_as(_Kept, read_table(_file(workspace)))
        hosts = {name: read_as(_KeptHost, one).view(name) for name, one in kept.hosts.items()}
        return SessionMemory(
            hosts, kept.host, kept.shown and JobKey(*kept.shown), {k: dict(v) for k, v in kept.chosen.items()}
        )
    except (OSError, ValueError, TypeError):
        return SessionMemory()


@dataclass(frozen=True)
class _Kept:
    """What the file holds."""

    hosts: dict[str, dict[str, Any]]
    host: str
    shown: tuple[str, str] | None
    chosen: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class _KeptHost:
    """What it holds of each host."""

    kind: HostKind
    address: str
    workdir: str
    seen_t: UnixTime | None
    latency_s: float | None
    vm: VmView | None
    cost: CostView | None
    guard: GuardView | None = None

    @classmethod
    def of(cls, host: HostView) -> _KeptHost:
        return cls(
            host.kind, host.address, host.workdir, host.link.seen_t, host.link.latency_s, host.vm, host.cost, host.guard
        )

    def view(self, name: str) -> HostView:
        link = LinkView(Reach.CACHED, seen_t=self.seen_t, latency_s=self.latency_s)
        return HostView(name, self.kind, self.address, self.workdir, link, self.vm, self.cost, self.guard)


def remember(workspace: Workspace, state: State, chosen: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep what this session saw.

    A disk that takes no more, or a folder that may not be written, costs the memory and nothing else.
    """
    hosts = {name: asdict(_KeptHost.of(host)) for name, host in state.hosts.items()}
    said = asdict(_Kept(hosts, state.host, state.shown, {k: dict(v) for k, v in chosen.items()}))
    with suppress(EngineError, OSError):
        make_folder(_file(workspace).parent)
        write_json(_file(workspace), said)
