"""Going on with a run exactly where its latest complete checkpoint left it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from t2v_core.assemble import shape_differences
from t2v_core.checkpoints.checkpoints import (
    EMA,
    MODEL,
    OPTIMIZER,
    TRAINER,
    Checkpoint,
    latest_checkpoint,
    list_checkpoints,
)
from t2v_core.checkpoints.old_checkpoints import newest_old_checkpoint
from t2v_core.checkpoints.trainer_info import require_usable
from t2v_core.disk.files import incompleteness
from t2v_core.disk.formats import UPDATE
from t2v_core.errors import InvalidRequest, NotFinite
from t2v_core.job import Job
from t2v_core.models.denoisers.denoiser import Denoiser
from t2v_core.presets import NOT_FOR_OPEN
from t2v_core.specs import TrainSpec, all_values, make_spec
from t2v_core.training.optimizers.optimizer import restore_optimizer
from t2v_core.training.run import TrainingRun, fingerprint
from t2v_core.training.setup import build
from t2v_core.training.sharding import parts_of
from t2v_core.training.trained import trained

# A resumed run with another value of these would be another run.
TRAJECTORY = (
    "preset", "objective", "attention", "batch_size", "gradient_accumulation", "optimizer", "learning_rate",
    "weight_decay", "adam_beta2", "lr_schedule", "warmup_steps", "max_grad_norm", "ema_decay", "caption_dropout",
    "held_out_clips", "distill_guidance", "timestep_logit_mean", "min_snr_gamma", "contrast", "zero_terminal_snr",
    "layer_sync", "token_route", "power_averages", "captions_per_clip",
    "lora", "lora_rank", "lora_alpha", "lora_targets", "lora_dropout", "quantize",
    "seed",
)  # fmt: skip


MOMENTS = ("exp_avg", "exp_avg_sq", "state1", "state2")


def restore(spec: TrainSpec, job: Job) -> TrainingRun:
    """Return the run of the latest complete checkpoint, exactly where it stopped.

    What was not asked for is as the run had it. Raises InvalidRequest when what was asked for would make it another
    run, with the differences, or when its data has changed.
    """
    folder = job.workspace.resolve(spec.checkpoints)
    checkpoint = latest_undamaged(folder, job)
    require_usable(checkpoint.path, checkpoint.info)
    begun = {"begun_with": checkpoint.info.get("processes"), "at_once": _at_once(checkpoint)}
    run = build(_merged(spec, checkpoint), job, folder, **begun)
    _require_same_data(run, checkpoint)
    _require_same_teacher(run, checkpoint)
    _require_same_base(run, checkpoint)
    load_into(run, checkpoint)
    _warn_of_another_schedule(run, checkpoint, job)
    return run


def _at_once(checkpoint: Checkpoint) -> int:
    said = checkpoint.info.get("shards_at_once", 0)
    return said if isinstance(said, int) else 0


def latest_undamaged(folder: Path, job: Job) -> Checkpoint:
    """Return the newest complete checkpoint whose bytes are what was written; else the previous system's newest.

    Its values are numbers as well. Raises InvalidRequest when there is none.

    A damaged one stays where it is until the run, which trains the same steps again, gets there.
    """
    latest_checkpoint(folder)  # refuses a folder in which a later t2v has written: the run would write over it
    damaged = ""
    for checkpoint in reversed(list_checkpoints(folder, on_incomplete=job.events.warning)):
        torn = incompleteness(checkpoint.path, checksums=True)
        damage = torn or _broken_values(checkpoint)
        if damage is None:
            return checkpoint
        damaged = damaged or f"{checkpoint.path.name} is damaged: {damage}"
        job.events.warning(
            f"{checkpoint.path.name} is damaged ({damage}) and is skipped",
            hint="the run goes on from the checkpoint before it" + ("; check the disk that it lies on" if torn else ""),
        )
    where = job.workspace.relative(folder)
    if damaged:
        raise InvalidRequest(
            f"there is no undamaged checkpoint in {where}; {damaged}",
            hint="restore a copy of it (t2v pull checkpoints), or start a new run with --checkpoints OTHER-FOLDER",
        )
    if (old := _of_the_previous_system(folder, job)) is not None:
        return old
    raise InvalidRequest(f"there is no complete checkpoint in {where}", hint="start a run: t2v train")


def _broken_values(checkpoint: Checkpoint) -> str | None:
    """Which of its files holds values that are not finite, in words: a run that goes on from them is lost."""
    for name in (MODEL, EMA, OPTIMIZER):
        try:
            checkpoint.tensors(name)
        except NotFinite:
            return f"{name} holds values that are not finite"
        except InvalidRequest:  # it says so better when it is loaded
            continue
    return None


def _of_the_previous_system(folder: Path, job: Job) -> Checkpoint | None:
    """The newest `.pt` of a folder without checkpoints of ours; it is read and stays as it is."""
    old = newest_old_checkpoint(folder, passed_over=job.events.warning)
    if old is not None:
        job.events.warning(f"training goes on from {old.path.name} of the previous system, which stays as it is")
    return old


def _merged(spec: TrainSpec, checkpoint: Checkpoint) -> TrainSpec:
    saved: dict[str, Any] = checkpoint.info["spec"]
    _require_known_settings(saved, checkpoint)
    saved = all_values(make_spec("train", {"preset": saved["preset"]})) | saved  # it may be of an earlier version
    asked = spec.model_dump(mode="json", include=spec.model_fields_set)
    if saved["model"] is not None:  # which has its own, whatever t2v.toml says for ours
        asked = {name: value for name, value in asked.items() if name not in NOT_FOR_OPEN}
    differences = [f"{k} was {saved[k]}, now {asked[k]}" for k in TRAJECTORY if k in asked and asked[k] != saved[k]]
    if differences:
        raise InvalidRequest(
            f"{checkpoint.path.name} belongs to another run: {'; '.join(differences)}",
            hint="leave these settings out (the run's own are used), or start a new run with "
            "--checkpoints OTHER-FOLDER",
        )
    merged = make_spec("train", saved | asked)
    assert isinstance(merged, TrainSpec)  # make_spec("train", …) makes nothing else
    return merged


def _require_known_settings(saved: dict[str, Any], checkpoint: Checkpoint) -> None:
    """What the run was asked for is asked for again; a setting or a value that is not known here would be left out."""
    try:
        make_spec("train", saved)
    except InvalidRequest as error:
        raise InvalidRequest(
            f"{checkpoint.path / TRAINER} belongs to a run that this t2v does not know: {error.message}",
            hint=f"{UPDATE}; or start a new run with --checkpoints OTHER-FOLDER",
        ) from error


def _require_same_data(run: TrainingRun, checkpoint: Checkpoint) -> None:
    info = checkpoint.info
    if not info.get("video_ids"):  # of the previous system, which did not write down what it was trained on
        return
    changed = [
        name
        for name, now, then in (
            ("the clips", fingerprint(run.store.video_ids), info["video_ids"]),
            ("the latents", run.store.manifest["settings"], info["latents"].get("settings")),
            ("the text embeddings", run.store.text_manifest["settings"], info["text"].get("settings")),
        )
        if now != then
    ]
    if changed:
        raise InvalidRequest(
            f"{' and '.join(changed)} of {run.spec.latents or run.spec.data} changed since {checkpoint.path.name} "
            "was saved",
            hint="preprocess with the earlier settings, or start a new run with --checkpoints OTHER-FOLDER",
        )


def _require_same_teacher(run: TrainingRun, checkpoint: Checkpoint) -> None:
    if run.teacher is not None and run.teacher.stamp != checkpoint.info.get("teacher"):
        raise InvalidRequest(
            f"{checkpoint.path.name} distils another model than {run.spec.distill} is now",
            hint="restore that one, or start a new run with --checkpoints OTHER-FOLDER",
        )


def _require_same_base(run: TrainingRun, checkpoint: Checkpoint) -> None:
    began_with = checkpoint.info.get("base") or {}
    if run.base is not None and run.base.stamp != began_with.get("sha256"):
        raise InvalidRequest(
            f"{checkpoint.path.name} goes on from another model than {run.spec.base or run.spec.model} is now",
            hint="restore that one, or start a new run with --checkpoints OTHER-FOLDER",
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


def _load_weights(run: TrainingRun, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Load the weights of the last step, and return the averages by the names of the model's parameters."""
    model, averages = run.plain_model, checkpoint.weights("ema")
    if run.adapter is None:
        model.load_state_dict(parts_of(_fitting(checkpoint, model), model.state_dict()))
        return averages
    in_file = run.adapter.parameters()
    expected = {name: parameter.shape for name, parameter in in_file.items()}
    raw = checkpoint.weights("raw")
    for tensors in (raw, averages):
        if differences := shape_differences(expected, tensors):
            raise InvalidRequest(
                f"{checkpoint.path.name} is damaged: {differences[0]}",
                hint="restore a copy of it (t2v pull checkpoints), or use another checkpoint",
            )
    run.adapter.load(parts_of(raw, in_file))
    return {name: averages[key] for name, key in zip(trained(model), in_file, strict=True)}


def _fitting(checkpoint: Checkpoint, model: Denoiser) -> dict[str, Tensor]:
    """The weights; one that has no null prompt yet takes that of the text it is trained on.

    Raises InvalidRequest when the preset makes another architecture than the checkpoint's.
    """
    weights = checkpoint.weights("raw")
    own = model.state_dict()
    if not len(weights.get("null_tokens", own["null_tokens"])):
        weights |= {name: own[name] for name in ("null_tokens", "null_pooled")}
    if differences := shape_differences({name: value.shape for name, value in own.items()}, weights):
        raise InvalidRequest(
            f"{checkpoint.path.name} differs in size from the {checkpoint.info['spec']['preset']} preset: "
            f"{differences[0]}",
            hint="it can be generated from; training goes on only with models that match the preset",
        )
    return weights


def _require_shapes(
    run: TrainingRun, checkpoint: Checkpoint, averages: dict[str, Tensor], moments: dict[str, Tensor]
) -> None:
    """Raise InvalidRequest when averages or moments are not those of the model's parameters."""
    for name, parameter in trained(run.plain_model).items():
        found = [averages.get(name), *(moments[key] for part in MOMENTS if (key := f"{name}.{part}") in moments)]
        if any(one is None or one.shape != parameter.shape for one in found):
            raise InvalidRequest(
                f"{checkpoint.path.name} is damaged: {EMA} and {OPTIMIZER} do not fit its weights, in {name}",
                hint="restore a copy of it (t2v pull checkpoints), or use another checkpoint",
            )


def load_into(run: TrainingRun, checkpoint: Checkpoint) -> None:
    """Load weights, averages, moments and position.

    Order and noise follow from seed and step, so there is no generator.
    """
    model = run.plain_model
    averages, moments = _load_weights(run, checkpoint), checkpoint.tensors(OPTIMIZER)
    _require_shapes(run, checkpoint, averages, moments)
    run.ema.load_state_dict(averages)
    if run.tricks.power_averages is not None:
        run.tricks.power_averages.load(checkpoint.path.parent, checkpoint.step)
    restore_optimizer(model, run.optimizer, moments)
    if run.accelerator.scaler is not None and checkpoint.info.get("scaler") is not None:
        run.accelerator.scaler.load_state_dict(checkpoint.info["scaler"])
    run.step, run.checkpoint = checkpoint.step, checkpoint
