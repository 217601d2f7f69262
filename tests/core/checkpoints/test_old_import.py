"""Checkpoints of the previous system become ours, and training goes on from them as the old loop would have."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.engine.training_set import contents
from support.hosts.door import through_the_door
from support.previous.old_loop import begin_texts_as_clip, micro_batches
from support.previous.old_system import (
    old_adamw,
    old_step,
)
from support.previous.old_workspace import (
    SMALL,
    STEPS,
    half_copied,
    imported,
    loaded,
    old_made,
    old_workspace,
    opened,
)

from t2v_core.checkpoints.checkpoints import MODEL, OPTIMIZER
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.presets import PRESET_MODELS

made, workspace = old_made, old_workspace


# Importing


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
    assert "already exists, and is not from" in imported(workspace, old="pts/checkpoint_epoch_1.pt").sentence
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
    begin_texts_as_clip(root / "old", root / "clip")
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

    path = workspace / "pts/checkpoint_epoch_3.pt"
    model = loaded(path)
    optimizer = old_adamw(model)
    optimizer.load_state_dict(torch.load(path, weights_only=True)["optimizer_state_dict"])
    loss = old_step(model, optimizer, micro_batches(workspace / "data", step=STEPS, batch_size=2))

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
