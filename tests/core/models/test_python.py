"""From Python: a loaded checkpoint makes the same videos as the command, and is as quick to import as nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from support.engine.small_checkpoint import save_small_checkpoint
from support.hosts.door import through_the_door
from support.previous.old_system import old_adamw, old_model, save_old_checkpoint

from t2v_core import Video, VideoGenerator, find_latest_checkpoint
from t2v_core.data.video.decode import read_all_frames
from t2v_core.errors import InvalidRequest

DOCS = Path(__file__).parents[3] / "docs/python.md"
PROMPT = "a red circle moving left"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save_small_checkpoint(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def generator(workspace: Path) -> VideoGenerator:
    return VideoGenerator(checkpoint_path=find_latest_checkpoint(workspace / "checkpoints"), device="cpu")


def test_a_saved_video_is_byte_for_byte_what_the_command_makes(generator: VideoGenerator, workspace: Path) -> None:
    video = generator.generate(prompt=PROMPT, steps=4, guidance=3, seed=7)
    assert video.save("ours.mp4") == workspace / "ours.mp4"
    asked = {"steps": 4, "guidance_scale": 3.0, "seed": 7, "device": "cpu"}
    assert through_the_door(workspace, "generate", prompt=PROMPT, output="theirs.mp4", **asked).code == 0
    assert (workspace / "ours.mp4").read_bytes() == (workspace / "theirs.mp4").read_bytes()
    ours, theirs = (json.loads((workspace / f"{name}.json").read_text()) for name in ("ours", "theirs"))
    assert ours["spec"] | {"output": None} == theirs["spec"] | {"output": None}


def test_a_video_is_a_sequence_of_frames(generator: VideoGenerator) -> None:
    video = generator.generate(PROMPT, frames=3, steps=1)
    assert isinstance(video, Video)
    assert (video.frames.shape, video.frames.dtype, len(video), video.fps) == ((3, 64, 64, 3), np.uint8, 3, 8.0)
    assert all(np.array_equal(one, other) for one, other in zip(video, video.frames, strict=True))
    assert np.array_equal(video[1], video.frames[1])
    assert np.array_equal(np.asarray(video), video.frames)
    assert video[1:].shape == (2, 64, 64, 3)


def test_size_scales_what_is_finished_and_a_frame_is_a_picture(generator: VideoGenerator, workspace: Path) -> None:
    generator.generate(PROMPT, steps=1, size=96).save(workspace / "large.gif")
    assert read_all_frames(workspace / "large.gif").frames.shape == (8, 96, 96, 3)
    assert generator.generate_frame(PROMPT, steps=1, size=32).shape == (32, 32, 3)
    assert generator.generate_frame(PROMPT, steps=1).shape == (64, 64, 3)


def test_progress_is_told_and_what_it_raises_ends_the_run(generator: VideoGenerator) -> None:
    told: list[tuple[int, int]] = []
    generator.generate(PROMPT, steps=3, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]

    def leave(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generator.generate(PROMPT, steps=3, progress=leave)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"steps": 0}, "steps = 0: input should be greater than or equal to 1"),
        ({"guidance": 99}, "guidance_scale = 99: input should be less than or equal to 30"),
        ({"frames": 99}, "99 frames were asked for, and this model was trained on 8"),
        ({"size": 0}, "size = 0: a side is 1 … 4096 pixels"),
        ({"fps": 0}, "fps = 0: input should be greater than or equal to 0.1"),
    ],
)
def test_a_wrong_value_is_one_sentence(generator: VideoGenerator, wrong: dict[str, int], sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        generator.generate(PROMPT, **wrong)  # type: ignore[arg-type]
    assert caught.value.message == sentence


def test_what_is_not_there_is_said_before_anything_is_loaded(workspace: Path) -> None:
    with pytest.raises(InvalidRequest, match="there is no checkpoint at"):
        VideoGenerator("nowhere")
    with pytest.raises(InvalidRequest, match="sampler = 'fast'"):
        VideoGenerator(sampler="fast")
    with pytest.raises(InvalidRequest, match="cannot tell what kind of video"):
        VideoGenerator(device="cpu").generate(PROMPT, steps=1).save(workspace / "video.txt")


def test_the_latest_checkpoint_is_the_newest_complete_one_else_the_newest_old_one(tmp_path: Path) -> None:
    assert find_latest_checkpoint(tmp_path / "checkpoints") is None
    model = old_model(dim=64, heads=1, pairs=1, side=8, text_dim=16)
    for epoch in (95, 100):
        save_old_checkpoint(tmp_path / f"checkpoints/checkpoint_epoch_{epoch}.pt", model, old_adamw(model), epoch)
    found = find_latest_checkpoint(tmp_path / "checkpoints")
    assert found is not None
    assert found.name == "checkpoint_epoch_100.pt"
    ours = save_small_checkpoint(tmp_path)
    assert find_latest_checkpoint(str(tmp_path / "checkpoints")) == ours.path


def test_importing_t2v_core_loads_no_tensors_until_a_name_is_asked_for() -> None:
    program = """
        import sys, t2v_core
        heavy = {"torch", "numpy", "diffusers", "transformers", "pydantic"}
        assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
        assert {"VideoGenerator", "find_latest_checkpoint"} <= set(dir(t2v_core))
        assert not heavy & sys.modules.keys()
        try:
            t2v_core.VideoGenerater
        except AttributeError as error:
            print(error)
        sys.modules["torch"] = None
        try:
            from t2v_core import VideoGenerator
        except ImportError as error:
            print(error)
    """
    shown = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=240, check=True
    )
    assert shown.stdout.splitlines() == [
        "module 't2v_core' has no attribute 'VideoGenerater'",
        "t2v_core.VideoGenerator needs the engine: pip install 't2v[engine]' (no torch)",
    ]


@pytest.mark.slow
def test_every_program_of_the_page_runs(workspace: Path) -> None:
    programs = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=workspace, capture_output=True, text=True, timeout=240, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert {"dog.mp4", "dog.json", "red.gif", "red.json"} <= {path.name for path in workspace.iterdir()}
