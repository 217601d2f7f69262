"""`t2v refine` in the words that people of the previous system know, and its settings under a name."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.engine.forked_command import ran
from support.engine.small_checkpoint import save_small_checkpoint
from support.warm.python import warm
from test_cli import _read

from t2v_core.data.shapes.shapes import Scene, render
from t2v_core.data.video.decode import read_all_frames
from t2v_core.data.video.frames import write_video
from t2v_core.errors import InvalidRequest
from t2v_core.settings import values_for
from t2v_core.workspace import Workspace

REFINE = ("refine", "noisy.mp4", "output.mp4", "a red circle moving left", "0.3")
QUICK = ("--steps", "10", "--device", "cpu")
LINES = [
    "Refining with Step 12 model (3 steps)…", "Step 1/3", "Step 2/3", "Step 3/3", "Decoding 8 frames…",
    "Output saved to output.mp4",
]  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    save_small_checkpoint(tmp_path)
    scene = Scene("red", "circle", "moving left")
    write_video(tmp_path / "noisy.mp4", render(scene, np.random.default_rng(1), frames=8, size=64), fps=8)
    return tmp_path


def t2v(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return ran(arguments, cwd, environment())


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("T2V_")}


def test_a_pipe_gets_the_known_lines_and_nothing_else(workspace: Path) -> None:
    shown = t2v(*REFINE, *QUICK, cwd=workspace)
    assert (shown.returncode, shown.stdout.splitlines(), shown.stderr) == (0, LINES, "")


def test_json_keeps_stdout_to_itself_and_quiet_then_speaks_on_stderr(workspace: Path) -> None:
    shown = t2v(*REFINE, *QUICK, "--json", "--quiet", cwd=workspace)
    assert json.loads(shown.stdout)["frames"] == 8
    assert shown.stderr.splitlines() == LINES
    as_ever = t2v("--json", *REFINE, *QUICK, cwd=workspace)
    assert json.loads(as_ever.stdout)["frames"] == 8
    assert "▸ refine" in as_ever.stderr


def test_verbose_shows_shapes_timesteps_ranges_and_times(workspace: Path) -> None:
    shown = t2v(*REFINE, *QUICK, "--verbose", cwd=workspace)
    assert [line for line in shown.stdout.splitlines() if line in LINES] == LINES
    number = r"-?\d+(\.\d+)?(e-?\d+)?"
    for wanted in (
        rf"input      8 × 64 × 64 × 3, {number} … {number}",
        r"latents    8 × 4 × 8 × 8, through the model in windows of 8",
        r"timesteps  300, 200, 100",
        rf"step 2/3  t = 200, latents {number} … {number}, \d+\.\d\d s",
        rf"decoded    8 × 64 × 64 × 3, {number} … {number}, \d+\.\d\d s",
        r"in all     \d+\.\d\d s",
    ):
        assert re.search(f"^{wanted}$", shown.stdout, re.MULTILINE), (wanted, shown.stdout)


def test_a_terminal_gets_the_bar_and_with_quiet_the_lines(workspace: Path) -> None:
    as_ever, quiet = on_a_terminal(workspace, *REFINE, *QUICK), on_a_terminal(workspace, *REFINE, *QUICK, "--quiet")
    assert "▸ refine" in as_ever
    assert "Step 1/3" not in as_ever
    assert [line.strip() for line in quiet.splitlines()] == LINES


def on_a_terminal(workspace: Path, *arguments: str) -> str:
    ours, theirs = pty.openpty()
    argv = [warm(), "-m", "t2v_tui.cli.main", *arguments]
    with subprocess.Popen(argv, cwd=workspace, stdout=theirs, stderr=theirs, env=environment() | {"TERM": "xterm"}):
        os.close(theirs)
        written = b""
        while chunk := _read(ours):
            written += chunk
    os.close(ours)
    return written.decode()


def test_a_warning_and_an_error_go_to_stderr_and_leave_the_lines_alone(workspace: Path) -> None:
    wide = np.zeros((8, 64, 128, 3), np.uint8)
    write_video(workspace / "wide.mp4", wide, fps=8)
    shown = t2v("refine", "wide.mp4", *REFINE[2:], *QUICK, cwd=workspace)
    assert shown.stdout.splitlines() == LINES
    assert shown.stderr.startswith("warning: the video is 128×64")
    missing = t2v("refine", "missing.mp4", *REFINE[2:], cwd=workspace)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr.startswith("error: ")


# Settings under a name

EPOCH100 = """
[refine]
steps = 20
[refine.epoch100]
checkpoint = "checkpoints/checkpoint_step_12"
prompt = "a red circle moving left"
steps = 10
strength = 0.3
[refine.strong]
strength = 0.9
"""


def test_named_settings_stand_for_the_script_that_had_them_fixed(workspace: Path) -> None:
    (workspace / "t2v.toml").write_text('device = "cpu"\n' + EPOCH100)
    shown = t2v("refine", "noisy.mp4", "output.mp4", "--settings", "epoch100", cwd=workspace)
    assert (shown.returncode, shown.stdout.splitlines()) == (0, LINES), shown.stderr
    spec = json.loads((workspace / "output.json").read_text())["spec"]
    assert (spec["prompt"], spec["steps"], spec["strength"]) == ("a red circle moving left", 10, 0.3)
    assert len(read_all_frames(workspace / "output.mp4").frames) == 8


def test_a_flag_goes_before_a_name_and_a_name_before_variables_and_sections(tmp_path: Path) -> None:
    (tmp_path / "t2v.toml").write_text(EPOCH100)
    given = values_for("refine", Workspace(tmp_path), {"T2V_REFINE_STEPS": "7"}, {"strength": 0.5}, named="epoch100")
    assert (given["steps"], given["strength"]) == (10, 0.5)
    without = values_for("refine", Workspace(tmp_path), {"T2V_REFINE_STEPS": "7"}, {})
    assert without == {"steps": "7"}


@pytest.mark.parametrize(
    ("text", "named", "message", "hint"),
    [
        (
            "[refine.epoch100]\n\nstepz = 3\n",
            None,
            "t2v.toml line 3: [refine.epoch100] has no setting 'stepz'",
            "steps",
        ),
        (
            "[refine]\nepoch100 = { guidance = 3 }\n",
            None,
            "t2v.toml line 2: [refine.epoch100] has no setting 'gu",
            "gui",
        ),
        (
            "[refine.epoch100]\nsteps = 3\n",
            "epoch10",
            "t2v.toml has no section [refine.epoch10]",
            "did you mean 'epoch1",
        ),
        ("", "epoch100", "t2v.toml has no section [refine.epoch100]", "write [refine.epoch100] with its settings"),
        ("[refine.epoch100]\nsteps = 0\n", "epoch100", "t2v.toml line 2: steps = 0: input should be greater", "it is:"),
        ("[refine.a.b]\nsteps = 3\n", "a", "t2v.toml line 1: [refine.a] has no setting 'b'", ""),
    ],
)
def test_a_wrong_name_or_key_is_said_with_its_line_and_the_nearest(
    text: str, named: str | None, message: str, hint: str, tmp_path: Path
) -> None:
    (tmp_path / "t2v.toml").write_text(text)
    with pytest.raises(InvalidRequest) as caught:
        values_for("refine", Workspace(tmp_path), {}, {}, named=named)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_what_neither_the_command_nor_the_name_holds_is_missing(workspace: Path) -> None:
    (workspace / "t2v.toml").write_text(EPOCH100)
    shown = t2v("refine", "noisy.mp4", "output.mp4", cwd=workspace)
    assert (shown.returncode, shown.stderr) == (2, "error: PROMPT is missing\nhint:  see t2v refine --help\n")
    named = t2v("refine", "noisy.mp4", "output.mp4", "--settings", "strong", cwd=workspace)
    assert named.returncode == 2
    assert named.stderr.startswith("error: prompt is missing\n")
