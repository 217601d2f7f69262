"""When a VM ran, as far as it was seen from this workspace: the provider itself only knows the last start and stop.

`.t2v/cost/<host>.jsonl` gets a line when a start is seen and one when a stop is, so what was spent today is known after
a restart of the VM or of t2v. What started and ended while nobody looked, with another start after it, is not in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from t2v_core.disk.files import describe_os_error
from t2v_core.disk.plain_json import read_lines, table
from t2v_core.disk.private import make_folder
from t2v_core.disk.typed_json import UnixTime, read_as
from t2v_core.workspace import Workspace


class SeenVm(Protocol):
    """When a VM ran last, by the provider's clock, in Unix seconds.

    id:     the provider's number for it; a VM that was made anew has another
    seen_t: when the provider was asked, by this machine's clock
    """

    @property
    def id(self) -> str:
        """Return the provider's number for it."""
        ...

    @property
    def is_stopped(self) -> bool:
        """Tell whether it was off."""
        ...

    @property
    def machine_type(self) -> str:
        """Return the machine type, as a2-highgpu-1g."""
        ...

    @property
    def is_spot(self) -> bool:
        """Tell whether it is a spot VM."""
        ...

    @property
    def last_start_t(self) -> float | None:
        """Return when it was started last; None when the provider does not say."""
        ...

    @property
    def last_stop_t(self) -> float | None:
        """Return when it was stopped last; None when the provider does not say."""
        ...

    @property
    def seen_t(self) -> float:
        """Return when the provider was asked, by this machine's clock."""
        ...


@dataclass(frozen=True)
class Session:
    """From one start of a VM to its stop.

    stopped_t:    None while it runs
    usd_per_hour: what it cost when it was seen first; None when that was not known
    is_exact:     False when the stop was not seen: then it is the latest moment at which it can have been
    """

    id: str
    started_t: UnixTime
    stopped_t: UnixTime | None = None
    usd_per_hour: float | None = None
    machine_type: str = ""
    is_spot: bool = False
    is_exact: bool = True

    @property
    def key(self) -> tuple[str, float]:
        """Return what makes it one session: the VM's id and when it was started."""
        return self.id, self.started_t

    def hours(self, since_t: float, until_t: float) -> float:
        """Return how long it ran within that stretch of time."""
        end_t = until_t if self.stopped_t is None else min(self.stopped_t, until_t)
        return max(0.0, end_t - max(self.started_t, since_t)) / 3600

    def usd(self, since_t: float, until_t: float) -> float:
        """Return what that cost; 0 where the price is not known."""
        return self.hours(since_t, until_t) * (self.usd_per_hour or 0.0)


def runs_since(vm: SeenVm) -> float | None:
    """Return when it was started last; None when it has ended since, or was never started."""
    if vm.is_stopped or vm.last_start_t is None:
        return None
    was_stopped_later = vm.last_stop_t is not None and vm.last_stop_t >= vm.last_start_t
    return None if was_stopped_later else vm.last_start_t


def current_session(vm: SeenVm, usd_per_hour: float | None) -> Session | None:
    """Return the last start of a VM and, if it has ended, its stop; None when it was never started."""
    if vm.last_start_t is None:
        return None
    session = Session(str(vm.id), vm.last_start_t, None, usd_per_hour, machine_type=vm.machine_type, is_spot=vm.is_spot)
    if runs_since(vm) is not None or not vm.is_stopped:
        return session
    if vm.last_stop_t is not None and vm.last_stop_t >= vm.last_start_t:
        return replace(session, stopped_t=vm.last_stop_t)
    return replace(session, stopped_t=max(vm.seen_t, vm.last_start_t), is_exact=False)


def news(known: Sequence[Session], vm: SeenVm, usd_per_hour: float | None) -> Iterator[Session]:
    """Yield the sessions that are to be written down after a look at the VM: begun or ended since the last."""
    current = current_session(vm, usd_per_hour)
    if current is None:
        return
    for one in known:
        if one.stopped_t is None and one.key != current.key and one.started_t < current.started_t:
            stop_t = vm.last_stop_t if one.id == current.id else None
            is_its = stop_t is not None and one.started_t <= stop_t <= current.started_t
            yield replace(one, stopped_t=stop_t if is_its else current.started_t, is_exact=is_its)
    before = next((one for one in known if one.key == current.key), None)
    if before is None:
        yield current
    elif before.stopped_t is None and current.stopped_t is not None:
        yield replace(current, usd_per_hour=before.usd_per_hour)


@dataclass(frozen=True)
class Ledger:
    """The sessions of one host. Several processes may write: the same thing twice is once."""

    path: Path

    @classmethod
    def of(cls, workspace: Workspace, host: str) -> Ledger:
        """Return the ledger of a host, whose file in `.t2v/cost/` need not be there yet."""
        return cls(workspace.root / ".t2v" / "cost" / f"{quote(host, safe='')}.jsonl")

    def sessions(self) -> list[Session]:
        """Return them in the order of their starts; of each what was written last. A torn line is passed over."""
        try:
            known = {one.key: one for one in _sessions_in(read_lines(self.path))}
        except FileNotFoundError:
            return []
        except OSError as error:
            raise describe_os_error(error, self.path) from error
        return sorted(known.values(), key=lambda one: one.started_t)

    def see(self, vm: SeenVm, usd_per_hour: float | None) -> list[Session]:
        """Write down what is new about a VM; returns all sessions. Raises EngineError when it cannot be written."""
        known = self.sessions()
        new = list(news(known, vm, usd_per_hour))
        if new:
            self._append(new)
        return sorted({one.key: one for one in (*known, *new)}.values(), key=lambda one: one.started_t)

    def _append(self, sessions: Iterable[Session]) -> None:
        """One write to the end of the file, whole, also when others write; a torn line before it is closed first."""
        data = "".join(json.dumps(asdict(one)) + "\n" for one in sessions).encode()
        try:
            make_folder(self.path.parent)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                size = os.fstat(descriptor).st_size
                is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                os.write(descriptor, b"\n" + data if is_torn else data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise describe_os_error(error, self.path) from error


def _sessions_in(lines: Iterable[bytes]) -> Iterator[Session]:
    for line in lines:
        try:
            yield read_as(Session, table(line))
        except ValueError:
            continue
