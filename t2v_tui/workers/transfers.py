"""Transfers as threads of their own, which tell how far they are and can be left at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from t2v_core.errors import EngineError
from t2v_tui.store.events import News, TransferReceived
from t2v_tui.store.state import TransferView
from t2v_tui.workers.services import Services
from t2v_tui.workers.streams import Stream

if TYPE_CHECKING:
    from remote.jobs.client import HostJobs
    from remote.transfer.plan.pull_plan import Plan
    from remote.transfer.progress import TransferProgress
    from remote.transfer.pull import Pulling
    from remote.transfer.push import Pushing


class TransferStream(Stream):
    """Moves paths between a host's workspace and here. `landed` hears of each that is whole, then None for the end."""

    AGAIN = "pull it again to continue"

    def __init__(
        self,
        services: Services,
        host: str,
        paths: Sequence[str],
        tell: Callable[[News], None],
        landed: Callable[[str | None], None],
        *,
        is_pull: bool,
    ) -> None:
        super().__init__(f"{'pull from' if is_pull else 'push to'} {host}", tell)
        self.services, self.host, self.paths, self.landed = services, host, list(paths), landed
        what = paths[0].removeprefix("checkpoints/").removeprefix("outputs/")
        more = f" +{len(paths) - 1}" if len(paths) > 1 else ""
        self.view = TransferView(f"{host}:{paths[0]}:{time.monotonic_ns()}", host, what + more, is_pull)
        self._moving: Pulling | Pushing | None = None

    def run(self) -> None:
        """Move everything and tell how far it is; `landed` hears None at the end, also after an error."""
        self.tell(TransferReceived(self.view))
        try:
            self.move()
        except EngineError as error:
            self.show(replace(self.view, state="failed", why=f"{error.message}. {error.hint}".removesuffix(". ")))
        finally:
            if self.view.state in ("queued", "running"):  # a fault of our own, which the app hears of by itself
                self.show(replace(self.view, state="failed", why=f"it was interrupted; {self.AGAIN}"))
            self.landed(None)

    def move(self) -> None:
        """Move all of it. Raises EngineError."""
        raise NotImplementedError

    def follow(self, moving: Pulling | Pushing, to_send: int) -> None:
        """Follow a transfer to its end, or until somebody leaves."""
        self.show(replace(self.view, state="running", total_bytes=to_send))
        self._moving = moving
        rows: Iterable[TransferProgress] = () if self.is_closed else moving
        for progress in rows:
            self.take(progress)
        if self.view.state != "done":
            self.show(replace(self.view, state="paused", why=f"cancelled; {self.AGAIN}"))

    def take(self, progress: TransferProgress) -> None:
        """Show how far it is, and tell `landed` of a path that is whole."""
        from remote.transfer.progress import Phase

        state = {Phase.WAITING: "queued", Phase.ENDED: "done"}.get(progress.phase, "running")
        why = progress.note if state == "queued" else ""
        done, total = progress.done_bytes, progress.total_bytes
        rate = progress.bytes_per_s
        self.show(replace(self.view, state=state, done_bytes=done, total_bytes=total, rate=rate, why=why))
        if progress.phase is Phase.LANDED:
            self.landed(progress.path)

    def show(self, view: TransferView) -> None:
        """Tell the view, unless it is the one that was told last."""
        if view != self.view:
            self.view = view
            self.tell(TransferReceived(view))

    def close(self) -> None:
        """End it, and the transfer that is under way."""
        super().close()
        if self._moving is not None:
            self._moving.close()


class PullStream(TransferStream):
    """Brings paths of a host's workspace here."""

    def __init__(
        self,
        services: Services,
        host: str,
        paths: Sequence[str],
        tell: Callable[[News], None],
        landed: Callable[[str | None], None],
    ) -> None:
        super().__init__(services, host, paths, tell, landed, is_pull=True)

    def move(self) -> None:
        """Pull what is not here; when all is, say so, or that another file of that name is in the way."""
        from remote.transfer.pull import Pulling

        jobs = self.services.jobs(self.host)
        plan = self.planned(jobs)
        if plan.needed:
            self.follow(Pulling(jobs, plan), plan.to_send)
            return
        others = [item for item in plan.items if item.standing.value == "other"]
        why = "another file of that name is here" if others else "it is here already"
        self.show(replace(self.view, state="failed" if others else "done", why=why))

    def planned(self, jobs: HostJobs) -> Plan:
        """Return what would come. Raises EngineError."""
        from remote.transfer.plan.pull_plan import plan_pull

        return plan_pull(jobs, self.paths)
