"""Building a run from a spec: model, data, optimiser."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from t2v_core.assemble import OWN_FAMILY
from t2v_core.checkpoints.checkpoints import latest_checkpoint
from t2v_core.data.store.batches import BatchPlan, split_held_out
from t2v_core.data.store.latents import LatentStore
from t2v_core.data.store.mixed_plan import plan_for
from t2v_core.diffusion.objectives import FlowMapObjective, Objective, make_objective
from t2v_core.diffusion.samplers import FlowMapSampler
from t2v_core.disk.files import require_writable, sweep_staging
from t2v_core.errors import InvalidRequest
from t2v_core.job import Job
from t2v_core.models.compiling import compile_layers, pays_to_compile
from t2v_core.models.cpu import suit_to_cpu
from t2v_core.models.denoisers.by_name import denoiser_class, denoiser_config, make_denoiser
from t2v_core.models.denoisers.denoiser import Denoiser
from t2v_core.models.loading import pick_device, pick_dtype
from t2v_core.presets import PRESET_MODELS
from t2v_core.specs import TrainSpec
from t2v_core.training.base.base import Base
from t2v_core.training.base.own import own_base
from t2v_core.training.data import ahead_for, in_reading_order, open_store
from t2v_core.training.distillation.teacher import Teacher
from t2v_core.training.ema import EMA
from t2v_core.training.forecast.flops import flops_per_clip
from t2v_core.training.optimizers.eight_bits import NAME as EIGHT_BITS
from t2v_core.training.optimizers.eight_bits import require_it
from t2v_core.training.optimizers.optimizer import make_optimizer
from t2v_core.training.pace.clock import StepClock
from t2v_core.training.run import TrainingRun
from t2v_core.training.sharding import shard
from t2v_core.training.trackers.other_tracker import TENSORBOARD, OtherTracker, require_tracker
from t2v_core.training.trackers.tracker import Tracker
from t2v_core.training.trained import trained
from t2v_core.training.tricks.chosen import Tricks, require_fitting
from t2v_core.training.tricks.power_averages import snapshots

# The others wait in a collective while the first one makes samples; NCCL would end them after ten minutes. Where one
# has died, whoever started them ends the rest.
PATIENCE = timedelta(hours=4)
MIXED_PRECISION = {torch.float32: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}

# What takes a step of a whole tensor.
WHOLE = {"muon": "makes a step of a whole matrix", EIGHT_BITS: "packs a whole tensor"}


def start_run(spec: TrainSpec, job: Job) -> TrainingRun:
    """Make a fresh run. Raises InvalidRequest when the folder holds a run already."""
    folder = job.workspace.resolve(spec.checkpoints)
    existing = latest_checkpoint(folder)
    if existing is not None:
        raise InvalidRequest(
            f"{job.workspace.relative(folder)} already holds a run, at step {existing.step}",
            hint="continue it: --resume; or start another one: --checkpoints OTHER-FOLDER",
        )
    if spec.power_averages and snapshots(folder):
        raise InvalidRequest(
            f"{job.workspace.relative(folder)} holds the averages of another run",
            hint="remove its averages/, or use --checkpoints OTHER-FOLDER",
        )
    return build(spec, job, folder)


def build(
    spec: TrainSpec, job: Job, folder: Path, *, begun_with: int | None = None, at_once: int | None = None
) -> TrainingRun:
    """Build everything at step 0; checkpoints go to `folder`.

    begun_with: processes that the run had at its start, which say how many forward passes make a step
    at_once: shards that it shuffled together then; 0 for all
    """
    objective, accelerator = _begun(spec, job)
    store = open_store(spec, job.workspace)
    _require_one_shape(spec, store)
    _make_ready(folder, accelerator)
    training, held_out = split_held_out(store.video_ids, spec.held_out_clips)
    plan = _plan(spec, store, training, job, accelerator, begun_with=begun_with, at_once=at_once)
    teacher = Teacher.of(spec, store, job, accelerator.device)
    if teacher is not None:
        objective = FlowMapObjective(FlowMapSampler())
    base = _base(spec, store, objective, accelerator.device, job)
    objective = objective if base is None else base.objective
    model, config = _model(spec, store, accelerator.device, teacher, base)
    adapter = None if base is None else base.adapter(spec)
    _place(model, spec, accelerator)
    tricks = Tricks.of(spec, model)
    ema = EMA(model, spec.ema_decay)
    optimizer = _optimizer(spec, model, accelerator.device)
    run = TrainingRun(
        spec=spec,
        accelerator=accelerator,
        store=store,
        plan=plan,
        held_out=held_out,
        # Of a model that is divided, FSDP has seen to everything but the arithmetic.
        model=accelerator.prepare_model(model, evaluation_mode=spec.shard),
        optimizer=accelerator.prepare(optimizer),
        ema=ema,
        objective=objective,
        tracker=Tracker(job.directory / "tensorboard", _other_tracker(spec, accelerator, job)),
        clock=StepClock(accelerator.device, lambda: _flops(base, store, config)),
        folder=folder,
        job=job.directory.name,
        teacher=teacher,
        base=base,
        adapter=adapter,
        ahead=ahead_for(plan, store, job),
        tricks=tricks,
    )
    if run.ahead is not None:
        store.keep([0, *held_out])
    _compile(run, job)
    return run


def _make_ready(folder: Path, accelerator: Accelerator) -> None:
    if accelerator.is_main_process:
        require_writable(folder)  # now, not after an epoch
        sweep_staging(folder)


def _begun(spec: TrainSpec, job: Job) -> tuple[Objective, Accelerator]:
    """Refuse what does not fit together, before anything is loaded; then let the processes find each other."""
    _set_arithmetic(spec)
    _require_whole_model(spec)
    objective = _objective(spec)
    _require_optimizer(spec)
    require_fitting(spec)
    require_tracker(spec)
    accelerator = _accelerator(spec)
    if not accelerator.is_main_process:
        job.events.mute()
    return objective, accelerator


def _plan(
    spec: TrainSpec, store: LatentStore, training: Sequence[int], job: Job, accelerator: Accelerator,
    *, begun_with: int | None, at_once: int | None,
) -> BatchPlan:  # fmt: skip
    """The order of the clips. Raises InvalidRequest when a step has no pass for one of the processes."""
    processes = accelerator.num_processes
    buckets = store.by_shape(training)
    plan = plan_for(buckets, spec.batch_size, spec.gradient_accumulation, begun_with or processes, spec.seed)
    plan = in_reading_order(plan, store, at_once, job)
    _require_enough_passes(plan, processes, is_sharded=spec.shard)
    return plan


def _place(model: torch.nn.Module, spec: TrainSpec, accelerator: Accelerator) -> None:
    """Move a model to its device, and divide it there among the processes where that is asked for."""
    device = accelerator.device
    model.to(device)
    if spec.shard:
        shard(model, device, pick_dtype(spec.precision, device), accelerator.num_processes)


def _require_whole_model(spec: TrainSpec) -> None:
    """Raise InvalidRequest for scores while training of a model that is divided."""
    if spec.shard and spec.keep_best_by == "score":
        raise InvalidRequest(
            "--keep-best-by score draws with the whole model, of which --shard leaves no process more than a part",
            hint="--keep-best-by held_out_loss, or --no-shard",
        )


def _require_one_shape(spec: TrainSpec, store: LatentStore) -> None:
    """Raise InvalidRequest for clips of several sizes and lengths, and a model that takes one."""
    if len(store.shapes) > 1 and spec.model is None:
        raise InvalidRequest(
            f"the data set has clips of {len(store.shapes)} sizes and lengths, and t2v's own models take one",
            hint="train the open model that it was made for (--model), or preprocess another set without --buckets",
        )


def _optimizer(spec: TrainSpec, model: torch.nn.Module, device: torch.device) -> torch.optim.Optimizer:
    return make_optimizer(
        spec.optimizer,
        trained(model),
        device,
        lr=spec.learning_rate,
        betas=(0.9, spec.adam_beta2),
        weight_decay=spec.weight_decay,
    )


def _require_enough_passes(plan: BatchPlan, processes: int, *, is_sharded: bool) -> None:
    """Raise InvalidRequest when a step has nothing to do for some of the processes.

    Those that have the model divided among them make each pass together, so all need as many.
    """
    if is_sharded and plan.passes_per_step % processes:
        fitting = [str(n) for n in range(2, plan.passes_per_step + 1) if plan.passes_per_step % n == 0]
        raise InvalidRequest(
            f"{plan.passes_per_step} forward passes a step cannot be shared evenly by {processes} processes, "
            "which --shard needs",
            hint=f"--processes {', '.join(fitting) or '1'}, or --no-shard",
        )
    if plan.passes_per_step < processes:
        raise InvalidRequest(
            f"a step of this run is {plan.passes_per_step} forward passes, too few for {processes} processes",
            hint=f"--processes {plan.passes_per_step} at most, or start a new run with --checkpoints OTHER-FOLDER",
        )


def _require_optimizer(spec: TrainSpec) -> None:
    """Raise InvalidRequest for 8 bits where they cannot be had, and what would see parts of a tensor only."""
    if spec.optimizer == EIGHT_BITS:
        require_it(pick_device(spec.device))
    if spec.shard and spec.optimizer in WHOLE:
        raise InvalidRequest(
            f"--optimizer {spec.optimizer} {WHOLE[spec.optimizer]}, and --shard divides it among processes",
            hint="leave --shard out, or add --optimizer adamw",
        )


def _set_arithmetic(spec: TrainSpec) -> None:
    """Of this whole process."""
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    if spec.deterministic:
        # cuBLAS reads it when it makes its first handle. https://docs.pytorch.org/docs/stable/notes/randomness.html
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def _compile(run: TrainingRun, job: Job) -> None:
    passes = run.total_steps * run.spec.gradient_accumulation
    if pays_to_compile(run.spec.compile, run.accelerator.device, passes, job.events.warning):
        compile_layers(run.plain_model)


def _base(spec: TrainSpec, store: LatentStore, objective: Objective, device: torch.device, job: Job) -> Base | None:
    if spec.model is not None:
        from t2v_core.training.base.open import open_base  # diffusers' families, which ours need not

        return open_base(spec, store, device, pick_dtype(spec.precision, device))
    return None if spec.base is None else own_base(spec, store, objective, job)


def _flops(base: Base | None, store: LatentStore, config: dict[str, Any]) -> float:
    """Of one clip, forward and backward."""
    if base is None or base.family == OWN_FAMILY:
        return flops_per_clip(config)
    from t2v_core.models.open.denoiser import OpenDenoiser, flops_of

    model = base.model
    assert isinstance(model, OpenDenoiser)
    return sum(count * flops_of(model.model, shape) for shape, count in store.shapes.items()) / len(store)


def _model(
    spec: TrainSpec, store: LatentStore, device: torch.device, teacher: Teacher | None, base: Base | None
) -> tuple[Denoiser, dict[str, Any]]:
    """The denoiser with weights of the spec's seed, of its teacher or its base, and what it was made from."""
    torch.manual_seed(spec.seed)
    if base is not None:
        model, config = base.model, denoiser_config(base.model)
    else:
        model, config = _untrained(spec, store) if teacher is None else teacher.student()
    if spec.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    model.to(device)
    suit_to_cpu(model, device)
    return model, config


def _untrained(spec: TrainSpec, store: LatentStore) -> tuple[Denoiser, dict[str, Any]]:
    null = store.null_prompt
    config = model_config(
        spec, store.shape, null_length=len(null.tokens), text_dim=null.tokens.shape[1], pooled_dim=null.pooled.numel()
    )
    model = make_denoiser(config)
    model.set_null_prompt(null.tokens, null.pooled)
    return model, config


def _objective(spec: TrainSpec) -> Objective:
    return make_objective(
        spec.objective,
        timestep_logit_mean=spec.timestep_logit_mean,
        min_snr_gamma=spec.min_snr_gamma,
        zero_terminal_snr=spec.zero_terminal_snr,
    )


def _accelerator(spec: TrainSpec) -> Accelerator:
    device = pick_device(spec.device)
    dtype = pick_dtype(spec.precision, device)
    # Without attention over time no gradient reaches the frame embedding, and a step may ask one expert of two; several
    # processes must know to wait for none.
    parallel = DistributedDataParallelKwargs(find_unused_parameters=spec.attention == "frame" or spec.model is not None)
    patience = InitProcessGroupKwargs(timeout=PATIENCE)
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=MIXED_PRECISION[dtype],
        kwargs_handlers=[parallel, patience],
        log_with=None if spec.log_with == TENSORBOARD else spec.log_with,
    )


def _other_tracker(spec: TrainSpec, accelerator: Accelerator, job: Job) -> OtherTracker | None:
    if spec.log_with == TENSORBOARD or not accelerator.is_main_process:
        return None
    return OtherTracker(spec.log_with, accelerator, job)


def model_config(
    spec: TrainSpec, shape: tuple[int, ...], *, null_length: int, text_dim: int, pooled_dim: int
) -> dict[str, Any]:
    """Return a preset, fitted to the shapes of the data: what `make_denoiser` takes.

    shape: (frames, channels, height, width) of a latent clip
    null_length: tokens of the null prompt; text_dim, pooled_dim: sizes of token and pooled embeddings
    Raises InvalidRequest when preset, data and attention do not fit together.
    """
    frames, channels, height, _ = shape
    preset = PRESET_MODELS[spec.preset]
    if not pooled_dim and preset.get("block") != "seed":
        raise InvalidRequest(
            f"the text was imported without captions and has no pooled embedding, which the {spec.preset} preset needs",
            hint="put annotations into the data set and import it again, or use --preset seed",
        )
    config = preset | {
        "in_channels": channels,
        "sample_size": height,
        "num_frames": frames,
        "text_dim": text_dim,
        "pooled_dim": pooled_dim,
        "null_length": null_length,
    }
    return denoiser_class(preset).completed(config, preset=spec.preset, attention=spec.attention)
