"""Pulls as a thread of their own, which tells how far it is and can be left at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from t2v_core.errors import EngineError
from t2v_tui.news import News, TransferHeard
from t2v_tui.services import Services
from t2v_tui.state import TransferView
from t2v_tui.streams import Stream

if TYPE_CHECKING:
    from remote.host_jobs import HostJobs
    from remote.transfer.plan import Plan
    from remote.transfer.progress import TransferProgress
    from remote.transfer.pull import Pulling


class PullStream(Stream):
    """Brings paths of a host's workspace here. `landed` is told of each that is whole, then of the end with None."""

    def __init__(
        self,
        services: Services,
        host: str,
        paths: Sequence[str],
        tell: Callable[[News], None],
        landed: Callable[[str | None], None],
    ) -> None:
        super().__init__(f"pull from {host}", tell)
        self.services, self.host, self.paths, self.landed = services, host, list(paths), landed
        what = paths[0].removeprefix("checkpoints/").removeprefix("outputs/")
        more = f" +{len(paths) - 1}" if len(paths) > 1 else ""
        self.view = TransferView(f"{host}:{paths[0]}:{time.monotonic_ns()}", host, what + more, is_pull=True)
        self._pulling: Pulling | None = None

    def run(self) -> None:
        self.tell(TransferHeard(self.view))
        try:
            self._pull()
        except EngineError as error:
            self._show(replace(self.view, state="failed", why=f"{error.message}. {error.hint}".removesuffix(". ")))
        self.landed(None)

    def _pull(self) -> None:
        from remote.transfer.pull import Pulling  # noqa: PLC0415

        jobs = self.services.jobs(self.host)
        plan = self.planned(jobs)
        if not plan.needed:
            others = [item for item in plan.items if item.standing.value == "other"]
            why = "another file of that name is here" if others else "it is here already"
            self._show(replace(self.view, state="failed" if others else "done", why=why))
            return
        self._show(replace(self.view, state="running", total_bytes=plan.to_send))
        self._pulling = Pulling(jobs, plan)
        for progress in self._pulling:
            self._take(progress)
        is_over = self.view.state == "done"
        if not is_over:
            self._show(replace(self.view, state="paused", why="left; pull it again to go on"))

    def planned(self, jobs: HostJobs) -> Plan:
        """What would come. Raises EngineError."""
        from remote.transfer.plan import plan_pull  # noqa: PLC0415

        return plan_pull(jobs, self.paths)

    def _take(self, progress: TransferProgress) -> None:
        from remote.transfer.progress import Phase  # noqa: PLC0415

        state = {Phase.WAITING: "queued", Phase.ENDED: "done"}.get(progress.phase, "running")
        why = progress.note if state == "queued" else ""
        done, total = progress.done_bytes, progress.total_bytes
        rate = progress.bytes_per_s
        self._show(replace(self.view, state=state, done_bytes=done, total_bytes=total, rate=rate, why=why))
        if progress.phase is Phase.LANDED:
            self.landed(progress.path)

    def _show(self, view: TransferView) -> None:
        if view != self.view:
            self.view = view
            self.tell(TransferHeard(view))

    def close(self) -> None:
        super().close()
        if self._pulling is not None:
            self._pulling.close()
