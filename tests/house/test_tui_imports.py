"""What `t2v-tui` loads before its first paint, and what that costs beside the smallest Textual app there is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from test_import_hygiene import CLOUD, TENSORS, loaded_by

# Until the first paint nobody is asked and nothing is checked, so nothing that asks or checks is needed.
LATER = {"pydantic", "typer", "asyncssh", "cryptography", "grpc"}
# 0.20 s and 0.45 s on the machine of docs/benchmarks.md; a slower or a busy one changes both.
MOST = 2.25
MINIMAL = """
from textual.app import App
from textual.widgets import Footer, Header, Static

class Minimal(App):
    def compose(self):
        yield Header()
        yield Static("hello")
        yield Footer()

    def on_mount(self):
        self.call_after_refresh(self.exit)

Minimal().run(headless=True)
"""
OURS = """
import sys
from pathlib import Path
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.store.session import recall
from t2v_tui.workers.services import Services
from t2v_tui.settings import read_tui

workspace = Workspace(Path(sys.argv[1]))
services, settings = Services(workspace), read_tui(workspace)
app = CockpitApp(workspace, services=services, settings=settings, memory=recall(workspace))
app.listening.read_hosts = app.exit  # what asks hosts begins here, after the first paint
app.run(headless=True)
"""


def test_the_app_loads_no_tensors_and_no_cloud() -> None:
    for module in ("main", "app", "workers.streams", "workers.demo_vm", "workers.providers"):
        assert loaded_by(f"import t2v_tui.{module}") & (TENSORS | CLOUD) == set(), module


def test_every_screen_loads_no_tensors_and_no_cloud() -> None:
    program = "from t2v_tui.registry import SCREENS, load\nmade = [load(entry) for entry in SCREENS]"
    assert loaded_by(program) & (TENSORS | CLOUD) == set()


def test_what_is_needed_later_is_not_loaded_before_the_first_paint() -> None:
    assert (
        loaded_by("import t2v_tui.main, t2v_tui.app, t2v_tui.workers.services, t2v_tui.store.session") & LATER == set()
    )


def test_help_needs_no_textual() -> None:
    program = "import sys\nfrom t2v_tui.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    assert "textual" not in loaded_by(program)


def test_the_first_paint_is_hardly_later_than_the_smallest_app_s(tmp_path: Path) -> None:
    ours, minimal = [], []
    for _ in range(3):  # interleaved, so that other work on the machine counts for both
        minimal.append(cpu_seconds(MINIMAL, tmp_path))
        ours.append(cpu_seconds(OURS, tmp_path))
    assert min(ours) <= MOST * min(minimal), (ours, minimal)


def cpu_seconds(program: str, folder: Path) -> float:
    """Of a program in a file: Textual looks for style sheets beside it."""
    file = folder / "program.py"
    file.write_text(program)
    child = subprocess.Popen(
        [sys.executable, str(file), str(folder)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return used.ru_utime + used.ru_stime
