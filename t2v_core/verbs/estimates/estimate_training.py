"""`t2v estimate` of a training of t2v's own models: will it fit, how long, how much?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from t2v_core.errors import InvalidRequest
from t2v_core.events.estimated import (
    DataFacts,
    DiskPart,
    Estimated,
    Fits,
    MachinePart,
    MemoryPart,
    ModelPart,
    TimePart,
)
from t2v_core.job import Job
from t2v_core.specs import EstimateSpec, TrainSpec
from t2v_core.training.base.base import lora_settings
from t2v_core.training.base.own import base_checkpoint, suited_to_own
from t2v_core.training.data import facts_asked
from t2v_core.training.forecast.flops import flops_per_clip
from t2v_core.training.forecast.forecast import Pace, duration_of, largest_batch, memory_of, pace_of_table
from t2v_core.training.forecast.gpus import ASSUMED_MFU, find_gpu
from t2v_core.training.forecast.machines import Machine, other_machine, this_machine
from t2v_core.training.forecast.memory import StepMemory, parameter_count
from t2v_core.training.preflight import config_for, disk_advice, disk_for, memory_advice
from t2v_core.training.probe import STEPS, WARM_UP, matrix_product_rate, probe

# Of this machine's fastest matrix product, what a training step reaches; 0.45 to 0.7 were measured on CPUs.
CPU_SHARE = 0.5


def estimate_training(spec: EstimateSpec, job: Job) -> Estimated:
    """Reckon a training, and measure some steps of it where there is time.

    Raises InvalidRequest for a GPU that is not in the table, for a distillation, and when preset and data do not fit.
    """
    if spec.distill is not None:
        raise InvalidRequest(
            "a distillation cannot be estimated",
            hint="leave --distill out for the memory of its model, to which the teacher's weights come; a step takes "
            "half as long again, since the teacher draws what is learned from",
        )
    spec = spec if spec.base is None else suited_to_own(spec, job)
    machine = this_machine(spec) if spec.gpu is None else other_machine(find_gpu(spec.gpu), spec)
    facts = facts_asked(spec, job.workspace)
    config = config_for(spec, facts) if spec.base is None else base_checkpoint(spec, job).info["model"]
    job.events.stage("estimate", f"{spec.preset} on {machine.name}; {facts.source}")
    memory = memory_of(spec, config, facts, machine)
    parameters = parameter_count(config, lora_settings(spec))
    disk = disk_for(spec, parameters, facts, job.workspace)
    pace, measured = _pace(spec, config, facts, machine, memory, job)
    time = (
        None if pace is None else TimePart(**asdict(pace), **asdict(duration_of(spec, facts, pace)), epochs=spec.epochs)
    )
    return Estimated(
        model=ModelPart(preset=spec.preset, parameters=parameters, arithmetic=machine.arithmetic),
        machine=MachinePart(name=machine.name, memory_bytes=machine.memory_bytes, is_here=machine.is_here),
        data=facts,
        memory=MemoryPart(**memory.by_part(), batch_size=spec.batch_size, measured_bytes=measured),
        disk=DiskPart(**asdict(disk), checkpoints=disk.checkpoints),
        time=time,
        fits=Fits(memory=memory.peak <= machine.memory_bytes, disk=disk.fits),
        largest_batch=largest_batch(spec, config, facts, machine),
        advice=(*memory_advice(spec, config, facts, machine, memory), *disk_advice(disk)),
    )


def _pace(
    spec: EstimateSpec, config: Mapping[str, Any], facts: DataFacts, machine: Machine, memory: StepMemory, job: Job
) -> tuple[Pace | None, int | None]:
    """How fast steps go, and the memory that was measured on the way; None for what cannot be said."""
    flops = flops_per_clip(dict(config))
    has_data = facts.is_preprocessed or spec.base is None  # which takes data of its own encoders
    if machine.is_here and spec.probe and has_data and memory.peak <= machine.memory_bytes:
        return _probed(spec, flops, facts, machine, memory, job)
    if machine.gpu is not None:
        return pace_of_table(spec, flops, machine.gpu, machine.arithmetic, ASSUMED_MFU), None
    return (_pace_of_products(spec, flops, machine), None) if machine.device == "cpu" else (None, None)


def _pace_of_products(spec: TrainSpec, flops: float, machine: Machine) -> Pace:
    rate = matrix_product_rate(torch.device(machine.device), machine.dtype)
    clips = spec.batch_size * spec.gradient_accumulation
    source = f"this machine's matrix products, {rate / 1e9:.0f} GFLOP/s, of which {CPU_SHARE:.0%} is assumed"
    return Pace(clips * flops / (rate * CPU_SHARE), clips, source, is_measured=False)


def _probed(
    spec: EstimateSpec, flops: float, facts: DataFacts, machine: Machine, memory: StepMemory, job: Job
) -> tuple[Pace, int | None]:
    """Real steps: of the size that was asked for, or of one clip, or none, as the time for them allows."""
    expected = _pace_of_products(spec, flops, machine)
    clips = spec.batch_size * spec.gradient_accumulation
    taken: TrainSpec = spec
    if (WARM_UP + STEPS) * expected.step_s > spec.probe_seconds:
        taken = spec.model_copy(update={"batch_size": 1, "gradient_accumulation": 1})
        if (WARM_UP + STEPS) * expected.step_s / clips > spec.probe_seconds:
            return expected, None
    on = "the data's clips" if facts.is_preprocessed else "random clips of that shape"
    job.events.stage("probe", f"{STEPS} steps on {on}")
    found = probe(taken, facts, job)
    of = "" if found.clips == clips else f" of one clip each, times {clips}"
    pace = Pace(found.step_s * clips / found.clips, clips, f"{STEPS} steps measured here{of}", is_measured=True)
    is_whole = found.clips == clips and found.peak_bytes is not None
    return pace, (found.peak_bytes or 0) + memory.framework if is_whole else None
