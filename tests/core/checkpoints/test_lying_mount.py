"""Checkpoints on a mount that shows files late, out of order, by halves, or in their full size before their bytes."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import torch
from support.engine.engine import job_here

from t2v_core.checkpoints.checkpoints import save_checkpoint
from t2v_core.errors import InvalidRequest
from t2v_core.training.resume import latest_undamaged

INTERVAL, COUNT, STATES = 5, 4, 20


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the machine that was killed had written."""
    folder = tmp_path_factory.mktemp("written")
    for number in range(1, COUNT + 1):
        tensors = {"w": torch.full((64, 64), float(number))}
        files = {f"{name}.safetensors": tensors for name in ("model", "ema", "optimizer")}
        save_checkpoint(folder / f"checkpoint_step_{number * INTERVAL}", files, {"step": number * INTERVAL})
    return folder


def show(source: Path, there: Path, rng: random.Random) -> None:
    """One file of a checkpoint that is on its way: not there yet, a part of it, zeros in its size, or whole."""
    there.parent.mkdir(parents=True, exist_ok=True)
    data, lie = source.read_bytes(), rng.choice(["absent", "half", "zeros", "torn", "whole"])
    if lie == "half":
        there.write_bytes(data[: rng.randrange(len(data))])
    elif lie == "zeros":
        there.write_bytes(bytes(len(data)))
    elif lie == "torn":  # its end has come, its beginning has not
        cut = rng.randrange(1, len(data))
        there.write_bytes(bytes(cut) + data[cut:])
    elif lie == "whole":
        there.write_bytes(data)


@pytest.mark.parametrize("state", range(STATES))
def test_a_run_goes_on_from_a_whole_one_and_loses_one_interval_at_most(
    written: Path, tmp_path: Path, state: int
) -> None:
    rng, mount = random.Random(state), tmp_path / "checkpoints"
    newest = rng.randrange(2, COUNT + 1)  # the machine was killed while this one was on its way to the bucket
    for number in range(1, newest):
        name = f"checkpoint_step_{number * INTERVAL}"
        shutil.copytree(written / name, mount / name)
    coming = written / f"checkpoint_step_{newest * INTERVAL}"
    files = sorted(coming.iterdir())
    rng.shuffle(files)
    for file in files:
        show(file, mount / coming.name / file.name, rng)
    found = latest_undamaged(mount, job_here(tmp_path))
    assert found.step >= (newest - 1) * INTERVAL
    for file in (written / found.path.name).iterdir():
        assert (found.path / file.name).read_bytes() == file.read_bytes()


def test_without_a_whole_one_it_says_so(written: Path, tmp_path: Path) -> None:
    mount = tmp_path / "checkpoints"
    shutil.copytree(written / "checkpoint_step_5", mount / "checkpoint_step_5")
    file = mount / "checkpoint_step_5/ema.safetensors"
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(InvalidRequest, match="no undamaged checkpoint in checkpoints; checkpoint_step_5 is damaged"):
        latest_undamaged(mount, job_here(tmp_path))
