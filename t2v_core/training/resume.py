"""Going on with a run exactly where its latest complete checkpoint left it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from t2v_core.checkpoints import OPTIMIZER, Checkpoint, latest_checkpoint
from t2v_core.errors import AskedWrongly
from t2v_core.files import incompleteness
from t2v_core.job import Job
from t2v_core.specs import TrainSpec, all_values, make_spec
from t2v_core.training.optimizer import restore_optimizer
from t2v_core.training.run import TrainingRun, fingerprint
from t2v_core.training.setup import build

# A resumed run with another value of these would be another run.
TRAJECTORY = (
    "preset", "objective", "attention", "batch_size", "gradient_accumulation", "learning_rate", "weight_decay",
    "adam_beta2", "lr_schedule", "warmup_steps", "max_grad_norm", "ema_decay", "caption_dropout", "held_out_clips",
    "timestep_logit_mean", "min_snr_gamma", "zero_terminal_snr", "seed",
)  # fmt: skip


def restore(spec: TrainSpec, job: Job) -> TrainingRun:
    """The run of the latest complete checkpoint, exactly where it stopped.

    What was not asked for is as the run had it. Raises AskedWrongly when what was asked for would make it another run,
    with the differences, or when its data has changed.
    """
    folder = job.workspace.resolve(spec.checkpoints)
    checkpoint = latest_checkpoint(folder, on_incomplete=job.events.warning)
    if checkpoint is None:
        raise AskedWrongly(
            f"there is no complete checkpoint in {job.workspace.relative(folder)}", hint="start a run: t2v train"
        )
    damage = incompleteness(checkpoint.path, checksums=True)
    if damage:
        raise AskedWrongly(f"{checkpoint.path} is damaged: {damage}", hint="remove it to go on from the one before it")
    run = build(_merged(spec, checkpoint), job, folder)
    _require_same_data(run, checkpoint)
    _require_same_division(run, checkpoint)
    load_into(run, checkpoint)
    _warn_of_another_schedule(run, checkpoint, job)
    return run


def _merged(spec: TrainSpec, checkpoint: Checkpoint) -> TrainSpec:
    saved: dict[str, Any] = checkpoint.info["spec"]
    saved = all_values(make_spec("train", {"preset": saved["preset"]})) | saved  # it may be of an earlier version
    asked = spec.model_dump(mode="json", include=spec.model_fields_set)
    differences = [f"{k} was {saved[k]}, asked {asked[k]}" for k in TRAJECTORY if k in asked and asked[k] != saved[k]]
    if differences:
        raise AskedWrongly(
            f"{checkpoint.path.name} belongs to another run: {'; '.join(differences)}",
            hint="leave these settings out (the run's own are used), or start anew with --checkpoints OTHER-FOLDER",
        )
    merged = make_spec("train", saved | asked)
    assert isinstance(merged, TrainSpec)  # noqa: S101 - make_spec("train", …) makes nothing else
    return merged


def _require_same_data(run: TrainingRun, checkpoint: Checkpoint) -> None:
    info = checkpoint.info
    changed = [
        name
        for name, now, then in (
            ("the clips", fingerprint(run.store.video_ids), info["video_ids"]),
            ("the latents", run.store.manifest["settings"], info["latents"]["settings"]),
            ("the text embeddings", run.store.text_manifest["settings"], info["text"]["settings"]),
        )
        if now != then
    ]
    if changed:
        raise AskedWrongly(
            f"{' and '.join(changed)} of {run.spec.data} changed since {checkpoint.path.name} was saved",
            hint="preprocess with the earlier settings, or start anew with --checkpoints OTHER-FOLDER",
        )


def _require_same_division(run: TrainingRun, checkpoint: Checkpoint) -> None:
    """Which clips make a step depends on how many processes share it."""
    then, now = checkpoint.info.get("processes", run.plan.world_size), run.plan.world_size
    if then != now:
        raise AskedWrongly(
            f"{checkpoint.path.name} belongs to a run of {then} processes, and this one has {now}",
            hint="launch as many, or start anew with --checkpoints OTHER-FOLDER",
        )


def _warn_of_another_schedule(run: TrainingRun, checkpoint: Checkpoint, job: Job) -> None:
    """A schedule that falls towards the last step rises again when that step moves."""
    before = replace(run, spec=TrainSpec.model_validate(checkpoint.info["spec"]))
    then, now = before.learning_rate(run.step), run.learning_rate(run.step)
    if then != now and run.step < run.total_steps:
        job.events.warning(
            f"the {run.spec.lr_schedule} schedule now spans {run.total_steps} steps instead of {before.total_steps}: "
            f"the learning rate at step {run.step} is {now:.2g} instead of {then:.2g}"
        )


def load_into(run: TrainingRun, checkpoint: Checkpoint) -> None:
    """Weights, averages, moments and position. Order and noise follow from seed and step, so there is no generator."""
    model = run.plain_model
    model.load_state_dict(checkpoint.weights("raw"))
    run.ema.load_state_dict(checkpoint.weights("ema"))
    restore_optimizer(model, run.optimizer, checkpoint.tensors(OPTIMIZER))
    if run.accelerator.scaler is not None and checkpoint.info["scaler"] is not None:
        run.accelerator.scaler.load_state_dict(checkpoint.info["scaler"])
    run.step, run.checkpoint = checkpoint.step, checkpoint
