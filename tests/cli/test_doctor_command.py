"""`t2v doctor` as a command: without the engine, in a terminal, in a pipe."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from t2v_core.diagnosis.check import bad, good, odd
from t2v_tui.cli.doctor import check_lines, summary
from t2v_tui.cli.main import main

CHECKOUT = Path(__file__).resolve().parents[2]
BASE_PACKAGES = (
    "pydantic", "pydantic_core", "typing_extensions.py", "annotated_types", "typing_inspection", "rich", "typer",
    "click", "shellingham", "markdown_it", "mdurl", "pygments", "annotated_doc",
)  # fmt: skip


def base_install(folder: Path) -> dict[str, str]:
    """An environment in which Python finds t2v and what its base install brings, and nothing else."""
    site = Path(sysconfig.get_path("purelib"))
    for name in BASE_PACKAGES:
        if (site / name).exists():
            (folder / name).symlink_to(site / name)
    # What t2v requires stands in its own; a checkout has that only where it was built.
    for name in ("t2v", "pydantic", "rich", "typer"):
        for about in site.glob(f"{name}-*.dist-info"):
            (folder / about.name).symlink_to(about)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "PYTHON"))}
    return kept | {"PYTHONPATH": f"{folder}:{CHECKOUT}", "COLUMNS": "80"}


# CPU seconds; 0.35 were measured on the machine this was written on.
BUDGET_S = 3.0


def test_without_the_engine_it_works_says_what_to_install_and_is_quick(tmp_path: Path) -> None:
    packages, workspace = tmp_path / "packages", tmp_path / "workspace"
    packages.mkdir()
    workspace.mkdir()
    argv = [sys.executable, "-S", "-m", "t2v_tui.cli.main", "doctor"]
    with subprocess.Popen(
        argv, cwd=workspace, env=base_install(packages), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        said, complaint = child.stdout.read(), child.stderr.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert (child.returncode, complaint) == (1, "")
    assert used.ru_utime + used.ru_stime < BUDGET_S
    assert "\x1b" not in said
    assert "✗ engine" in said
    assert "torch is missing" in said.replace("\n" + 16 * " ", " ")
    assert "✗ encoders" in said
    assert any("pip install" in line and "[engine]" in line for line in said.splitlines())
    assert [line for line in said.splitlines() if len(line) > 80 and "→" not in line and "/" not in line] == []
    assert list(workspace.iterdir()) == []


CHECKS = [
    good("python", "fine"),
    odd("latents", "a word " * 30, "t2v preprocess --data " + "x" * 90),
    bad("data", "no"),
]


def test_a_check_is_wrapped_beside_its_name_and_its_line_stays_whole() -> None:
    lines = list(check_lines(CHECKS[1], columns=80, colour=False))
    assert lines[0].startswith("! latents       a word")
    assert all(line.startswith(16 * " ") for line in lines[1:])
    assert all(len(line) <= 80 for line in lines[:-1])
    assert lines[-1] == 16 * " " + "→ " + CHECKS[1].mend
    assert summary(CHECKS) == "1 good, 1 to look at, 1 bad"


@pytest.mark.parametrize(("environ", "has_colour"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colour_unless_it_asks_for_none(environ: dict[str, str], has_colour: bool) -> None:
    program = (
        "from t2v_core.diagnosis.check import bad\nfrom t2v_tui.cli.doctor import _is_coloured, check_lines\n"
        "print(*check_lines(bad('data', 'no'), columns=80, colour=_is_coloured()))"
    )
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen([sys.executable, "-c", program], stdout=theirs, env=kept | {"TERM": "xterm"} | environ):
        os.close(theirs)
        shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert ("\x1b[31m✗\x1b[0m data" in shown) == has_colour
    assert "✗" in shown


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Examples:" in shown
    assert "--checksums" in shown
