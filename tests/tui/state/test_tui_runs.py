"""Runs that are followed: whatever becomes of the link or of the run, its curve is read once and never shrinks."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from support.engine.ended_jobs import add_ended, lines_of, of_training
from support.screen.in_terminal import eventually, on_screen

from remote.jobs.spool import EVENTS, Spool
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.store.events import News, RowsReceived, RunEnded, RunPiece
from t2v_tui.store.run_fold import joined
from t2v_tui.store.state import JobKey, RunView
from t2v_tui.workers.services import Services
from t2v_tui.workers.streams import RunFollow

DEADLINE_S = 180.0


class Noted(CockpitApp):
    """Notes what it heard."""

    def __init__(self, workspace: Workspace, services: Services, **options: Any) -> None:
        super().__init__(workspace, services=services, **options)
        self.heard: list[News] = []
        self._advance, self.live._advance = self.live._advance, self._noted

    def _noted(self, news: News) -> bool:
        self.heard.append(news)
        return self._advance(news)

    def count(self, kind: type[News]) -> int:
        return sum(isinstance(news, kind) for news in self.heard)


@on_screen
async def test_the_curve_of_a_run_that_has_ended_is_read_once(tmp_path: Path) -> None:
    job = JobKey("local", add_ended(tmp_path, "train", time.time() - 7200, of_training(300)))
    workspace = Workspace(tmp_path)
    services = Services(workspace)
    app = Noted(workspace, services)
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: app.count(RunEnded) == 1)
        for _ in range(6):  # its host is asked again and again, and each answer names it
            rows = app.count(RowsReceived)
            app.listening.wake("local")
            await eventually(pilot, lambda rows=rows: app.count(RowsReceived) > rows)  # type: ignore[misc]
        assert app.count(RunEnded) == 1
        assert sum(isinstance(news, RunPiece) and news.is_first for news in app.heard) == 1
        assert list(app.state.runs[job].curve.steps) == list(range(1, 301))
    services.close()


def test_what_is_known_of_a_run_stays_while_its_host_is_looked_for_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "t2v.toml").write_text('[host.vm]\naddress = "127.0.0.1"\nport = 1\n')  # nobody listens there
    workspace, job = Workspace(tmp_path), JobKey("vm", "20261125-021501-train-3f2a")
    Spool.of(workspace, *job).write(EVENTS, 0, lines_of(of_training(40)[:40], 1.0))
    lengths: list[int] = []
    run, looks, enough = RunView(), [0], threading.Event()

    def ready(follow: RunFollow) -> None:
        nonlocal run
        piece = follow.take()
        run = joined(RunView() if piece.is_first else run, piece)
        lengths.append(len(run.curve.steps))
        looks[0] += bool(run.link_why and piece.link_why)
        enough.set() if looks[0] >= 3 else follow.wake()

    follow = RunFollow(job, Services(workspace), lambda _: None, ready)
    follow.start()
    assert enough.wait(DEADLINE_S)
    follow.close()
    follow.join(DEADLINE_S)
    assert lengths == sorted(lengths)
    assert list(run.curve.steps) == list(range(1, 41))
    assert run.link_why
