"""Several processes that train one model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.engine.engine import TORCHRUN, events_of, job_here
from support.engine.forked_command import FORKS
from support.engine.training_set import asked, differing
from support.engine.warm_engine import Child, run_warm

from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.specs import TrainSpec
from t2v_core.training.resume import restore
from t2v_core.workspace import Workspace, create_job_directory


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["kind"] == kind]


# Several processes


def _enter_rank(rank: int, port: int, directory: str) -> None:
    from support.engine.warm_engine import enter

    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    enter("train", directory)


def begin_two(workspace: Path, **spec: Any) -> tuple[Child, Child]:
    """Two processes of one run, with the environment that a launcher gives them."""
    directory = create_job_directory(Workspace(workspace), "train")
    (directory / "spec.json").write_text(json.dumps(spec))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = [FORKS.Process(target=_enter_rank, args=(rank, port, str(directory))) for rank in range(2)]
    for child in children:
        child.start()
    return Child(children[0], directory), Child(children[1], directory)


def test_two_processes_train_one_model_and_one_of_them_speaks(tmp_path: Path) -> None:
    """Held-out loss and saving are one process's work while the other waits."""
    spec = asked(epochs=2, lr_schedule="constant")
    first, second = begin_two(tmp_path, **spec)
    ended = first.end()
    assert (ended.code, second.end().code) == (0, 0), first.log
    alone = run_warm(
        tmp_path, "train", **asked(epochs=2, lr_schedule="constant", gradient_accumulation=2, checkpoints="1")
    )
    steps = ended.of("step")
    assert [event["step"] for event in steps] == [event["step"] for event in alone.of("step")]
    assert [event["name"] for event in ended.of("stage")] == ["estimate", "train"]
    assert len(ended.of("done")) == 1
    # the same clips with other noise: losses and gradients of one size, not one twice the other's
    for name in ("loss", "grad_norm"):
        assert sum(e[name] for e in steps) == pytest.approx(sum(e[name] for e in alone.of("step")), rel=0.25)
    assert open_checkpoint(tmp_path / "checkpoints/checkpoint_epoch_2").info["processes"] == 2


def test_two_processes_stop_at_one_step_and_resume_as_if_they_had_not(tmp_path: Path) -> None:
    spec = asked(epochs=8, preset="tiny", attention="frame")
    first, second = begin_two(tmp_path, **spec)
    first.wait_for(lambda event: event.get("step") == 2)
    second.signal(signal.SIGTERM)  # one alone is told
    ended = first.end()
    assert (ended.code, second.end().code) == (4, 4), first.log
    assert ended.of("checkpoint")[-1]["reason"] == "stopped"
    alone = restore(TrainSpec(resume=True), job_here(tmp_path))
    assert (alone.plan.world_size, list(alone.passes)) == (2, [0, 1])

    for folder, values in (("checkpoints", {"resume": True}), ("whole", spec | {"checkpoints": "whole"})):
        pair = begin_two(tmp_path, **values)
        assert [child.end().code for child in pair] == [0, 0], (folder, pair[0].log)
    assert differing(tmp_path / "checkpoints/checkpoint_epoch_8", tmp_path / "whole/checkpoint_epoch_8") == []


@pytest.mark.slow
def test_torchrun_trains_on_two_processes(tmp_path: Path) -> None:
    directory = create_job_directory(Workspace(tmp_path), "train")
    (directory / "spec.json").write_text(json.dumps(asked(epochs=1)))
    done = subprocess.run(
        [*TORCHRUN, "train", str(directory)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert open_checkpoint(tmp_path / "checkpoints/checkpoint_epoch_1").info["processes"] == 2
    assert len(of(events_of(directory), "done")) == 1


def test_fixed_prompts_are_scored_once_and_as_one_process_scores_them(tmp_path: Path) -> None:
    scored = {"keep_best_by": "score", "scorer": "embedded", "score_prompts": 2, "gradient_accumulation": 2}
    spec = asked(epochs=1, **scored)
    first, second = begin_two(tmp_path, **spec)
    ended = first.end()
    assert (ended.code, second.end().code) == (0, 0), first.log
    alone = run_warm(tmp_path, "train", **spec | {"gradient_accumulation": 4}, checkpoints="1")
    (two,), (one,) = ([e for e in run.of("score") if e["name"] == "clip_score"] for run in (ended, alone))
    assert two["value"] == pytest.approx(one["value"], abs=2e-3)
    kept = open_checkpoint(next((tmp_path / "checkpoints").glob("checkpoint_*")))
    assert kept.info["score"]["value"] == two["value"]
