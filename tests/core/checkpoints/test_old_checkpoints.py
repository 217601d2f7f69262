"""A `.pt` of the previous system is used as it lies, computes what it did, and trains on as it would have."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.engine.tiny_models import save_clip
from support.engine.training_set import contents
from support.hosts.door import EndedHere, through_the_door
from support.previous.old_system import (
    OldVideoTransformer,
    old_adamw,
    old_model,
    old_output,
    save_old_checkpoint,
)
from support.previous.old_workspace import (
    SMALL,
    half_copied,
    imported,
    loaded,
    old_made,
    old_workspace,
    opened,
)

from t2v_core import VideoGenerator, find_latest_checkpoint
from t2v_core.assemble import build_denoiser, load_pipeline
from t2v_core.checkpoints.old_checkpoints import OldCheckpoint
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.diffusion.guidance import Guidance
from t2v_core.errors import InvalidRequest
from t2v_core.models.denoisers.unet3d_film import UNet3DCond

made, workspace = old_made, old_workspace
FULL_PARAMETERS = 172_133_380


# What it computes


@pytest.mark.parametrize("name", ["checkpoint_epoch_3.pt", "final_model.pt"])
def test_the_model_answers_what_the_old_one_answered(made: Path, name: str) -> None:
    checkpoint = opened(made / "pts" / name)
    assert_the_same_answers(checkpoint, loaded(checkpoint.path), frames=3)


@pytest.mark.slow
def test_the_full_model_answers_the_same_with_all_its_parameters(tmp_path: Path) -> None:
    model = old_model()
    path = save_old_checkpoint(tmp_path / "final_model.pt", model, None, 100)
    checkpoint = opened(path)
    assert sum(value.numel() for value in checkpoint.stored.values()) == FULL_PARAMETERS
    assert {name: value.shape for name, value in checkpoint.stored.items()} == {
        name: value.shape for name, value in model.named_parameters()
    }
    assert_the_same_answers(checkpoint, model, frames=1)


def assert_the_same_answers(checkpoint: OldCheckpoint, old: OldVideoTransformer, frames: int) -> None:
    ours = build_denoiser(checkpoint.info["model"], checkpoint.weights("ema"), str(checkpoint.path)).eval()
    used = dict(ours.named_parameters())
    assert sum(p.numel() for p in used.values()) == sum(p.numel() for p in old.parameters())
    generator = torch.Generator().manual_seed(7)
    latents = torch.randn((2, frames, 4, 32, 32), generator=generator)
    text = torch.randn((2, 77, 512), generator=generator)
    timesteps = torch.tensor([17, 903])
    with torch.no_grad():
        expected = old_output(old, latents, timesteps, text)
        answer = ours(latents, timesteps, text, None, None)
    assert expected.abs().mean() > 0.05
    assert (answer - expected).abs().max() <= 1e-5


def test_prompts_reach_it_padded_and_unmasked_as_it_was_trained(made: Path) -> None:
    path = made / "pts/checkpoint_epoch_3.pt"
    encoders = (str(made / "vae"), str(made / "clip"))
    pipeline = load_pipeline(opened(path), device="cpu", precision="fp32", encoders=encoders)
    ids = pipeline.tokenizer("a dog", padding="max_length", max_length=77, return_tensors="pt")["input_ids"]
    latents = torch.randn((1, 2, 4, 32, 32), generator=torch.Generator().manual_seed(3))
    timestep, guidance = torch.tensor(500), Guidance(1.0, 0.0)
    with torch.no_grad():
        text = pipeline.text_encoder(input_ids=ids).last_hidden_state
        expected = old_output(loaded(path), latents, torch.tensor([500]), text)
        conditioning = pipeline._conditioning(["a dog"], guidance)
        answer = pipeline._predict(latents, timestep, conditioning, guidance)
    assert conditioning.mask.all()
    assert (answer - expected).abs().max() <= 1e-5


# Choosing one


def test_choosing_one_leaves_its_tensors_in_the_file(tmp_path: Path) -> None:
    size = {"dim": 512, "heads": 8, "pairs": 6}
    model = old_model(**size)
    optimizer = old_adamw(model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    path = save_old_checkpoint(tmp_path / "checkpoint_epoch_5.pt", model, optimizer, 5)
    program = (
        "import sys, pathlib\n"
        "from t2v_core.checkpoints.old_checkpoints import open_old_checkpoint\n"
        "def peak():\n"
        "    lines = pathlib.Path('/proc/self/status').read_text().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM:')) * 1024\n"
        "before = peak()\n"
        "open_old_checkpoint(pathlib.Path(sys.argv[1]))\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert path.stat().st_size > 400e6
    assert int(done.stdout) < 100e6


def generated(root: Path, **values: Any) -> EndedHere:
    asked = {"prompt": "a dog", "steps": 2, "frames": 2, "vae": "vae", "text_encoder": "clip", "device": "cpu"}
    return through_the_door(root, "generate", **(asked | {"output": "out.mp4"} | values))


def test_generate_takes_a_named_file_without_guidance(workspace: Path) -> None:
    ended = generated(workspace, checkpoint="pts/final_model.pt")
    assert ended.code == 0, ended.log
    assert (workspace / "out.mp4").stat().st_size > 0
    assert any("guidance 1" in stage["detail"] for stage in ended.of("stage"))
    assert not ended.warnings


@pytest.mark.parametrize(
    ("clip", "sentence"),
    [
        ({"width": 512, "max_length": 40}, "reads 40 tokens, and this model takes prompts of 77"),
        ({"width": 16, "max_length": 77}, "gives 16 values per token, and this model takes 512"),
    ],
)
def test_a_text_encoder_that_does_not_fit_is_one_sentence(workspace: Path, clip: dict[str, int], sentence: str) -> None:
    save_clip(workspace / "other", **clip)
    ended = generated(workspace, checkpoint="pts/final_model.pt", text_encoder="other")
    assert f"the text encoder other {sentence}" in ended.sentence


def test_the_shipped_text_encoder_does_not_fit_a_model_of_its_width(workspace: Path) -> None:
    """It reads 32 tokens, and the previous system padded to 77."""
    save_old_checkpoint(workspace / "narrow.pt", old_model(**SMALL, text_dim=96), None, 1)
    ended = generated(workspace, checkpoint="narrow.pt", text_encoder="embedded")
    assert "the text encoder embedded reads 32 tokens, and this model takes prompts of 77" in ended.sentence


def test_a_vae_that_normalises_otherwise_is_one_sentence(workspace: Path) -> None:
    ended = generated(workspace, checkpoint="pts/final_model.pt", vae="embedded")
    assert "the VAE embedded cannot have made the latents that this checkpoint was trained on" in ended.sentence


def test_a_pooled_text_of_another_width_is_one_sentence(workspace: Path) -> None:
    state = {name: value for name, value in UNet3DCond().state_dict().items() if not name.startswith("null_")}
    torch.save(state, workspace / "unet.pt")
    ended = generated(workspace, checkpoint="unet.pt")
    assert "the text encoder clip gives 8 values per prompt, and this model takes 512" in ended.sentence


def test_guidance_that_was_asked_for_is_given_and_warned_of(workspace: Path) -> None:
    ended = generated(workspace, checkpoint="pts/final_model.pt", guidance_scale=4.0)
    assert ended.code == 0, ended.log
    assert "never trained without captions" in ended.warnings


def cut_off_all(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:5000])


def remove_all(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def test_without_a_choice_the_newest_whole_one_is_used_and_said(workspace: Path) -> None:
    (workspace / "pts").rename(workspace / "checkpoints")
    newest = workspace / "checkpoints/checkpoint_epoch_4.pt"
    newest.write_bytes((workspace / "checkpoints/checkpoint_epoch_3.pt").read_bytes()[:5000])
    ended = generated(workspace)
    assert ended.code == 0, ended.log
    assert "checkpoint_epoch_4.pt cannot be used" in ended.warnings
    assert "checkpoint_epoch_3.pt is used, the newest of the previous system" in ended.warnings
    # And from Python the same.
    with contextlib.chdir(workspace), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = find_latest_checkpoint()
        encoders = {"vae": str(workspace / "vae"), "text_encoder": str(workspace / "clip")}
        assert VideoGenerator(device="cpu", **encoders).checkpoint.path == found
    assert found == workspace / "checkpoints/checkpoint_epoch_3.pt"
    said = "\n".join(str(one.message) for one in warned)
    assert "checkpoint_epoch_4.pt cannot be used" in said
    assert "checkpoint_epoch_3.pt is used, the newest of the previous system" in said


@pytest.mark.parametrize("spoil", [cut_off_all, remove_all], ids=lambda spoil: spoil.__name__)
def test_where_none_can_be_used_the_command_and_python_both_say_that_there_is_none(workspace: Path, spoil: Any) -> None:
    (workspace / "pts").rename(workspace / "checkpoints")
    spoil(workspace / "checkpoints")
    assert f"there is no complete checkpoint in {workspace}/checkpoints" in generated(workspace).error["message"]
    with contextlib.chdir(workspace), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert find_latest_checkpoint() is None
        with pytest.raises(InvalidRequest, match="there is no complete checkpoint"):
            VideoGenerator(device="cpu")


def test_a_checkpoint_of_ours_goes_before_theirs(workspace: Path) -> None:
    (workspace / "pts").rename(workspace / "checkpoints")
    assert imported(workspace, old="checkpoints/checkpoint_epoch_1.pt").code == 0
    ended = generated(workspace)
    assert ended.code == 0, ended.log
    assert not ended.warnings
    assert any("checkpoints/checkpoint_epoch_1, epoch 1" in stage["detail"] for stage in ended.of("stage"))


# What cannot be used


def foreign(path: Path) -> None:
    torch.save({"weight": torch.zeros(3), "bias": torch.zeros(3)}, path)


def no_model(path: Path) -> None:
    torch.save({"epoch": 3, "args": "x"}, path)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def wrong_shape(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    content["model_state_dict"]["output_proj.weight"] = torch.zeros(4, 63)
    torch.save(content, path)


def not_a_number(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    content["model_state_dict"]["blocks.0.ff.0.weight"][3, 3] = float("nan")
    torch.save(content, path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def some_text(path: Path) -> None:
    path.write_text("this is a note")


def a_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"epoch": 3}))


def wants_more(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    content["loss"] = np.float64(0.3)
    torch.save(content, path)


def runs_something(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    content["loss"] = _Runs(path.with_name("ran"))
    torch.save(content, path)


class _Runs:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (foreign, "is of neither of the previous system's models: it begins with weight"),
        (no_model, "holds no model: it has epoch, args"),
        (cut_off, "cannot be used: it is cut off or damaged"),
        (half_copied, "does not match its checksum"),
        (wrong_shape, "output_proj.weight is 4×63, the model's is 4×64"),
        (not_a_number, "holds values that are not finite, in blocks.0.ff.0.weight"),
        (empty, "it has no bytes"),
        (some_text, "it is not a file that torch.save wrote"),
        (a_pickle, "it is not a file that torch.save wrote"),
        (wants_more, "beside tensors it wants numpy"),
        (runs_something, "beside tensors it wants posix.mkdir"),
    ],
)
@pytest.mark.parametrize("verb", ["generate", "import-checkpoint"])
def test_a_file_that_cannot_be_used_gets_one_sentence(workspace: Path, verb: str, spoil: Any, sentence: str) -> None:
    path = workspace / "pts/checkpoint_epoch_3.pt"
    spoil(path)
    before = contents(workspace / "pts")
    ended = generated(workspace, checkpoint=str(path)) if verb == "generate" else imported(workspace, old=str(path))
    assert sentence in ended.sentence
    assert str(path) in ended.sentence
    assert contents(workspace / "pts") == before
    assert not (workspace / "checkpoints").exists() or not list((workspace / "checkpoints").iterdir())


def test_a_name_without_its_suffix_is_told_of_the_file(workspace: Path) -> None:
    ended = generated(workspace, checkpoint="pts/checkpoint_epoch_3")
    assert "there is no checkpoint at" in ended.sentence
    assert "checkpoint_epoch_3.pt, of the previous system" in ended.error["hint"]


# The U-Net


def test_a_film_unet_with_the_names_we_know_is_used(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = UNet3DCond()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("null_")}
    torch.save({"epoch": 7, "model_state_dict": state, "loss": 0.5}, tmp_path / "checkpoint_epoch_7.pt")
    checkpoint = opened(tmp_path / "checkpoint_epoch_7.pt")
    assert checkpoint.info["spec"]["preset"] == "unet3d"
    ours = build_denoiser(checkpoint.info["model"], checkpoint.weights("ema"), "it").eval()
    inputs = (torch.randn(1, 5, 4, 32, 32), torch.tensor([400]), torch.zeros(1, 2, 512), None, torch.randn(1, 512))
    with torch.no_grad():
        assert torch.equal(ours(*inputs), model.eval()(*inputs))


def test_a_film_unet_with_other_names_is_refused_by_the_first(tmp_path: Path) -> None:
    torch.save({"down1.film1.to_gamma.weight": torch.zeros(64, 256)}, tmp_path / "final_model.pt")
    with pytest.raises(Exception, match=r"down_blocks\.0\.conv1\.weight is missing"):
        open_checkpoint(tmp_path / "final_model.pt")
