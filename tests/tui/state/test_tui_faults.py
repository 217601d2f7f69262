"""What ends a thread of the terminal UI unforeseen is said on the screen and kept with its traceback."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from support.screen.in_terminal import eventually, on_screen

from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.messages import Failed
from t2v_tui.workers.crash_report import kept_in
from t2v_tui.workers.services import Services
from t2v_tui.workers.transfers import TransferStream


class Broken(TransferStream):
    def move(self) -> None:
        raise ValueError("what nobody foresaw")


@on_screen
async def test_a_transfer_that_breaks_off_by_a_fault_of_our_own_is_said_to_have_failed(tmp_path: Path) -> None:
    workspace, landed = Workspace(tmp_path), list[str | None]()
    app = CockpitApp(workspace, services=Services(workspace), first="train")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", threading.excepthook)  # and back again at the end
        async with app.run_test(size=(120, 40)) as pilot:
            assert app.services is not None
            Broken(app.services, "vm", ["outputs/a.mp4"], app.live.from_thread, landed.append, is_pull=True).start()
            await eventually(pilot, lambda: any("what nobody foresaw" in one.title for one in app._notifications))
            await eventually(pilot, lambda: [one.state for one in app.state.transfers] == ["failed"])
    assert landed == [None]
    said = (tmp_path / ".t2v/tui/faults.log").read_text()
    assert "pull from vm\nTraceback" in said
    assert "in move" in said


def test_a_disk_that_takes_no_line_hides_no_fault(tmp_path: Path) -> None:
    (tmp_path / ".t2v").write_text("in the way")
    heard: list[Failed] = []
    error = ValueError("odd")
    kept_in(Workspace(tmp_path), heard.append)(threading.ExceptHookArgs((ValueError, error, None, None)))
    assert [one.message for one in heard] == ["a thread ended: ValueError: odd"]
    assert "could not be written to" in heard[0].hint
