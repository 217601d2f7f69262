"""A denoiser of another class goes through the same commands: training, resuming, sampling, refining, scoring."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.engine.engine import job_here
from support.engine.small_checkpoint import small_denoiser, trainer_info
from support.engine.training_set import STEPS_AN_EPOCH, asked, differing
from support.engine.warm_engine import begin, run_warm
from support.hosts.door import through_the_door

from t2v_core.checkpoints.checkpoints import save_checkpoint
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.data.video.decode import read_all_frames
from t2v_core.data.video.frames import write_video
from t2v_core.models.denoisers.by_name import denoiser_config, make_denoiser
from t2v_core.models.denoisers.unet3d_film import UNet3DCond
from t2v_core.specs import ShapesSpec


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run of two epochs, never interrupted."""
    root = tmp_path_factory.mktemp("unet")
    ended = run_warm(root, "train", **asked(preset="unet3d-tiny", epochs=2))
    assert ended.code == 0, ended.events
    assert "convolutions over time" in ended.of("stage")[-1]["detail"]
    return root


def test_a_killed_run_resumes_bit_for_bit(trained: Path, tmp_path: Path) -> None:
    child = begin(tmp_path, "train", **asked(preset="unet3d-tiny", epochs=2))
    child.wait_for(lambda event: event["kind"] == "checkpoint")
    child.signal(signal.SIGKILL)
    assert child.end().code == -signal.SIGKILL
    shutil.rmtree(tmp_path / "checkpoints/checkpoint_epoch_2", ignore_errors=True)  # should it have been that quick
    resumed = run_warm(tmp_path, "train", resume=True)
    assert resumed.code == 0
    assert resumed.of("step")[0]["step"] == STEPS_AN_EPOCH + 1
    last = "checkpoints/checkpoint_epoch_2"
    assert differing(trained / last, tmp_path / last) == []


def test_its_checkpoint_generates_and_refines(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "checkpoints", tmp_path / "checkpoints")
    write_video(tmp_path / "in.mp4", np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), np.uint8), fps=8)
    common = {"prompt": "a red circle moving left", "steps": 4, "device": "cpu"}
    made = through_the_door(tmp_path, "generate", **common)
    refined = through_the_door(tmp_path, "refine", **common, input="in.mp4", output="out.mp4", strength=0.5)
    assert (made.code, refined.code) == (0, 0), (made.log, refined.log)
    assert read_all_frames(Path(made.done["video"])).frames.shape == (4, 32, 32, 3)
    assert read_all_frames(tmp_path / "out.mp4").frames.shape == (7, 32, 32, 3)  # in windows of 4 frames


def small_unet() -> UNet3DCond:
    torch.manual_seed(0)
    return UNet3DCond(sample_size=8, num_frames=8, block_out_channels=(8, 16), text_dim=96, pooled_dim=64)


def untrained_checkpoint(workspace: Path, **info: Any) -> Path:
    """One around the shipped encoders, as training writes it, but for `info`."""
    model = small_unet()
    written = trainer_info(small_denoiser(), 12, "flow") | {"model": denoiser_config(model)} | info
    path = workspace / "checkpoints/checkpoint_step_12"
    return save_checkpoint(path, {"ema.safetensors": model.state_dict()}, written).path


def test_its_checkpoint_is_scored(tmp_path: Path) -> None:
    make_set(ShapesSpec(clips=2, test_clips=4), job_here(tmp_path))
    untrained_checkpoint(tmp_path)
    ended = through_the_door(tmp_path, "evaluate", data="data/shapes", prompts=4, seeds=1, steps=1, device="cpu")
    assert (ended.code, ended.done["videos"]) == (0, 4)
    assert {"clip_generated", "colour_obeyed_seen"} <= {event["name"] for event in ended.of("score")}


def test_a_checkpoint_says_which_class_it_holds(trained: Path) -> None:
    model = open_checkpoint(trained / "checkpoints/checkpoint_epoch_2").info["model"]
    assert (model["class"], model["block_out_channels"], model["num_frames"]) == ("UNet3DCond", [24, 48, 96], 4)


def test_a_checkpoint_without_that_word_is_a_transformer() -> None:
    config = denoiser_config(small_denoiser())
    assert config.pop("class") == "VideoTransformer"
    assert denoiser_config(make_denoiser(config)) == {"class": "VideoTransformer"} | config


@pytest.mark.parametrize(
    ("model", "difference"),
    [
        (denoiser_config(small_denoiser()), "blocks.0.attn.in_proj_bias is absent, the model's is 96; "),
        ({"class": "UNet4D"}, "this t2v has no UNet4D"),
        ({"class": "UNet3DCond", "hidden_size": 8}, "this t2v's UNet3DCond has no hidden_size"),
    ],
    ids=["transformer", "unknown", "other settings"],
)
def test_a_checkpoint_of_another_architecture_is_refused_in_one_sentence(
    model: dict[str, Any], difference: str, tmp_path: Path
) -> None:
    path = untrained_checkpoint(tmp_path, model=model)
    ended = through_the_door(tmp_path, "generate", prompt="a red circle", steps=1, device="cpu")
    assert f"{path} has another architecture: {difference}" in ended.sentence


def test_attention_is_not_asked_of_it(tmp_path: Path) -> None:
    ended = through_the_door(tmp_path, "train", **asked(preset="unet3d-tiny", attention="temporal"))
    assert ended.sentence == "the unet3d-tiny preset has no attention: its convolutions go over time"
    assert "--attention" in ended.error["hint"]
