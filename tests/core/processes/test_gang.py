"""A job in several processes through the engine's door, which starts them: to people it stays one job."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.engine.engine import TIMEOUT_S, Ended, events_of, in_workspace, job_here, run, start
from support.engine.small_checkpoint import save_small_checkpoint
from support.engine.tiny_models import save_clip, save_vae
from support.engine.training_set import asked, differing
from support.engine.warm_engine import run_warm
from support.warm.python import warm

from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.specs import PreprocessSpec, ShapesSpec
from t2v_core.verbs.preprocess import preprocess


def wait_for(child: subprocess.Popen[bytes], directory: Path, is_it: Callable[[dict[str, Any]], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not any(is_it(event) for event in events_of(directory)):
        assert child.poll() is None, (directory / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ranks_of(directory: Path) -> dict[int, int]:
    """Pids of the processes that the door of that job has started, by rank."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            if os.fsencode(directory) in (process / "cmdline").read_bytes().split(b"\0"):
                environment = (process / "environ").read_bytes().split(b"\0")
                ranks = [item[5:] for item in environment if item.startswith(b"RANK=")]
                found |= {int(rank): int(process.name) for rank in ranks}
    return found


def spec_of(**values: Any) -> dict[str, Any]:
    return (
        asked(batch_size=1, gradient_accumulation=1, lr_schedule="constant", processes=2, checkpoint_every=1, threads=1)
        | values
    )


def ended(child: subprocess.Popen[bytes], directory: Path) -> Ended:
    return Ended(child.wait(TIMEOUT_S), events_of(directory))


def is_step(number: int) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["kind"] == "step" and event["step"] >= number


def test_a_killed_rank_ends_all_and_they_start_again_from_the_last_checkpoint(tmp_path: Path) -> None:
    """What they learn is what those learn that nobody kills."""
    child, directory = start(tmp_path, "train", python=warm(), **spec_of(epochs=3, max_restarts=1))
    wait_for(child, directory, lambda event: event["kind"] == "checkpoint")
    ranks = ranks_of(directory)
    assert sorted(ranks) == [0, 1]
    os.kill(ranks[1], signal.SIGKILL)
    end = ended(child, directory)
    log = (directory / "log").read_text()
    assert end.code == 0, log
    assert "process 1 of this job was killed (SIGKILL); all start again, for the first time of 1" in end.warnings
    described = [event["detail"] for event in end.of("stage") if event["name"] == "train"]
    assert len(described) == 2
    assert "2 processes, each with the whole model: 2 clips a step (2 passes of 1), learning rate" in described[0]
    assert "steps 0 →" not in described[1]
    assert len(end.of("done")) == 1
    whole = run_warm(tmp_path, "train", **spec_of(epochs=3, processes=1, gradient_accumulation=2, checkpoints="whole"))
    assert [event["step"] for event in whole.of("step")][-1] == end.of("step")[-1]["step"]
    assert differing_much(tmp_path / end.done["checkpoint"], tmp_path / whole.done["checkpoint"]) == []


def differing_much(one: Path, other: Path) -> list[str]:
    from support.engine.training_set import tensors

    left, right = tensors(one), tensors(other)
    return [name for name in differing(one, other) if float((left[name] - right[name]).abs().max()) > 1e-4]


def test_without_a_restart_the_death_of_one_is_the_end_of_the_job(tmp_path: Path) -> None:
    child, directory = start(tmp_path, "train", python=warm(), **spec_of(epochs=50))
    wait_for(child, directory, is_step(2))
    os.kill(ranks_of(directory)[1], signal.SIGKILL)
    killed_at = time.monotonic()
    end = ended(child, directory)
    assert time.monotonic() - killed_at < 60
    assert end.code == 137
    assert end.error["message"] == "process 1 of this job was killed (SIGKILL)"
    assert end.error["exit_code"] == 137
    assert "[rank 1]" not in "".join(event.get("message", "") for event in end.events)


@pytest.mark.parametrize("how", ["file", "sigterm"])
def test_a_stop_is_answered_by_all_at_one_step_with_one_checkpoint(tmp_path: Path, how: str) -> None:
    child, directory = start(tmp_path, "train", python=warm(), **spec_of(epochs=50))
    wait_for(child, directory, is_step(2))
    if how == "file":
        (directory / "stop").touch()
    else:
        child.terminate()
    end = ended(child, directory)
    log = (directory / "log").read_text()
    assert end.code == 4, log
    assert len(end.of("error")) == 1
    assert "continue with: t2v train --resume" in end.error["hint"]
    (last,) = end.of("checkpoint")[-1:]
    assert (last["reason"], last["step"]) == ("stopped", end.of("step")[-1]["step"])
    assert "[rank 1] stopped" in log
    assert not any(line.startswith("[rank 0]") for line in log.splitlines())


def test_when_the_door_is_killed_its_ranks_are(tmp_path: Path) -> None:
    child, directory = start(tmp_path, "train", python=warm(), **spec_of(epochs=50))
    wait_for(child, directory, is_step(1))
    ranks = ranks_of(directory)
    child.kill()
    child.wait(TIMEOUT_S)
    deadline = time.monotonic() + 20
    while any(_lives(pid) for pid in ranks.values()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def test_what_is_wrong_is_said_once_and_not_tried_again(tmp_path: Path) -> None:
    end = run(tmp_path, "train", **spec_of(data="nowhere", max_restarts=3))
    assert (end.code, end.error["exit_code"], len(end.of("error")), end.of("warning")) == (2, 2, 1, [])
    assert "nowhere" in end.error["message"]


def test_four_processes_preprocess_what_one_does_byte_for_byte(tmp_path: Path) -> None:
    raw, one = tmp_path / "raw", tmp_path / "one"
    save_vae(raw / "vae")
    save_clip(raw / "clip")
    make_set(ShapesSpec(data=Path("data"), clips=14, test_clips=3, frames=4, size=32), job_here(raw))
    (raw / "data/videos/video3.mp4").write_bytes(b"no video")
    shutil.copytree(raw, one)
    values = {
        "data": "data", "vae": "vae", "text_encoder": "clip", "frames": 4, "shard_clips": 2, "batch_frames": 8,
        "device": "cpu",
    }  # fmt: skip
    in_workspace(preprocess, PreprocessSpec.model_validate(values), job_here(one))
    end = run(raw, "preprocess", **values, processes=4)
    assert end.code == 0
    assert made(raw) == made(one)


def made(root: Path) -> dict[str, bytes]:
    folders = (root / "data/latents", root / "data/text_embeddings")
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(files) > 10
    return {str(path.relative_to(root)): path.read_bytes() for path in [*files, root / "data/quarantine.csv"]}


def test_two_processes_score_a_model_as_one_does(tmp_path: Path) -> None:
    make_set(ShapesSpec(clips=2, test_clips=12), job_here(tmp_path))
    save_small_checkpoint(tmp_path)
    values = {"data": "data/shapes", "prompts": 12, "seeds": 2, "steps": 1, "device": "cpu"}
    shared = run(tmp_path, "evaluate", **values, processes=2)
    alone = run_warm(tmp_path, "evaluate", **values)
    assert (shared.code, alone.code) == (0, 0)
    told = [{k: v for k, v in event.items() if k != "t"} for event in alone.of("score")]
    assert [{k: v for k, v in event.items() if k != "t"} for event in shared.of("score")] == told
    assert list((tmp_path / "jobs").glob("*/drawn")) == []
