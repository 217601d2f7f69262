"""A workspace with small encoders, and the old system's folders and checkpoints beside them."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from support.engine.tiny_models import save_clip, save_vae
from support.hosts.door import EndedHere, through_the_door
from support.previous.old_loop import save_old_data
from support.previous.old_system import (
    OldVideoTransformer,
    old_adamw,
    old_model,
    save_old_checkpoint,
    train_a_little,
)
from t2v_core.checkpoints.old_checkpoints import OldCheckpoint
from t2v_core.checkpoints.open import open_checkpoint

SMALL: dict[str, int] = {"dim": 64, "heads": 1, "pairs": 1}
STEPS, CLIPS = 3, 10


@pytest.fixture(scope="module")
def old_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with encoders and the old folders, imported; and the old system's checkpoints, small."""
    root = tmp_path_factory.mktemp("old")
    save_vae(root / "vae")
    save_clip(root / "clip", max_length=77, width=512)
    save_old_data(root / "old", clips=CLIPS)
    model = old_model(**SMALL)
    optimizer = old_adamw(model)
    for epoch in range(1, STEPS + 1):
        train_a_little(model, optimizer, 1, seed=epoch)
        save_old_checkpoint(root / f"pts/checkpoint_epoch_{epoch}.pt", model, optimizer, epoch, loss=1 / epoch)
    save_old_checkpoint(root / "pts/final_model.pt", model, None, STEPS)
    return root


@pytest.fixture
def old_workspace(made: Path, tmp_path: Path) -> Path:
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


def half_copied(path: Path) -> None:
    """As rsync --inplace and a pre-allocating download leave it: the right size, zeros where nothing has come yet."""
    with zipfile.ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda one: one.file_size)
    with path.open("r+b") as file:
        file.seek(entry.header_offset + 2000)
        file.write(bytes(entry.file_size // 2))


def imported(root: Path, **values: Any) -> EndedHere:
    encoders = {"vae": str(root / "vae"), "text_encoder": str(root / "clip")}
    return through_the_door(root, "import-checkpoint", **(encoders | {"data": "data"} | values))
