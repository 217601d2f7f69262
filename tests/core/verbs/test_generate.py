"""A prompt becomes a video file that plays everywhere, with a .json beside it that makes it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import imageio.v3 as iio
import pytest
import torch
from safetensors.torch import save_file
from support.engine.engine import job_here, run
from support.engine.small_checkpoint import MODEL, save_small_checkpoint, small_denoiser, trainer_info
from support.hosts.door import EndedHere, through_the_door

from t2v_core.checkpoints.checkpoints import save_checkpoint
from t2v_core.data.video.decode import read_all_frames
from t2v_core.errors import Stopped
from t2v_core.specs import GenerateSpec
from t2v_core.verbs.generate import generate as generate_here

PROMPT = "a red circle moving left"
QUICK = {"prompt": PROMPT, "steps": 2, "device": "cpu", "seed": 7}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    save_small_checkpoint(tmp_path)
    return tmp_path


def generate(workspace: Path, **values: Any) -> EndedHere:
    return through_the_door(workspace, "generate", **QUICK | values)


@pytest.mark.slow
def test_through_the_real_door_a_prompt_becomes_a_video(workspace: Path) -> None:
    ended = run(workspace, "generate", **QUICK)
    video = workspace / "outputs/a-red-circle-moving-left-7.mp4"
    assert ended.code == 0
    assert (ended.done["video"], ended.done["frames"]) == (str(video), 8)
    assert [event["name"] for event in ended.of("stage")] == ["load", "sample", "write"]
    assert ended.of("progress")[-1]["done"] == 2
    assert ended.of("sample")[0]["prompt"] == PROMPT
    assert read_all_frames(video).frames.shape == (8, 64, 64, 3)
    assert next(workspace.glob("jobs/*/log")).read_text() == ""


def test_an_mp4_plays_everywhere(workspace: Path) -> None:
    video = Path(generate(workspace).done["video"])
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.frames, stream.average_rate) == (64, 64, 8, 8)
    content = video.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_the_json_beside_a_video_makes_it_again(workspace: Path) -> None:
    first = generate(workspace)
    video, settings = Path(first.done["video"]), json.loads(Path(first.done["settings"]).read_text())
    assert settings["verb"] == "generate"
    assert (settings["spec"]["prompt"], settings["spec"]["seed"], settings["checkpoint"]["step"]) == (PROMPT, 7, 12)
    assert settings["video"] == {"file": video.name, "frames": 8, "size": [64, 64], "fps": 8.0}
    assert set(settings["versions"]) == {"t2v", "torch", "diffusers"}
    save_small_checkpoint(workspace, step=20, seed=5)  # a newer one, which is not the one that made it

    again = through_the_door(workspace, "generate", **settings["spec"] | {"output": "again.mp4"})

    assert Path(again.done["video"]).read_bytes() == video.read_bytes()


def test_videos_do_not_replace_each_other(workspace: Path) -> None:
    names = [Path(generate(workspace).done["video"]).name for _ in range(2)]
    assert names == ["a-red-circle-moving-left-7.mp4", "a-red-circle-moving-left-7-2.mp4"]


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_gif_and_webp_come_by_suffix(workspace: Path, suffix: str) -> None:
    ended = generate(workspace, output=f"clips/video.{suffix}", frames=4)
    file = workspace / f"clips/video.{suffix}"
    assert ended.done["video"] == str(file)
    assert iio.imread(file, plugin="pillow", index=...).shape == (4, 64, 64, 3)
    assert file.with_suffix(".json").is_file()


def test_frames_and_rate_are_as_asked(workspace: Path) -> None:
    ended = generate(workspace, frames=5, fps=12)
    clip = read_all_frames(Path(ended.done["video"]))
    assert (len(clip.frames), clip.source_fps) == (5, 12.0)


def test_a_prompt_longer_than_the_encoder_reads_is_said(workspace: Path) -> None:
    ended = generate(workspace, prompt=" ".join(["red"] * 35))
    assert ended.code == 0
    assert "the prompt has 37 tokens and the text encoder reads 32: the last 5 were left out" in ended.warnings


def test_more_frames_than_the_model_knows_are_refused(workspace: Path) -> None:
    ended = generate(workspace, frames=9)
    assert ended.sentence == "9 frames were asked for, and this model was trained on 8"
    assert ended.error["hint"] == "use --frames 8 or fewer"


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("video.avi", "cannot tell what kind of video video.avi should be"),
        ("video", "cannot tell what kind of video video should be"),
        ("file/deeper/video.mp4", "cannot write"),
        ("file/video.mp4", "cannot write"),
        ("folder.mp4", "folder.mp4 is a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_known_before_any_work(workspace: Path, output: str, sentence: str) -> None:
    (workspace / "file").write_text("not a folder")
    (workspace / "folder.mp4").mkdir()
    ended = generate(workspace, output=output)
    assert sentence in ended.sentence
    assert ended.of("stage") == []


def test_without_a_checkpoint_it_says_how_to_get_one(tmp_path: Path) -> None:
    ended = generate(tmp_path)
    assert ended.sentence == f"there is no complete checkpoint in {tmp_path / 'checkpoints'}"
    assert "t2v train" in ended.error["hint"]
    assert "--checkpoint embedded" in ended.error["hint"]


def test_a_checkpoint_that_is_not_there_is_named(workspace: Path) -> None:
    assert "there is no checkpoint at" in generate(workspace, checkpoint="checkpoints/checkpoint_epoch_9").sentence


def test_a_checkpoint_of_another_architecture_is_refused_with_the_shapes(workspace: Path) -> None:
    model = small_denoiser()
    info = trainer_info(model, 30, "flow") | {"model": MODEL | {"hidden_size": 64}}
    save_checkpoint(workspace / "checkpoints/checkpoint_step_30", {"ema.safetensors": model.state_dict()}, info)
    sentence = generate(workspace).sentence
    assert "checkpoint_step_30 has another architecture" in sentence
    assert "blocks.0.attn.in_proj_bias is 96, the model's is 192" in sentence
    assert sentence.count(";") == 4


def test_weights_that_are_not_numbers_of_this_file_are_refused(workspace: Path) -> None:
    file = workspace / "checkpoints/checkpoint_step_12/ema.safetensors"
    file.write_bytes(b"\xff" * file.stat().st_size)
    assert "ema.safetensors is damaged" in generate(workspace).sentence


def test_a_checkpoint_made_with_other_encoders_is_refused(workspace: Path) -> None:
    model = small_denoiser()
    info = trainer_info(model, 40, "flow")
    info["text"]["encoder"]["sha256"] = "0" * 64
    save_checkpoint(workspace / "checkpoints/checkpoint_step_40", {"ema.safetensors": model.state_dict()}, info)
    assert "the text encoder embedded is not the one this checkpoint was trained with" in generate(workspace).sentence


def test_a_half_written_newest_checkpoint_is_passed_over_with_a_word(workspace: Path) -> None:
    newest = save_small_checkpoint(workspace, step=40).path
    with (newest / "ema.safetensors").open("r+b") as file:
        file.truncate(1000)
    (workspace / "checkpoints/checkpoint_step_50").mkdir()
    save_file({"x": torch.zeros(1)}, workspace / "checkpoints/checkpoint_step_50/model.safetensors")

    ended = generate(workspace)

    assert ended.code == 0
    assert "checkpoint_step_40 is not complete (ema.safetensors has 1000 bytes instead of" in ended.warnings
    assert "checkpoint_step_50 is not complete (no manifest.json) and is skipped" in ended.warnings
    assert json.loads(Path(ended.done["settings"]).read_text())["checkpoint"]["step"] == 12


def test_the_last_steps_weights_can_be_asked_for(workspace: Path) -> None:
    info = trainer_info(small_denoiser(), 60, "flow")
    files = {"model.safetensors": small_denoiser(seed=1).state_dict(), "ema.safetensors": small_denoiser().state_dict()}
    save_checkpoint(workspace / "checkpoints/checkpoint_step_60", files, info)
    ema, raw = (Path(generate(workspace, weights=which).done["video"]).read_bytes() for which in ("ema", "raw"))
    assert ema != raw


@pytest.mark.parametrize("objective", ["epsilon", "v"])
def test_a_checkpoint_is_sampled_the_way_it_was_trained(tmp_path: Path, objective: str) -> None:
    save_small_checkpoint(tmp_path, objective=objective)
    assert generate(tmp_path).code == 0


def test_a_request_to_stop_ends_it_between_two_steps(workspace: Path) -> None:
    job = job_here(workspace)
    (job.directory / "stop").touch()
    with pytest.raises(Stopped):
        generate_here(GenerateSpec.model_validate(QUICK), job)
    assert list((workspace / "outputs").glob("*.*")) == []
