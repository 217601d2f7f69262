"""Checkpoints are written beside training: as the state was, announced when whole, never at the cost of the last."""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.engine.training_set import STEPS_AN_EPOCH, asked, contents
from support.engine.warm_engine import Child, begin, run_warm
from support.machines.small_disk import mounted
from torch import Tensor

from t2v_core.checkpoints.checkpoints import latest_checkpoint, list_checkpoints
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.disk.files import incompleteness
from t2v_core.disk.tensor_file import write_tensors
from t2v_core.errors import WorkFailed
from t2v_core.training import background_save
from t2v_core.training.background_save import BackgroundSaver

MODEL = "model.safetensors"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "4m") as place:
        yield place


def state(value: float, size: int = 1000) -> dict[str, dict[str, Tensor]]:
    return {MODEL: {"weight": torch.full((size,), value), "step": torch.tensor(value), "none": torch.empty(0)}}


def nothing() -> None:
    return None


def test_a_tensor_file_is_what_safetensors_writes_and_its_checksum_is_right(tmp_path: Path) -> None:
    tensors = {
        "b.weight": torch.randn(7, 5),
        "a": torch.randn(4, 6).t(),
        "ü": torch.arange(5),
        "half": torch.randn(3).half(),
        "brain": torch.randn(2, 2).bfloat16(),
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 4),
        "mask": torch.tensor([True, False]),
        "large": torch.randn(5_000_000),
    }
    about = {"t2v": '{"ü": "a \\"word\\""}'}
    sha256 = write_tensors(tmp_path / "ours", tensors, metadata=about)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "theirs", metadata=about)
    written = (tmp_path / "ours").read_bytes()
    assert written == (tmp_path / "theirs").read_bytes()
    assert sha256 == hashlib.sha256(written).hexdigest()


def test_what_is_written_is_the_state_at_the_call_whatever_changes_meanwhile(tmp_path: Path) -> None:
    saver, files = BackgroundSaver(), state(0.0, size=3_000_000)
    for step in (1, 2, 3):
        files[MODEL]["weight"].fill_(step)
        saver.begin(tmp_path / f"checkpoint_step_{step}", files, {"step": step}, then=nothing)
        files[MODEL]["weight"].fill_(-1)
        checkpoint = saver.result(wait=True)
        assert checkpoint is not None
        assert set(checkpoint.tensors(MODEL)["weight"].tolist()) == {step}
        assert incompleteness(checkpoint.path, checksums=True) is None


def test_there_is_no_result_before_all_is_done_and_then_there_is_one_once(tmp_path: Path) -> None:
    saver, may_end = BackgroundSaver(), threading.Event()
    assert saver.result(wait=True) is None
    saver.begin(tmp_path / "checkpoint_step_1", state(1.0), {"step": 1}, then=lambda: may_end.wait(30))
    assert saver.result(wait=False) is None
    may_end.set()
    checkpoint = saver.result(wait=True)
    assert checkpoint is not None
    assert open_checkpoint(checkpoint.path).step == 1
    assert saver.result(wait=True) is None


def test_tensors_of_another_shape_are_copied_anew(tmp_path: Path) -> None:
    saver = BackgroundSaver()
    for step, size in ((1, 10), (2, 20), (3, 10)):
        saver.begin(tmp_path / f"checkpoint_step_{step}", state(float(step), size), {"step": step}, then=nothing)
        checkpoint = saver.result(wait=True)
        assert checkpoint is not None
        assert torch.equal(checkpoint.tensors(MODEL)["weight"], torch.full((size,), float(step)))


def test_where_memory_is_short_it_is_written_before_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_save, "free_memory_bytes", lambda: 5000)
    saver, files = BackgroundSaver(), state(1.0)
    saver.begin(tmp_path / "checkpoint_step_1", files, {"step": 1}, then=nothing)
    files[MODEL]["weight"].fill_(-1)
    checkpoint = saver.result(wait=False)
    assert checkpoint is not None
    assert torch.equal(checkpoint.tensors(MODEL)["weight"], torch.ones(1000))


def test_what_cannot_be_written_is_told_to_who_asks_and_the_last_one_stays(small_disk: Path) -> None:
    saver = BackgroundSaver()
    saver.begin(small_disk / "checkpoint_step_1", state(1.0), {"step": 1}, then=nothing)
    saver.result(wait=True)
    before = contents(small_disk)
    saver.begin(small_disk / "checkpoint_step_2", state(2.0, size=2_000_000), {"step": 2}, then=nothing)
    with pytest.raises(WorkFailed, match=r"checkpoint checkpoint_step_2 needs 9\.\d MB at .*, and 4\.\d MB is free"):
        saver.result(wait=True)
    assert contents(small_disk) == before
    assert [path.name for path in small_disk.iterdir()] == ["checkpoint_step_1"]


def caught_writing(workspace: Path, **values: Any) -> tuple[Child, Path]:
    """A training that stands still, by SIGSTOP, in the middle of writing its second checkpoint or a later one."""
    child = begin(workspace, "train", **asked(epochs=40, keep_last=9, held_out_clips=0, **values))
    child.wait_for(lambda event: event["kind"] == "checkpoint")
    deadline = time.monotonic() + 60
    while True:
        assert time.monotonic() < deadline
        assert child.process.exitcode is None, child.log
        if not list((workspace / "checkpoints").glob(".partial-*")):
            time.sleep(0.001)
            continue
        child.signal(signal.SIGSTOP)
        time.sleep(0.02)  # a stop signal takes its time to reach all threads
        partial = list((workspace / "checkpoints").glob(f".partial-*.{child.process.pid}.*-checkpoint_*"))
        if partial:
            return child, partial[0]
        child.signal(signal.SIGCONT)


def test_killed_while_a_thread_writes_the_last_complete_one_is_whole_and_training_goes_on(tmp_path: Path) -> None:
    child, partial = caught_writing(tmp_path)
    child.signal(signal.SIGKILL)
    assert child.end().code == -signal.SIGKILL

    found = latest_checkpoint(tmp_path / "checkpoints")
    assert found is not None
    assert not partial.name.endswith(found.path.name)
    assert incompleteness(found.path, checksums=True) is None
    resumed = run_warm(tmp_path, "train", resume=True, epochs=found.step // STEPS_AN_EPOCH + 1)
    assert resumed.code == 0
    assert resumed.of("step")[0]["step"] == found.step + 1
    assert list((tmp_path / "checkpoints").glob(".partial-*")) == []


def test_a_request_to_stop_waits_for_what_is_being_written(tmp_path: Path) -> None:
    child, partial = caught_writing(tmp_path)
    child.signal(signal.SIGTERM)
    child.signal(signal.SIGCONT)
    ended = child.end()
    saved = [Path(event["path"]).name for event in ended.of("checkpoint")]
    assert ended.code == 4
    assert partial.name.partition("-checkpoint_")[2] in {name.removeprefix("checkpoint_") for name in saved}
    assert ended.of("checkpoint")[-1]["step"] == ended.of("step")[-1]["step"]
    assert [event["kind"] for event in ended.events[-2:]] == ["checkpoint", "error"]
    assert [checkpoint.path.name for checkpoint in list_checkpoints(tmp_path / "checkpoints")] == saved
    assert list((tmp_path / "checkpoints").glob(".partial-*")) == []


def is_checkpoint_of(epoch: int, event: dict[str, Any]) -> bool:
    return event["kind"] == "checkpoint" and event["epoch"] == epoch


def test_whoever_reads_of_a_checkpoint_may_open_it(tmp_path: Path) -> None:
    child = begin(tmp_path, "train", **asked(epochs=5, keep_last=9))
    for epoch in range(1, 6):
        event = child.wait_for(partial(is_checkpoint_of, epoch))
        assert open_checkpoint(tmp_path / event["path"]).step == epoch * STEPS_AN_EPOCH
    assert child.end().events[-2]["kind"] == "checkpoint"


def test_samples_are_of_a_complete_checkpoint_and_named_after_it(tmp_path: Path) -> None:
    ended = run_warm(tmp_path, "train", **asked(epochs=2, samples=1))
    assert ended.code == 0
    told = [(event["kind"], event["step"]) for event in ended.events if event["kind"] in ("checkpoint", "sample")]
    assert told == [(kind, step * STEPS_AN_EPOCH) for step in (1, 2) for kind in ("checkpoint", "sample")]
    videos = [event["video"] for event in ended.of("sample")]
    assert videos == [f"outputs/samples/checkpoint_epoch_{epoch}/0.mp4" for epoch in (1, 2)]
