"""However many processes share its steps, and however the model is divided among them, a run learns the same."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.engine import Ended
from support.engine.forked_command import FORKS
from support.engine.training_set import asked, make_run, tensors
from support.engine.warm_engine import Child

from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace, create_job_directory

STEPS = 20
# A step of four clips, each in a forward pass of its own.
SPEC = {
    "max_steps": STEPS, "epochs": 100, "batch_size": 1, "lr_schedule": "constant", "learning_rate": 1e-4,
    "checkpoint_every": 1000, "precision": "fp32", "threads": 1,
}  # fmt: skip


def _enter_rank(rank: int, size: int, port: int, directory: str) -> None:
    from support.engine.warm_engine import enter

    if size > 1:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
        }  # fmt: skip
    enter("train", directory)


def train(workspace: Path, size: int, **spec: Any) -> Ended:
    """A training to its end in so many processes, with the environment that a launcher gives them."""
    directory = create_job_directory(Workspace(workspace), "train")
    (directory / "spec.json").write_text(json.dumps(spec))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [FORKS.Process(target=_enter_rank, args=(rank, size, port, str(directory))) for rank in range(size)]
    for rank in ranks:
        rank.start()
    ended = [Child(rank, directory).end() for rank in ranks]
    assert [one.code for one in ended] == [0] * size, (directory / "log").read_text()
    return ended[0]


def trained(workspace: Path, size: int, name: str, **spec: Any) -> dict[str, torch.Tensor]:
    """Weights, averages and moments after all steps."""
    values = asked(**SPEC, gradient_accumulation=4 // size, checkpoints=name) | spec
    ended = train(workspace, size, **values)
    return tensors(workspace / ended.done["checkpoint"])


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Of weights and averages."""
    assert one.keys() == other.keys()
    return max(
        float((one[name].double() - other[name].double()).abs().max())
        for name in one
        if name.startswith(("model/", "ema/")) and one[name].numel()
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return trained(tmp_path_factory.mktemp("alone"), 1, "alone")


@pytest.mark.parametrize("size", [2, 4])
def test_processes_that_share_a_step_learn_what_one_learns(
    tmp_path: Path, alone: dict[str, torch.Tensor], size: int
) -> None:
    assert largest_difference(alone, trained(tmp_path, size, "shared")) < 1e-6


def test_the_process_that_all_wait_for_is_named(tmp_path: Path) -> None:
    """Of three, one has two passes a step and the others one."""
    train(tmp_path, 2, **asked(**SPEC, gradient_accumulation=2, checkpoints="one") | {"max_steps": 2})
    ended = train(tmp_path, 3, resume=True, checkpoints="one", max_steps=STEPS)
    named = {event["step"]: event for event in ended.of("step") if event.get("slowest_rank") is not None}
    assert list(named) == [10, 20]
    assert [event["slowest_rank"] for event in named.values()] == [0, 0]
    assert all(event["slowest_s"] > 1.2 * event["median_s"] for event in named.values())


def test_a_divided_model_learns_what_a_whole_one_learns(tmp_path: Path, alone: dict[str, torch.Tensor]) -> None:
    divided = trained(tmp_path, 2, "divided", shard=True)
    assert {name: value.shape for name, value in divided.items()} == {n: v.shape for n, v in alone.items()}
    assert largest_difference(alone, divided) < 1e-6


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "--shard divides the model among processes, and this is one"),
        ({"keep_best_by": "score"}, "draws with the whole model"),
    ],
)
def test_what_does_not_go_with_a_divided_model_is_said(tmp_path: Path, values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        make_run(tmp_path, shard=True, **values)
    assert caught.value.hint


def test_another_number_of_processes_goes_on_with_a_run_divided_or_not(
    tmp_path: Path, alone: dict[str, torch.Tensor]
) -> None:
    """Two begin, three go on, two have the model divided among them, one ends it: a step stays the same four passes."""
    begun = asked(**SPEC, gradient_accumulation=2, checkpoints="one") | {"max_steps": 6}
    train(tmp_path, 2, **begun)
    train(tmp_path, 3, resume=True, checkpoints="one", max_steps=10)
    train(tmp_path, 2, resume=True, checkpoints="one", max_steps=14, shard=True)
    ended = train(tmp_path, 1, resume=True, checkpoints="one", max_steps=STEPS, shard=False)
    assert [event["step"] for event in ended.of("step")] == list(range(15, STEPS + 1))
    assert largest_difference(alone, tensors(tmp_path / ended.done["checkpoint"])) < 1e-6
