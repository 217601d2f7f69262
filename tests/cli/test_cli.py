"""`t2v` as a person or a script meets it: real processes, their exit codes, their stdout and stderr."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from support.warm.python import warm

from t2v_core.errors import InvalidRequest
from t2v_core.events import DoneEvent, ProgressEvent, StageEvent
from t2v_core.specs import SPECS, make_spec
from t2v_core.workspace import Workspace
from t2v_tui.cli.engine.curve import curve
from t2v_tui.cli.engine.demo import STEPS
from t2v_tui.cli.engine.run import command_to_go_on, prepare, result_paths
from t2v_tui.cli.main import parser_sentence
from t2v_tui.cli.narrate import Pace, PlainNarrator, duration
from t2v_tui.cli.options import as_meant_here
from t2v_tui.find_workspace import find_workspace
from t2v_tui.new_workspace import REAL, SHAPES

TIMEOUT_S = 120
PRESETS = "'seed', 'base', 'tiny', 'unet3d' or 'unet3d-tiny'"
COMMANDS = {
    "init": (), "demo": (), "data shapes": ("data/shapes",), "data check": ("--timeout-s",),
    "doctor": ("--checksums",), "estimate": ("--gpu",), "preprocess": ("quarantine.csv",),
    "data manifest": ("train.manifest.jsonl", "--replace / --no-replace"), "data import-latents": ("OLD_DIR", "--fps"),
    "train": ("--resume / --no-resume", "tiny: 40", "seed|base|tiny"),
    "generate": ("PROMPT", "-o", "--guidance", "1\u00a0…\u00a030"),
    "add-noise": ("INPUT", "OUTPUT", "STRENGTH"), "refine": ("STRENGTH", "0\u00a0…\u00a01"), "evaluate": ("--prompts",),
    "verify-resume": ("--processes", "--deterministic"),
}  # fmt: skip


def t2v(*arguments: str, cwd: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("T2V_")}
    argv = [warm(), "-m", "t2v_tui.cli.main", *arguments]
    return subprocess.run(
        argv, cwd=cwd, env=kept | environ, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, tmp_path: Path) -> None:
    shown = t2v(*command.split(), "--help", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Examples:" in shown.stdout
    assert f"t2v {command}" in shown.stdout
    assert [text for text in COMMANDS[command] if text not in shown.stdout] == []
    assert list(tmp_path.iterdir()) == []  # help makes nothing


def test_the_list_of_commands_is_the_help_when_nothing_is_asked(tmp_path: Path) -> None:
    shown = t2v(cwd=tmp_path)
    assert shown.returncode == 0
    assert [name for name in COMMANDS if f"\n  {name.split()[0]} " not in shown.stdout] == []
    assert t2v("--version", cwd=tmp_path).stdout.startswith("t2v ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("evaluate --prompt 3", "error: there is no option --prompt (there is: --negative-prompt, --prompts)\nhint: "),
        ("trian", "error: there is no command 'trian'; did you mean 'train'?\nhint:  see t2v --help\n"),
        ("data shape", "error: there is no command 'shape'; did you mean 'shapes'?\nhint:  see t2v data --help\n"),
        ("generate", "error: PROMPT is missing\nhint:  see t2v generate --help\n"),
        ("train --preset tinny", f"error: --preset = 'tinny': input should be {PRESETS}\nhint:  did you"),
        ("refine a b c 3", "error: STRENGTH = '3': input should be less than or equal to 1\nhint:  "),
        ("--workspace nowhere train", "error: --workspace: there is no folder "),
        ("train --epochs", "error: "),
    ],
)
def test_a_wrong_request_is_a_sentence_and_a_hint_with_code_2(arguments: str, said: str, tmp_path: Path) -> None:
    answer = t2v(*arguments.split(), cwd=tmp_path)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith(said)
    assert len(answer.stderr.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []  # nothing was started


def test_settings_of_the_file_and_the_environment_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "t2v.toml").write_text("epoch = 3\n")
    assert "t2v.toml line 1: there is no setting 'epoch'" in t2v("train", cwd=tmp_path).stderr
    answer = t2v("--workspace", ".", "train", cwd=tmp_path, T2V_EPOCH="3")
    assert answer.returncode == 2


def test_a_missing_input_is_refused_by_the_engine_with_code_2(tmp_path: Path) -> None:
    answer = t2v("add-noise", "missing.mp4", "out.mp4", cwd=tmp_path)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert "missing.mp4" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert json.loads(next(tmp_path.glob("jobs/*/exit.json")).read_text())["code"] == 2


def test_a_result_is_its_path_on_stdout_or_json_and_no_pipe_gets_escape_codes(tmp_path: Path) -> None:
    made = t2v("data", "shapes", "--clips", "4", "--test-clips", "2", "--data", "small", cwd=tmp_path)
    assert (made.returncode, made.stdout) == (0, "small\n"), made.stderr
    assert "\x1b" not in made.stdout + made.stderr
    clip = next((tmp_path / "small/videos").glob("*.mp4"))
    noisy = t2v("add-noise", str(clip), "noisy.mp4", "0.3", cwd=tmp_path, FORCE_COLOR="1")
    assert noisy.returncode == 0, noisy.stderr
    assert noisy.stdout == "noisy.mp4\n"
    assert "\x1b" not in noisy.stderr
    told = t2v("--json", "add-noise", str(clip), "again.mp4", cwd=tmp_path)
    assert str(tmp_path / "again.mp4") in json.loads(told.stdout).values() or "again.mp4" in told.stdout


def test_a_terminal_gets_a_bar_and_with_no_color_no_colour() -> None:
    """Three events through the real narrator, on a real terminal."""
    program = (
        "from t2v_core.events import StageEvent, StepEvent, WarningEvent\n"
        "from t2v_tui.cli.narrate import narrator\nteller = narrator()\n"
        "teller.show(StageEvent('Training', t=1.0))\n"
        "for n in (1, 2):\n"
        "    teller.show(StepEvent(n, 9, loss=0.5, samples_per_s=4.0, t=1.0 + n))\n"
        "teller.show(WarningEvent('odd', t=3.0))\nteller.close()\n"
    )
    coloured, plain = on_a_terminal(program), on_a_terminal(program, NO_COLOR="1")
    assert "▸ Training" in coloured
    assert "2 of 9 steps" in coloured
    assert "loss 0.5000 · 4.0 samples/s · 0:07 left" in coloured
    assert "\x1b[33mwarning" in coloured
    assert "warning: odd" in plain
    assert "\x1b[33m" not in plain


def on_a_terminal(program: str, **environ: str) -> str:
    """What a program writes to a pseudo-terminal of 100 columns."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment = kept | {"TERM": "xterm", "COLUMNS": "100"} | environ
    with subprocess.Popen([sys.executable, "-c", program], stderr=theirs, stdout=theirs, env=environment):
        os.close(theirs)
        written = b""
        while chunk := _read(ours):
            written += chunk
    os.close(ours)
    return written.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux says EIO at the end of a terminal
        return b""


def test_plain_progress_is_a_line_every_few_seconds_and_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    teller = PlainNarrator(sys.stdout)
    for done in range(1, 101):
        teller.show(ProgressEvent(done, 100, "clips", t=float(done)))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 3
    assert lines[-1] == "  100 of 100 clips  1 clips/s · 0:00 left"


def test_an_end_that_comes_several_times_is_one_line_in_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    """As of 5 MB that are written as a hundred tensors: the last ones round to all of it."""
    teller = PlainNarrator(sys.stdout)
    for stage in ("verify", "write"):
        teller.show(StageEvent(stage))
        for _ in range(9):
            teller.show(ProgressEvent(5, 5, "MB", t=1.0))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["▸ verify", "5 of 5 MB", "▸ write", "5 of 5 MB"]


def test_time_left_follows_the_recent_pace() -> None:
    pace = Pace()
    assert pace.time_left(10) == ""
    pace.report(0.0, 0)
    pace.report(10.0, 5)
    assert pace.time_left(10) == "0:10 left"
    assert duration(11_100) == "3:05:00"


def test_init_makes_a_workspace_once_and_its_settings_hold(tmp_path: Path) -> None:
    made = t2v("init", "toy", "--shapes", cwd=tmp_path)
    assert made.returncode == 0
    assert made.stdout == f"{tmp_path / 'toy'}\n"
    assert "t2v data shapes" in made.stderr
    (tmp_path / "toy/t2v.toml").write_text(SHAPES + "\n# mine\n")
    assert t2v("init", "toy", cwd=tmp_path).returncode == 0
    assert (tmp_path / "toy/t2v.toml").read_text().endswith("# mine\n")
    spec = spec_of(prepare("preprocess", Workspace(tmp_path / "toy"), {}).directory)
    assert (spec["data"], spec["vae"], spec["size"]) == ("data/shapes", "embedded", 64)


@pytest.mark.parametrize("text", [REAL, SHAPES])
def test_every_line_of_a_new_t2v_toml_is_a_setting_that_exists(text: str, tmp_path: Path) -> None:
    uncommented = "\n".join(
        line.removeprefix("# ") if line.startswith("# ") and " = " in line else line for line in text.splitlines()
    )
    (tmp_path / "t2v.toml").write_text(uncommented)
    for verb in ("preprocess", "train"):
        prepare(verb, Workspace(tmp_path), {})


def spec_of(directory: Path) -> dict[str, object]:
    spec = json.loads((directory / "spec.json").read_text())
    assert isinstance(spec, dict)
    return spec


def test_only_what_was_given_is_passed_and_paths_hold_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = as_meant_here("generate", {"prompt": "a/b", "output": "../o.mp4", "checkpoint": "embedded", "seed": None})
    assert given == {"prompt": "a/b", "output": str(tmp_path.parent / "o.mp4"), "checkpoint": "embedded"}
    encoders = {"vae": "stabilityai/sd-vae-ft-mse", "text_encoder": "./clip"}
    assert as_meant_here("preprocess", encoders) == encoders | {"text_encoder": str(tmp_path / "clip")}


def test_the_workspace_is_the_named_one_or_the_one_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "data" / "deep"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert find_workspace(None, {}).root == inner
    (tmp_path / "t2v.toml").touch()
    assert find_workspace(None, {}).root == tmp_path
    assert find_workspace(None, {"T2V_WORKSPACE": "."}).root == inner
    assert find_workspace(tmp_path, {"T2V_WORKSPACE": "."}).root == tmp_path
    with pytest.raises(InvalidRequest, match="T2V_WORKSPACE: there is no folder"):
        find_workspace(None, {"T2V_WORKSPACE": "nowhere"})


def test_the_result_is_what_was_asked_for_as_seen_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = DoneEvent(1.0, extra={"video": "outputs/a.mp4", "settings": "outputs/a.json"})
    assert result_paths(result, Workspace(tmp_path)) == [Path("outputs/a.mp4")]
    assert result_paths(result, Workspace(Path("/else"))) == [Path("/else/outputs/a.mp4")]
    assert result_paths(DoneEvent(extra={"paths": ["a", "b/c"]}), Workspace(tmp_path)) == [Path("a"), Path("b/c")]


def test_going_on_is_the_same_command_and_for_training_with_resume() -> None:
    assert command_to_go_on("generate", ["generate", "a b"], []) == "t2v generate 'a b'"
    resumed = command_to_go_on("train", ["train", "--resume", "--seed", "1"], ["checkpoints/checkpoint_epoch_3"])
    assert resumed == "t2v train --seed 1 --resume"
    assert command_to_go_on("train", ["train"], []) == "t2v train"


def test_the_parser_s_english_becomes_ours() -> None:
    assert parser_sentence("Missing argument 'PROMPT'.") == "PROMPT is missing"
    assert parser_sentence("No such option: --x") == "there is no option --x"


def test_a_curve_falls_from_the_top_left_to_the_bottom_right() -> None:
    lines = curve([(float(step), 1.0 - step / 100) for step in range(101)], columns=20, rows=4)
    assert lines[0].startswith("   0.995 ┤⠉")
    assert lines[3].startswith("   0.005 ┤")
    assert len(lines) == 6
    assert lines[-1].split() == ["0", "100"]
    assert curve([(1.0, 1.0)]) == []


def test_every_step_of_the_demo_is_a_valid_request() -> None:
    assert [step.verb for step in STEPS][:3] == ["shapes", "preprocess", "train"]
    assert {step.verb for step in STEPS} <= set(SPECS)
    for step in STEPS:
        make_spec(step.verb, dict(step.values))


def test_a_demo_step_counts_as_done_only_with_its_result(tmp_path: Path) -> None:
    step, workspace = STEPS[3], Workspace(tmp_path)
    assert step.finished_in(workspace) is None
    job = prepare(step.verb, workspace, step.values)
    job.events.write_bytes(DoneEvent(2.0, t=1.0, extra={"video": "outputs/demo-fresh.mp4"}).to_line())
    assert step.finished_in(workspace) is None
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs/demo-fresh.mp4").touch()
    assert step.finished_in(workspace) == job
    assert STEPS[4].finished_in(workspace) is None
