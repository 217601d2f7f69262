"""A checkpoint is whole or it is not there: torn ones are passed over, damaged ones refused, the last is never lost."""

from __future__ import annotations

import json
import math
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.engine import job_here
from support.engine.forked_command import FORKS
from support.engine.training_set import SPEC, STEPS_AN_EPOCH, asked, contents
from support.engine.warm_engine import run_warm
from support.machines.small_disk import mounted

from t2v_core.checkpoints.checkpoints import latest_checkpoint, list_checkpoints, remove_superseded, save_checkpoint
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.disk.files import incompleteness, seal, staged_directory, sweep_staging, this_machine
from t2v_core.disk.tensor_file import write_tensors
from t2v_core.errors import InvalidRequest, WorkFailed
from t2v_core.specs import TrainSpec
from t2v_core.training.resume import restore

FILES = {"model.safetensors", "ema.safetensors", "optimizer.safetensors", "trainer.json", "manifest.json"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a training of three epochs, all checkpoints kept."""
    root = tmp_path_factory.mktemp("run")
    assert run_warm(root, "train", **asked(epochs=3, keep_last=9)).code == 0
    return root


@pytest.fixture
def workspace(run: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    shutil.copytree(run / "checkpoints", tmp_path / "checkpoints")
    return tmp_path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 40 MB: one or two checkpoints of the small set's model."""
    with mounted(tmp_path / "disk", "40m") as place:
        yield place


def save(folder: Path, step: int, *, loss: float | None = None, size: int = 4) -> Path:
    tensors = {"weight": torch.full((size,), float(step))}
    info = {"step": step, "held_out_loss": loss}
    return save_checkpoint(folder / f"checkpoint_step_{step}", {"model.safetensors": tensors}, info).path


def steps_of(folder: Path) -> list[int]:
    return [checkpoint.step for checkpoint in list_checkpoints(folder)]


def test_a_checkpoint_holds_what_is_documented(run: Path) -> None:
    checkpoint = open_checkpoint(run / "checkpoints/checkpoint_epoch_3")
    info = checkpoint.info
    assert {path.name for path in checkpoint.path.iterdir()} == FILES
    assert (info["step"], info["epoch"], info["steps_per_epoch"]) == (3 * STEPS_AN_EPOCH, 3, STEPS_AN_EPOCH)
    assert info["spec"] | {"epochs": SPEC["epochs"], "keep_last": 2} == json.loads(
        TrainSpec.model_validate(asked()).model_dump_json()
    )
    assert info["model"]["num_frames"] == 4
    assert info["sampler"] == {"class": "FlowEulerSampler"}
    assert info["latents"]["encoder"]["sha256"]
    assert info["text"]["encoder"]["sha256"]
    assert {"t2v", "torch", "diffusers"} <= set(info["versions"])
    assert math.isfinite(info["held_out_loss"])
    assert incompleteness(checkpoint.path, checksums=True) is None


def test_the_names_say_epochs_and_the_newest_is_the_one_with_most_steps(run: Path) -> None:
    names = [checkpoint.path.name for checkpoint in list_checkpoints(run / "checkpoints")]
    assert names == ["checkpoint_epoch_1", "checkpoint_epoch_2", "checkpoint_epoch_3"]


def test_order_follows_steps_not_names(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        save(tmp_path, step)
    assert steps_of(tmp_path) == [9, 20, 100]


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


TORN = {
    "no manifest.json": lambda folder: (folder / "manifest.json").unlink(),
    "manifest.json cannot be read": lambda folder: cut(folder / "manifest.json"),
    "ema.safetensors is missing": lambda folder: (folder / "ema.safetensors").unlink(),
    "model.safetensors has": lambda folder: cut(folder / "model.safetensors"),
    "optimizer.safetensors has": lambda folder: (folder / "optimizer.safetensors").open("ab").write(b"x"),
    "trainer.json cannot be read": lambda folder: (folder / "trainer.json").write_bytes(
        b"\0" * (folder / "trainer.json").stat().st_size
    ),
}


@pytest.mark.parametrize("reason", TORN)
def test_a_half_written_one_is_passed_over_with_a_word_and_the_one_before_it_used(reason: str, workspace: Path) -> None:
    newest = workspace / "checkpoints/checkpoint_epoch_3"
    TORN[reason](newest)
    said: list[str] = []
    found = latest_checkpoint(workspace / "checkpoints", on_incomplete=said.append)
    assert found is not None
    assert found.path.name == "checkpoint_epoch_2"
    assert len(said) == 1
    assert said[0].startswith(f"checkpoint_epoch_3 is not complete ({reason}")
    with pytest.raises(InvalidRequest, match=r"checkpoint_epoch_3 is (not complete|damaged)"):
        open_checkpoint(newest)


def test_training_goes_on_from_the_one_before_a_torn_one_and_says_so(workspace: Path) -> None:
    cut(workspace / "checkpoints/checkpoint_epoch_3/model.safetensors")
    ended = run_warm(workspace, "train", resume=True)
    assert ended.code == 0
    assert "checkpoint_epoch_3 is not complete" in ended.warnings
    assert ended.of("step")[0]["step"] == 2 * STEPS_AN_EPOCH + 1
    assert open_checkpoint(workspace / "checkpoints/checkpoint_epoch_3").step == 3 * STEPS_AN_EPOCH


def test_when_every_checkpoint_is_damaged_resuming_is_refused_and_says_where_to_look(workspace: Path) -> None:
    for folder in (workspace / "checkpoints").iterdir():
        data = bytearray((folder / "model.safetensors").read_bytes())
        data[-7] ^= 1
        (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(
        InvalidRequest, match=r"no undamaged checkpoint in checkpoints; checkpoint_epoch_3 is damaged: m"
    ):
        restore(TrainSpec(resume=True), job_here(workspace))


@pytest.mark.parametrize(
    ("keep_last", "keep_best", "kept"),
    [
        (1, 0, [5]),
        (2, 0, [4, 5]),
        (1, 1, [2, 5]),
        (2, 2, [2, 3, 4, 5]),
        (9, 0, [1, 2, 3, 4, 5]),
        (1, 9, [1, 2, 3, 4, 5]),
    ],
)
def test_the_newest_and_the_best_are_kept(keep_last: int, keep_best: int, kept: list[int], tmp_path: Path) -> None:
    for step, loss in ((1, 0.9), (2, 0.1), (3, 0.2), (4, 0.3), (5, 0.8)):
        save(tmp_path, step, loss=loss)
    remove_superseded(tmp_path, keep_last=keep_last, keep_best=keep_best)
    assert steps_of(tmp_path) == kept
    assert len(list(tmp_path.iterdir())) == len(kept)


def test_without_a_held_out_loss_or_with_one_that_is_not_finite_none_is_best(tmp_path: Path) -> None:
    for step, loss in ((1, 0.9), (2, math.nan), (3, None), (4, 0.5), (5, -math.inf), (6, None)):
        path = save(tmp_path, step, loss=None if loss is None or not math.isfinite(loss) else loss)
        if loss is not None and not math.isfinite(loss):  # as Python's json writes it
            trainer = path / "trainer.json"
            trainer.write_text(json.dumps({"step": step, "held_out_loss": loss}))
            (path / "manifest.json").unlink()
            seal(path, {})
    remove_superseded(tmp_path, keep_last=1, keep_best=1)
    assert steps_of(tmp_path) == [4, 6]


def test_the_last_one_is_never_removed(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / "checkpoint_step_2").mkdir()  # torn
    assert remove_superseded(tmp_path, keep_last=1, keep_best=0) == []
    assert steps_of(tmp_path) == [1]


def test_training_keeps_as_many_as_asked(tmp_path: Path) -> None:
    ended = run_warm(tmp_path, "train", **asked(epochs=4, keep_last=1, keep_best=0))
    assert ended.code == 0
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["checkpoint_epoch_4"]
    assert len(ended.of("checkpoint")) == 4


def test_a_full_disk_ends_training_with_one_sentence_and_the_earlier_checkpoints(small_disk: Path, run: Path) -> None:
    size = sum(file.stat().st_size for file in (run / "checkpoints/checkpoint_epoch_1").iterdir())
    (small_disk / "someone else's").write_bytes(b"\0" * (40 * 2**20 - int(2.5 * size)))
    (small_disk.parent / "checkpoints").symlink_to(small_disk)

    ended = run_warm(small_disk.parent, "train", **asked(epochs=4, keep_last=9))

    assert ended.code == 1
    assert ended.error["message"].startswith("checkpoint checkpoint_epoch_3 needs ")
    assert "free some space" in ended.error["hint"]
    assert steps_of(small_disk) == [STEPS_AN_EPOCH, 2 * STEPS_AN_EPOCH]
    assert all(incompleteness(c.path, checksums=True) is None for c in list_checkpoints(small_disk))
    assert list(small_disk.glob(".partial-*")) == []
    (small_disk / "someone else's").unlink()
    for path in (small_disk / "checkpoint_epoch_1").iterdir():
        path.unlink()
    assert run_warm(small_disk.parent, "train", resume=True, epochs=3, keep_last=1, keep_best=0).code == 0


def test_a_disk_that_fills_up_while_saving_is_told_in_one_sentence(small_disk: Path) -> None:
    """What no look at the free space beforehand can prevent."""
    save(small_disk, 1, size=1000)
    before = contents(small_disk)
    with pytest.raises(WorkFailed, match="the disk is full") as caught, staged_directory(small_disk / "new") as partial:
        write_tensors(partial / "model.safetensors", {"weight": torch.zeros(20 * 2**20)})
    assert caught.value.exit_code == 1
    assert contents(small_disk) == before
    assert [path.name for path in small_disk.iterdir()] == ["checkpoint_step_1"]


def save_for_ever(folder: str, first: int) -> None:
    torch.set_num_threads(1)
    for step in range(first, first + 10**6):
        save(Path(folder), step, loss=1 / step, size=200_000)
        remove_superseded(Path(folder), keep_last=2, keep_best=1)


def test_killed_at_random_moments_of_saving_a_complete_one_is_always_found(tmp_path: Path) -> None:
    seed = time.time_ns() % 10**6
    print("seed", seed)
    dice = random.Random(seed)
    save(tmp_path, 1)
    for round_number in range(8):
        before = max(steps_of(tmp_path))
        process = FORKS.Process(target=save_for_ever, args=(str(tmp_path), before + 1))
        process.start()
        while max(steps_now(tmp_path), default=0) == before and process.exitcode is None:
            time.sleep(0.001)
        process.join(dice.uniform(0, 0.1))
        assert process.exitcode is None
        process.kill()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
        found = latest_checkpoint(tmp_path)
        assert found is not None, f"round {round_number}"
        assert found.step > before
        assert incompleteness(found.path, checksums=True) is None
        assert float(found.tensors("model.safetensors")["weight"][0]) == found.step
    sweep_staging(tmp_path)
    assert list(tmp_path.glob(".partial-*")) == []
    assert latest_checkpoint(tmp_path) is not None


def steps_now(folder: Path) -> list[int]:
    """By names alone: another process is at work here."""
    return [int(path.name.rsplit("_", 1)[1]) for path in folder.glob("checkpoint_*")]


def test_clearing_away_spares_the_living_and_brings_back_what_had_stepped_aside(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait(10)
    path = save(tmp_path, 7)
    path.rename(tmp_path / f".partial-{dead.pid}-old-{path.name}")
    (tmp_path / f".partial-{dead.pid}-{path.name}").mkdir()
    (tmp_path / f".partial-{dead.pid}.12-{path.name}").mkdir()
    (tmp_path / f".partial-{this_machine()}.{dead.pid}.12-{path.name}").mkdir()
    spared = [".partial-1-checkpoint_step_9"]  # process 1 is always there
    spared += [f".partial-0123abcd.{dead.pid}.1-checkpoint_step_8"]  # another machine sees this folder, and writes
    for name in spared:
        (tmp_path / name).mkdir()
    sweep_staging(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([*spared, path.name])
    assert steps_of(tmp_path) == [7]


def test_saving_under_a_name_that_is_there_replaces_it_whole(tmp_path: Path) -> None:
    save(tmp_path, 3, size=4)
    path = save(tmp_path, 3, size=9)
    assert len(open_checkpoint(path).tensors("model.safetensors")["weight"]) == 9
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_what_only_generates_cannot_be_trained_on_and_says_why(workspace: Path) -> None:
    path = workspace / "checkpoints/checkpoint_epoch_3"
    (path / "optimizer.safetensors").unlink()
    values: dict[str, Any] = json.loads((path / "manifest.json").read_text())
    del values["files"]["optimizer.safetensors"]
    (path / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(InvalidRequest, match=r"has no optimizer\.safetensors") as caught:
        restore(TrainSpec(resume=True), job_here(workspace))
    assert "generating" in caught.value.hint
