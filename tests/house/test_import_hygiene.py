"""What drives never loads what works: real interpreters, and what they have in `sys.modules`."""

import json
import os
import statistics
import subprocess
import sys

import pytest

TENSORS = {"torch", "diffusers", "transformers", "accelerate", "numpy", "av"}
CLOUD = {"paramiko", "fabric", "google"}
PAGE = {"gradio", "fastapi", "uvicorn"}

# CPU seconds on the slowest laptop we care about; 0.12 were measured on the machine this was written on.
HELP_BUDGET_S = 0.35


def loaded_by(program: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `program`."""
    listing = "\nimport json, sys\nprint('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", program + listing], capture_output=True, text=True, timeout=240, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "module",
    [
        "t2v_tui.cli.main", "t2v_tui.cli.engine.verbs", "t2v_tui.cli.engine.demo", "t2v_tui.cli.init",
        "remote.jobs.foreground", "t2v_tui.cli.web.web", "t2v_tui.web.gate", "t2v_tui.web.html",
        "t2v_tui.web.uploads", "t2v_core.verbs.resident", "t2v_core", "t2v_core.specs",
        "t2v_core.events", "t2v_core.disk.files", "t2v_core.workspace", "t2v_core.settings", "t2v_core.job",
    ],
)  # fmt: skip
def test_contracts_and_drivers_load_no_tensors_no_cloud_and_no_page(module: str) -> None:
    assert loaded_by(f"import {module}") & (TENSORS | CLOUD | PAGE) == set()


def test_help_loads_neither_tensors_nor_pydantic() -> None:
    loaded = loaded_by("from t2v_tui.cli.main import main\nassert main(['--help']) == 0")
    assert loaded & (TENSORS | CLOUD | {"pydantic", "rich"}) == set()


def test_help_is_quick() -> None:
    assert statistics.median(cpu_seconds_of_help() for _ in range(5)) <= HELP_BUDGET_S


def cpu_seconds_of_help() -> float:
    child = subprocess.Popen([sys.executable, "-m", "t2v_tui.cli.main", "--help"], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return used.ru_utime + used.ru_stime
