"""`--keep-best-by score`: fixed prompts drawn and scored where a checkpoint is due, and the best of them kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.engine import events_of, job_here
from support.engine.training_set import STEPS_AN_EPOCH, asked, make_run
from support.engine.warm_engine import run_warm

from t2v_core.assemble import load_pipeline
from t2v_core.checkpoints.checkpoints import list_checkpoints, remove_superseded
from t2v_core.disk.files import seal
from t2v_core.errors import InvalidRequest
from t2v_core.models.scorer import load_clip_scorer
from t2v_core.scores.clip import clip_scales
from t2v_core.training.callbacks.order import training_callbacks
from t2v_core.training.callbacks.prompt_score import PromptScore, fixed_prompts
from t2v_core.training.callbacks.samples import GUIDANCE, STEPS
from t2v_core.training.trainer import Trainer

SCORED: dict[str, Any] = {"keep_best_by": "score", "scorer": "embedded", "score_prompts": 2, "keep_last": 1}


def scores_in(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["kind"] == "score" and event["name"] == "clip_score"]


def test_each_checkpoint_holds_the_score_of_what_it_draws(tmp_path: Path) -> None:
    run, job = make_run(tmp_path, epochs=2, **SCORED, keep_best=9), job_here(tmp_path)
    Trainer(run, job, training_callbacks()).train()
    told = scores_in(events_of(job.directory))
    assert [event["step"] for event in told] == [STEPS_AN_EPOCH, 2 * STEPS_AN_EPOCH]
    scorer, prompts = load_clip_scorer("embedded"), fixed_prompts(run)
    assert len(set(prompts)) == 2
    for checkpoint, event in zip(list_checkpoints(tmp_path / "checkpoints"), told, strict=True):
        pipeline = load_pipeline(checkpoint, device="cpu", precision="fp32")
        drawn = pipeline(prompts, num_inference_steps=STEPS, guidance_scale=GUIDANCE, seed=run.spec.seed).frames
        pairs = zip(drawn, scorer.embed_captions(prompts), strict=True)
        expected = clip_scales([scorer.embed_clip(frames) @ caption for frames, caption in pairs])["value"]
        assert event["value"] == pytest.approx(expected, abs=2e-3)
        assert checkpoint.info["score"]["value"] == event["value"]
        assert event.keys() >= {"model", "resize", "prompts", "prompts_sha256", "steps", "guidance_scale", "seed"}


def test_scoring_changes_no_step_and_no_weight(tmp_path: Path) -> None:
    losses = []
    for name, more in (("plain", {}), ("scored", SCORED)):
        job = job_here(tmp_path / name)
        run = make_run(tmp_path / name, epochs=2, **more)
        Trainer(run, job, training_callbacks()).train()
        losses.append([event["loss"] for event in events_of(job.directory) if event["kind"] == "step"])
    assert losses[0] == losses[1]
    trainer = Trainer(run, job_here(tmp_path / "again"))
    before = [parameter.detach().clone() for parameter in run.plain_model.parameters()]
    first, second = (PromptScore().measure(trainer) for _ in range(2))
    assert first == second is not None
    assert all(map(torch.equal, before, run.plain_model.parameters()))
    assert run.plain_model.training


def test_a_clip_without_eyes_is_refused_before_the_first_step(tmp_path: Path) -> None:
    ended = run_warm(tmp_path, "train", **asked(keep_best_by="score"))
    assert ended.code == 2
    assert ended.error["message"].startswith("--keep-best-by score: ")
    assert "--scorer" in ended.error["hint"]
    assert not ended.of("step")


def test_a_run_says_what_it_kept_and_goes_on_with_the_same_prompts(tmp_path: Path) -> None:
    first = run_warm(tmp_path, "train", **asked(epochs=1, **SCORED))
    assert first.code == 0, first.error
    second = run_warm(tmp_path, "train", resume=True, epochs=3)
    assert second.code == 0, second.error
    stamps = {event["prompts_sha256"] for ended in (first, second) for event in scores_in(ended.of("score"))}
    assert len(stamps) == 1
    kept = list_checkpoints(tmp_path / "checkpoints")
    every = [event for ended in (first, second) for event in scores_in(ended.of("score"))]
    best = max(every, key=lambda event: event["value"])["step"]
    assert {checkpoint.step for checkpoint in kept} == {best, 3 * STEPS_AN_EPOCH}


def add(folder: Path, step: int, score: object, *, loss: float = 0.1, how: str = "a") -> None:
    path = folder / f"checkpoint_step_{step}"
    path.mkdir(parents=True)
    said = {"step": step, "held_out_loss": loss, "score": {"value": score, "model": how}}
    (path / "trainer.json").write_text(json.dumps(said if score is not None else {"step": step}))
    seal(path, {})


@pytest.mark.parametrize(
    ("scores", "keep_best", "kept"),
    [
        ({1: 0.3, 2: 0.1, 3: 0.2, 4: 0.15}, 1, [1, 4]),
        ({1: 0.3, 2: 0.1, 3: 0.2, 4: 0.15}, 2, [1, 3, 4]),
        ({1: None, 2: 0.1, 3: None, 4: None}, 1, [2, 4]),
        ({1: "0.9", 2: float("nan"), 3: 0.1, 4: {}}, 1, [3, 4]),
    ],
)
def test_the_highest_score_is_the_best(
    scores: dict[int, object], keep_best: int, kept: list[int], tmp_path: Path
) -> None:
    for step, score in scores.items():
        add(tmp_path, step, score)
    remove_superseded(tmp_path, keep_last=1, keep_best=keep_best, by="score")
    assert [checkpoint.step for checkpoint in list_checkpoints(tmp_path)] == kept


def test_scores_that_were_measured_otherwise_are_not_compared(tmp_path: Path) -> None:
    for step, score, how in ((1, 0.9, "other"), (2, 0.3, "a"), (3, 0.2, "a"), (4, 0.1, "a")):
        add(tmp_path, step, score, how=how)
    remove_superseded(tmp_path, keep_last=1, keep_best=1, by="score")
    assert [checkpoint.step for checkpoint in list_checkpoints(tmp_path)] == [2, 4]


def test_an_open_model_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, **SCORED)
    run.base = type("Other", (), {"family": "wan"})()  # all that is looked at
    with pytest.raises(InvalidRequest, match="open model cannot be scored"):
        PromptScore().on_start(Trainer(run, job_here(tmp_path)))
