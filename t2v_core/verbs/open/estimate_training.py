"""`t2v estimate --lora --model`: will the training of an adapter of an open model fit, how long, how much?"""

from __future__ import annotations

from dataclasses import asdict, replace

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
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.denoiser import flops_of
from t2v_core.specs import EstimateSpec
from t2v_core.training.base.base import lora_settings
from t2v_core.training.base.open import suited_to_open
from t2v_core.training.forecast.forecast import LARGEST_BATCH, duration_of, pace_of_table
from t2v_core.training.forecast.gpus import ASSUMED_MFU
from t2v_core.training.forecast.machines import Machine
from t2v_core.training.forecast.open_memory import open_advice, open_memory_of, trained_parameters
from t2v_core.training.preflight import disk_advice, disk_for
from t2v_core.verbs.open.data_facts import facts_for, shares_of
from t2v_core.verbs.open.estimate import found_for


def estimate_open_training(spec: EstimateSpec, job: Job) -> Estimated:
    """Reckon the training of an adapter from the model's configurations; no weights are needed, nor loaded.

    Raises InvalidRequest for a model that cannot be had.
    """
    model, machine = found_for(spec)
    spec = suited_to_open(spec, model, job.events.warning)
    machine = replace(machine, dtype=model.dtype)
    facts = facts_for(spec, model, job.workspace)
    job.events.stage("estimate", f"a LoRA of {spec.model} on {machine.name}; {facts.source}")
    memory = open_memory_of(spec, model, facts, machine)
    parameters = trained_parameters(model, lora_settings(spec))
    disk = disk_for(spec, parameters, facts, job.workspace)
    flops = sum(share.clips * flops_of(model, share.shape) for share in shares_of(facts)) / max(1, facts.clips)
    time = None
    if machine.gpu is not None:
        pace = pace_of_table(spec, flops, machine.gpu, machine.arithmetic, ASSUMED_MFU)
        time = TimePart(**asdict(pace), **asdict(duration_of(spec, facts, pace)), epochs=spec.epochs)
    return Estimated(
        model=ModelPart(preset=f"LoRA of {spec.model}", parameters=parameters, arithmetic=machine.arithmetic),
        machine=MachinePart(name=machine.name, memory_bytes=machine.memory_bytes, is_here=machine.is_here),
        data=facts,
        memory=MemoryPart(**memory.by_part(), batch_size=spec.batch_size, measured_bytes=None),
        disk=DiskPart(**asdict(disk), checkpoints=disk.checkpoints),
        time=time,
        fits=Fits(memory=memory.peak <= machine.memory_bytes, disk=disk.fits),
        largest_batch=_largest_batch(spec, model, facts, machine),
        advice=(*open_advice(spec, memory, machine), *disk_advice(disk)),
    )


def _largest_batch(spec: EstimateSpec, model: OpenModel, facts: DataFacts, machine: Machine) -> int:
    one, two = (open_memory_of(spec.model_copy(update={"batch_size": n}), model, facts, machine).peak for n in (1, 2))
    if one > machine.memory_bytes:
        return 0
    return min(LARGEST_BATCH, 1 + (machine.memory_bytes - one) // max(1, two - one))
