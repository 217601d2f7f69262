"""A `.pt` of the previous system is used as it lies, computes what it did, and trains on as it would have."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.engine.old_system import (
    OldVideoTransformer,
    old_adamw,
    old_model,
    old_output,
    old_step,
    save_old_checkpoint,
    train_a_little,
)
from support.engine.tiny_models import save_clip, save_vae
from support.engine.training_set import contents
from support.hosts.door import EndedHere, through_the_door

from t2v_core import VideoGenerator, find_latest_checkpoint
from t2v_core.assemble import build_denoiser, load_pipeline
from t2v_core.checkpoints.checkpoints import MODEL, OPTIMIZER
from t2v_core.checkpoints.old_checkpoints import OldCheckpoint
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.data.legacy.import_text import padded_null_prompt
from t2v_core.data.store.batches import BatchPlan, generator_for, load_batch
from t2v_core.data.store.latents import LatentStore
from t2v_core.diffusion.guidance import Guidance
from t2v_core.errors import InvalidRequest
from t2v_core.models.encoders import load_prompt_encoder
from t2v_core.models.unet3d_film import UNet3DCond
from t2v_core.presets import PRESET_MODELS
from t2v_core.workspace import Dataset

SMALL: dict[str, int] = {"dim": 64, "heads": 1, "pairs": 1}
STEPS, CLIPS = 3, 10
FULL_PARAMETERS = 172_133_380


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with encoders and the old folders, imported; and the old system's checkpoints, small."""
    root = tmp_path_factory.mktemp("old")
    save_vae(root / "vae")
    save_clip(root / "clip", max_length=77, width=512)
    for folder, shape in (("latents", (16, 4, 32, 32)), ("text_embeddings", (1, 77, 512))):
        (root / "old" / folder).mkdir(parents=True)
        for number in range(CLIPS):
            values = torch.randn(shape, generator=torch.Generator().manual_seed(number))
            torch.save(values, root / "old" / folder / f"video{number}.pt")
    model = old_model(**SMALL)
    optimizer = old_adamw(model)
    for epoch in range(1, STEPS + 1):
        train_a_little(model, optimizer, 1, seed=epoch)
        save_old_checkpoint(root / f"pts/checkpoint_epoch_{epoch}.pt", model, optimizer, epoch, loss=1 / epoch)
    save_old_checkpoint(root / "pts/final_model.pt", model, None, STEPS)
    return root


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "workspace"))


def loaded(path: Path) -> OldVideoTransformer:
    """The old model with the weights of one of its files."""
    content = torch.load(path, weights_only=True)
    model = OldVideoTransformer(**SMALL)
    model.load_state_dict(content.get("model_state_dict", content))
    return model


def opened(path: Path) -> OldCheckpoint:
    checkpoint = open_checkpoint(path)
    assert isinstance(checkpoint, OldCheckpoint)
    return checkpoint


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


def test_a_pooled_text_of_another_width_is_one_sentence(workspace: Path) -> None:
    state = {name: value for name, value in UNet3DCond().state_dict().items() if not name.startswith("null_")}
    torch.save(state, workspace / "unet.pt")
    ended = generated(workspace, checkpoint="unet.pt")
    assert "the text encoder clip gives 8 values per prompt, and this model takes 512" in ended.sentence


def test_guidance_that_was_asked_for_is_given_and_warned_of(workspace: Path) -> None:
    ended = generated(workspace, checkpoint="pts/final_model.pt", guidance_scale=4.0)
    assert ended.code == 0, ended.log
    assert "never trained without a caption" in ended.warnings


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


def half_copied(path: Path) -> None:
    """As rsync --inplace and a pre-allocating download leave it: the right size, zeros where nothing has come yet."""
    with zipfile.ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda one: one.file_size)
    with path.open("r+b") as file:
        file.seek(entry.header_offset + 2000)
        file.write(bytes(entry.file_size // 2))


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


# Importing


def imported(root: Path, **values: Any) -> EndedHere:
    encoders = {"vae": str(root / "vae"), "text_encoder": str(root / "clip")}
    return through_the_door(root, "import-checkpoint", **(encoders | {"data": "data"} | values))


def test_a_folder_becomes_checkpoints_of_ours_and_stays_as_it_is(workspace: Path) -> None:
    before = contents(workspace / "pts")
    ended = imported(workspace, old="pts")
    assert ended.code == 0, ended.log
    assert ended.done["paths"] == [f"checkpoints/checkpoint_epoch_{n}" for n in (1, 2, 3)]
    assert contents(workspace / "pts") == before
    assert "final_model.pt is left out" in ended.warnings
    progress = ended.of("progress")
    assert progress[-1]["done"] == progress[-1]["total"] > 0
    for epoch in (1, 2, 3):
        made = open_checkpoint(workspace / f"checkpoints/checkpoint_epoch_{epoch}")
        assert (made.info["epoch"], made.info["loss"], made.step) == (epoch, 1 / epoch, epoch)
        old = opened(workspace / f"pts/checkpoint_epoch_{epoch}.pt")
        for name in (MODEL, OPTIMIZER):
            theirs, ours = old.tensors(name), made.tensors(name)
            assert theirs.keys() == ours.keys()
            assert all(torch.equal(theirs[key], ours[key]) for key in theirs)


def test_an_import_that_was_stopped_goes_on_where_it_was(workspace: Path) -> None:
    assert imported(workspace, old="pts/checkpoint_epoch_1.pt").code == 0
    first = contents(workspace / "checkpoints")
    ended = imported(workspace, old="pts")
    assert (ended.code, ended.done["imported"], ended.done["skipped"]) == (0, 2, 1)
    assert first.items() <= contents(workspace / "checkpoints").items()


def test_only_the_newest_of_a_folder_can_be_asked_for(workspace: Path) -> None:
    ended = imported(workspace, old="pts", last=1)
    assert ended.done["paths"] == ["checkpoints/checkpoint_epoch_3"]


def test_another_checkpoint_in_its_place_is_left_alone(workspace: Path) -> None:
    assert imported(workspace, old="pts/checkpoint_epoch_1.pt").code == 0
    before = contents(workspace / "checkpoints")
    shutil.copyfile(workspace / "pts/checkpoint_epoch_2.pt", workspace / "pts/checkpoint_epoch_1.pt")
    assert "is there already, and is not from" in imported(workspace, old="pts/checkpoint_epoch_1.pt").sentence
    assert contents(workspace / "checkpoints") == before


def test_one_damaged_file_of_a_folder_does_not_hold_up_the_others(workspace: Path) -> None:
    half_copied(workspace / "pts/checkpoint_epoch_2.pt")
    ended = imported(workspace, old="pts")
    assert (ended.code, ended.done["imported"], ended.done["refused"]) == (0, 2, 1)
    assert "checkpoint_epoch_2.pt is damaged" in ended.warnings
    assert not (workspace / "checkpoints/checkpoint_epoch_2").exists()


def test_final_model_is_imported_when_its_epoch_is_said(workspace: Path) -> None:
    assert "does not record which epoch" in imported(workspace, old="pts/final_model.pt").sentence
    ended = imported(workspace, old="pts/final_model.pt", of_epoch=3)
    assert ended.code == 0, ended.log
    assert "comes without Adam's state" in ended.warnings
    assert not (workspace / "checkpoints/checkpoint_epoch_3/optimizer.safetensors").exists()


# Going on


def import_data(root: Path) -> None:
    start_row = padded_null_prompt(load_prompt_encoder(str(root / "clip"))).tokens[0]
    for path in (root / "old/text_embeddings").glob("*.pt"):
        old = torch.load(path, weights_only=True)
        old[0, 0] = start_row  # a causal encoder's first row is the same for every prompt
        torch.save(old, path)
    asked = {"old_dir": "old", "data": "data", "vae": str(root / "vae"), "text_encoder": str(root / "clip")}
    assert through_the_door(root, "import-latents", dtype="fp32", device="cpu", **asked).code == 0


@pytest.mark.parametrize("is_imported", [True, False])
def test_training_goes_on_as_the_old_loop_would_have(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, *, is_imported: bool
) -> None:
    small = {"hidden_size": SMALL["dim"], "num_heads": SMALL["heads"], "num_layers": SMALL["pairs"]}
    monkeypatch.setitem(PRESET_MODELS, "seed", PRESET_MODELS["seed"] | small)
    import_data(workspace)
    if is_imported:
        assert imported(workspace, old="pts/checkpoint_epoch_3.pt").code == 0
    else:
        shutil.copytree(workspace / "pts", workspace / "checkpoints")
    asked = {"resume": True, "data": "data", "max_steps": STEPS + 1, "precision": "fp32", "device": "cpu", "samples": 0}
    ended = through_the_door(workspace, "train", **asked)
    assert ended.code == 0, ended.log

    store = LatentStore.open(Dataset(workspace / "data"), "train")
    plan = BatchPlan(range(len(store)), 2, 4, 1, seed=0)
    micro_batches = []
    for micro in range(4):
        batch = load_batch(store, plan.rows(STEPS, micro, 0), 0, plan.epoch_of(STEPS))
        generator = generator_for(0, "noise", STEPS, micro, 0)
        noise = torch.randn(batch.latents.shape, generator=generator)
        timesteps = torch.randint(1000, (len(noise),), generator=generator)
        assert batch.prompts.tokens.shape[1] == 77
        micro_batches.append((batch.latents, batch.prompts.tokens, noise, timesteps))
    path = workspace / "pts/checkpoint_epoch_3.pt"
    model = loaded(path)
    optimizer = old_adamw(model)
    optimizer.load_state_dict(torch.load(path, weights_only=True)["optimizer_state_dict"])
    loss = old_step(model, optimizer, micro_batches)

    (step,) = ended.of("step")
    assert step["step"] == STEPS + 1
    assert abs(step["loss"] - loss) <= 1e-6
    ours = load_file(workspace / ended.done["checkpoint"] / "model.safetensors")
    theirs = dict(model.named_parameters())
    before = dict(loaded(path).named_parameters())
    for name, value in theirs.items():
        assert (ours[name] - value).abs().max() <= 1e-6, name
    assert max((theirs[name] - before[name]).abs().max() for name in theirs) > 1e-5  # the step did something


def test_what_was_imported_is_not_cleared_away_by_training(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"hidden_size": SMALL["dim"], "num_heads": SMALL["heads"], "num_layers": SMALL["pairs"]}
    monkeypatch.setitem(PRESET_MODELS, "seed", PRESET_MODELS["seed"] | small)
    import_data(workspace)
    assert imported(workspace, old="pts").code == 0
    asked = {"resume": True, "data": "data", "max_steps": STEPS + 2, "checkpoint_every": 1, "keep_last": 1}
    ended = through_the_door(workspace, "train", **asked, keep_best=0, precision="fp32", device="cpu", samples=0)
    assert ended.code == 0, ended.log
    kept = sorted(path.name for path in (workspace / "checkpoints").iterdir())
    assert kept == [f"checkpoint_epoch_{n}" for n in (1, 2, 3, 5)]


def test_a_model_of_another_size_than_the_preset_says_so(workspace: Path) -> None:
    import_data(workspace)
    assert imported(workspace, old="pts/checkpoint_epoch_3.pt").code == 0
    ended = through_the_door(workspace, "train", resume=True, data="data", preset="seed", device="cpu", samples=0)
    assert "checkpoint_epoch_3 differs in size from the seed preset" in ended.sentence


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
