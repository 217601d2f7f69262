"""Every row of the table "From the previous scripts" works on files as the old system had them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.engine.engine import events_of, job_here
from support.engine.forked_command import ForkedCommand, ran
from support.engine.tiny_models import save_clip, save_vae
from support.previous.old_system import old_adamw, old_model, save_old_checkpoint

from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.data.video.decode import read_all_frames
from t2v_core.specs import ShapesSpec

TABLE = Path(__file__).parents[2] / "TERMINAL_COMMANDS.md"
# Small encoders in place of Stable Diffusion's and CLIP's, and little work; all else is as a new t2v.toml has it.
SETTINGS = """
device = "cpu"
[preprocess]
vae = "vae"
text_encoder = "clip"
frames = 4
size = 64
[train]
batch_size = 1
gradient_accumulation = 1
[generate]
vae = "vae"
text_encoder = "clip"
steps = 2
frames = 4
[refine]
vae = "vae"
text_encoder = "clip"
steps = 10
[refine.epoch100]
checkpoint = "checkpoints/checkpoint_epoch_100.pt"
prompt = "dog running on the grass"
strength = 0.3
"""


def rows() -> list[tuple[str, str]]:
    """The old command and the new one of each row."""
    section = TABLE.read_text().split("## From the previous scripts")[1].split("\n## ")[0]
    cells = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [(old.strip(), new.strip().strip("`")) for old, new in cells]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of scripts as the old system left it: two checkpoints, clips with captions, one input video."""
    root = tmp_path_factory.mktemp("text2video")
    (root / "t2v.toml").write_text(SETTINGS)
    save_vae(root / "vae")
    save_clip(root / "clip", max_length=77)
    model = old_model(dim=64, heads=1, pairs=1, side=8, text_dim=16)
    for epoch in (95, 100):
        save_old_checkpoint(root / f"checkpoints/checkpoint_epoch_{epoch}.pt", model, old_adamw(model), epoch)
    make_set(ShapesSpec(data=Path("data/msr-vtt"), clips=12, test_clips=2, frames=4, size=64), job_here(root))
    shutil.copy(next((root / "data/msr-vtt/videos").glob("*.mp4")), root / "input_video.mp4")
    return root


def run(command: str, workspace: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(command)
    if program == "t2v":
        return ran(arguments, workspace, environment())
    argv = [sys.executable, *arguments]
    return subprocess.run(
        argv, cwd=workspace, env=environment(), capture_output=True, text=True, timeout=280, check=False
    )


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("T2V_")}
    return kept | {"OMP_NUM_THREADS": "1"}


def test_the_table_has_a_row_for_every_old_command() -> None:
    old = " ".join(before for before, _ in rows())
    scripts = ("preprocess", "train", "inference", "add_noise_to_video", "refine_video_custom", "refine_video_epoch100")
    assert [name for name in scripts if f"python {name}.py" not in old] == []
    assert "VideoGenerator(checkpoint_path=" in old
    assert len(rows()) == len({now for _, now in rows()}) == 8


@pytest.mark.slow
@pytest.mark.parametrize("command", [now for _, now in rows() if not now.startswith(("t2v train", "python"))])
def test_a_row_of_the_table_runs(command: str, workspace: Path) -> None:
    """In the order of the table: what one makes the next one reads."""
    done = run(command, workspace)
    assert done.returncode == 0, done.stderr
    verb = command.split()[1]
    if verb == "preprocess":
        assert (workspace / "data/msr-vtt/latents/train/manifest.json").is_file()
        return
    if verb == "refine":
        lines = done.stdout.splitlines()
        known = [line for line in lines if line[0].isupper()]  # --verbose has others between them
        assert (known[0], known[-1]) == ("Refining with Epoch 100 model (3 steps)…", "Output saved to output.mp4")
        assert known[1:-1] == ["Step 1/3", "Step 2/3", "Step 3/3", "Decoding 4 frames…"]
        assert any("timesteps" in line for line in lines) == ("--verbose" in command)
        video = workspace / "output.mp4"
    else:
        video = workspace / done.stdout.strip()
    assert read_all_frames(video).frames.shape == (4, 64, 64, 3)
    if verb != "add-noise":
        made = json.loads(video.with_suffix(".json").read_text())
        assert made["checkpoint"]["path"].endswith("checkpoint_epoch_100.pt")


@pytest.mark.slow
def test_the_row_in_python_runs(workspace: Path) -> None:
    """With the encoders that the others get from t2v.toml; a program says its own."""
    (command,) = [now for _, now in rows() if now.startswith("python")]
    done = run(command.replace(".pt')", ".pt', vae='vae', text_encoder='clip')"), workspace)
    assert done.returncode == 0, done.stderr
    assert read_all_frames(workspace / "dog.mp4").frames.shape[1:] == (64, 64, 3)


@pytest.mark.slow
def test_the_row_of_training_takes_its_first_step(workspace: Path) -> None:
    """With the model of full size, on what the row of preprocessing made; then it is ended."""
    (command,) = [now for _, now in rows() if now.startswith("t2v train")]
    if not (workspace / "data/msr-vtt/latents/train/manifest.json").is_file():
        assert run("t2v preprocess", workspace).returncode == 0
    command += " --checkpoints new"  # where the old ones lie, training would be asked whether to go on from them
    streams = (str(workspace / "stdout"), str(workspace / "stderr"))
    child = ForkedCommand(shlex.split(command)[1:], workspace, environment(), streams)
    deadline = time.monotonic() + 250
    while not any(event["kind"] == "step" for event in train_events(workspace)):
        assert child.poll() is None, Path(streams[1]).read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for engine in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split():
        os.kill(int(engine), signal.SIGKILL)  # a stop would keep a checkpoint of 2.7 GB
    child.wait(240)
    (stage,) = [e["detail"] for e in train_events(workspace) if e["kind"] == "stage" and e["name"] == "train"]
    assert re.match(r"seed, 17\d\.\d+ M parameters, epsilon", stage), stage


def train_events(workspace: Path) -> list[dict[str, object]]:
    found = next(workspace.glob("jobs/*-train-*/events.jsonl"), None)
    return events_of(found.parent) if found else []
