"""Learning rates over a run: warm-up, constant, half a cosine, one cycle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.engine import events_of, job_here
from support.engine.training_set import make_run

from t2v_core.data.store.batches import load_batch
from t2v_core.training.callbacks.step_report import StepReport
from t2v_core.training.trainer import Trainer


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["kind"] == kind]


# Learning rates


def rates(tmp_path: Path, **values: Any) -> list[float]:
    run = make_run(tmp_path, epochs=10, learning_rate=2e-3, **values)
    return [run.learning_rate(step) for step in range(run.total_steps)]


@pytest.mark.parametrize("warmup", [11, 2, 55])
def test_one_cycle_is_torch_s_one_cycle(warmup: int, tmp_path: Path) -> None:
    ours = rates(tmp_path, lr_schedule="one-cycle", warmup_steps=warmup)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2e-3, total_steps=len(ours), pct_start=warmup / len(ours), cycle_momentum=False
    )
    for step, rate in enumerate(ours):
        assert rate == pytest.approx(theirs.get_last_lr()[0], rel=1e-6), step
        optimizer.step()
        theirs.step() if step + 1 < len(ours) else None


def test_one_cycle_rises_from_a_25th_for_8_per_cent_and_ends_at_almost_nothing(tmp_path: Path) -> None:
    ours = rates(tmp_path, lr_schedule="one-cycle", warmup_steps=None)
    assert ours[0] == pytest.approx(2e-3 / 25)
    assert ours.index(max(ours)) == round(0.08 * len(ours)) - 1
    assert max(ours) == pytest.approx(2e-3)
    assert ours[-1] == pytest.approx(2e-3 / 25 / 1e4)


def test_warm_up_is_linear_then_constant_or_half_a_cosine(tmp_path: Path) -> None:
    constant = rates(tmp_path, lr_schedule="constant", warmup_steps=10)
    cosine = rates(tmp_path, lr_schedule="cosine", warmup_steps=10)
    assert constant[:10] == cosine[:10] == [pytest.approx(2e-3 * (step + 1) / 10) for step in range(10)]
    assert set(constant[10:]) == {2e-3}
    assert cosine[10] == 2e-3
    assert cosine[60] == pytest.approx(1e-3)
    assert cosine == sorted(cosine[:10]) + sorted(cosine[10:], reverse=True)
    assert 0 < cosine[-1] < 2e-6


def test_the_rate_that_is_told_is_the_rate_that_is_used(tmp_path: Path) -> None:
    run = make_run(tmp_path, lr_schedule="cosine", warmup_steps=4)
    job = job_here(tmp_path)
    trainer = Trainer(run, job)
    trainer._step([load_batch(run.store, [0, 1], 0, 0)])
    run.step += 1
    StepReport().on_step_end(trainer)
    assert run.optimizer.param_groups[0]["lr"] == of(events_of(job.directory), "step")[0]["learning_rate"] == 5e-4
