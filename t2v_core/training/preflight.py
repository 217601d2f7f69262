"""What is said before every training: what it takes, and what to change when that is not there."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from t2v_core.assemble import OWN_FAMILY
from t2v_core.checkpoints.checkpoints import list_checkpoints
from t2v_core.data.store.footprint import folder_bytes
from t2v_core.events import StageEvent
from t2v_core.events.estimated import DataFacts
from t2v_core.events.fields import Json
from t2v_core.format import size
from t2v_core.job import Job
from t2v_core.machine import cores, total_memory_bytes
from t2v_core.models.denoisers.by_name import denoiser_config
from t2v_core.specs import TrainSpec
from t2v_core.training.base.base import lora_settings
from t2v_core.training.data import facts_of
from t2v_core.training.forecast.forecast import Disk, disk_of, largest_batch, memory_of
from t2v_core.training.forecast.machines import Machine, this_machine
from t2v_core.training.forecast.memory import StepMemory, parameter_count
from t2v_core.training.run import TrainingRun
from t2v_core.training.setup import model_config
from t2v_core.workspace import Workspace


def tell_before_training(run: TrainingRun, job: Job) -> None:
    """Say in one line what memory and disk a run takes, and warn of what is not there."""
    try:
        _tell(run, job)
    except Exception as error:  # noqa: BLE001 - a forecast that fails must not keep a run from its work
        job.events.warning(f"memory and disk cannot be estimated beforehand: {type(error).__name__}: {error}")


def _tell(run: TrainingRun, job: Job) -> None:
    found = _of_open(run, job) if run.base is not None and run.base.family != OWN_FAMILY else _of_own(run, job)
    memory, machine, disk, advice = found
    line = in_a_line(memory, disk, machine)
    job.events.emit(StageEvent("estimate", line, extra={"machine": described(machine)}))
    if memory.peak > machine.memory_bytes:
        there = size(max(0, machine.memory_bytes))
        job.events.warning(
            f"a step takes about {size(memory.peak)} of memory, and {machine.name} has {there}",
            hint=" or ".join(advice),
        )
    if not disk.fits:
        job.events.warning(
            f"checkpoints take up to {size(disk.checkpoints)} of disk, and {size(disk.free)} is free",
            hint=" or ".join(disk_advice(disk)),
        )


def described(machine: Machine) -> dict[str, Json]:
    """Return what somebody who reads of a run later wants to know of where it ran."""
    return {
        "device": machine.name, "arithmetic": machine.arithmetic, "cores": cores(),
        "memory_bytes": total_memory_bytes(), "system": platform.platform(), "python": platform.python_version(),
    }  # fmt: skip


Found = tuple[StepMemory, Machine, Disk, list[str]]


def _of_own(run: TrainingRun, job: Job) -> Found:
    spec = run.spec.model_copy(update={"processes": run.accelerator.num_processes})
    facts = facts_of(run.store, spec, job.workspace)
    config = config_for(spec, facts) if run.base is None else denoiser_config(run.base.model)
    parameters = parameter_count(config, lora_settings(spec))
    # A run holds weights and averages; an adapter's averages are of it alone.
    machine = this_machine(spec, built_parameters=(parameter_count(config) + parameters) // 2)
    memory = memory_of(spec, config, facts, machine)
    disk = disk_for(spec, parameters, facts, job.workspace)
    return memory, machine, disk, memory_advice(spec, config, facts, machine, memory)


def _of_open(run: TrainingRun, job: Job) -> Found:
    from t2v_core.training.forecast.open_memory import open_advice, open_memory_of, trained_parameters

    spec, model = run.spec, run.plain_model.model
    facts = facts_of(run.store, spec, job.workspace)
    machine = this_machine(spec)
    memory = open_memory_of(spec, model, facts, machine)
    disk = disk_for(spec, trained_parameters(model, lora_settings(spec)), facts, job.workspace)
    return memory, machine, disk, open_advice(spec, memory, machine)


def in_a_line(memory: StepMemory, disk: Disk, machine: Machine) -> str:
    """Return a line for people:

    `memory 5.3 GB at its peak (weights 749 MB, …), 22.1 GB there; checkpoints up to 12.0 GB, 79.3 GB free`
    """
    parts = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "Adam": memory.adam,
        "EMA": memory.ema,
        "activations": memory.activations,
    }
    listed = ", ".join(f"{name} {size(value)}" for name, value in parts.items())
    return (
        f"memory {size(memory.peak)} at its peak ({listed}), {size(machine.memory_bytes)} there; "
        f"checkpoints up to {size(disk.checkpoints)}, {size(disk.free)} free"
    )


def config_for(spec: TrainSpec, facts: DataFacts) -> dict[str, Any]:
    """Return the denoiser's configuration. Raises InvalidRequest when preset and data do not fit together."""
    return model_config(
        spec, facts.shape, null_length=facts.null_length, text_dim=facts.text_dim, pooled_dim=facts.pooled_dim
    )


def disk_for(spec: TrainSpec, parameters: int, facts: DataFacts, workspace: Workspace) -> Disk:
    """Reckon what the run takes on the workspace's disk; checkpoints that are there already will make room."""
    folder = workspace.resolve(spec.checkpoints)
    there = sum(folder_bytes(checkpoint.path) for checkpoint in list_checkpoints(folder))
    return disk_of(spec, parameters, facts, folder, there)


def memory_advice(
    spec: TrainSpec, config: Mapping[str, Any], facts: DataFacts, machine: Machine, memory: StepMemory
) -> list[str]:
    """Return what to change when a step does not fit into the memory; nothing when it does."""
    if memory.peak <= machine.memory_bytes:
        return []
    clips = spec.batch_size * spec.gradient_accumulation
    found = []
    for checkpointing in (False, True):
        if spec.gradient_checkpointing and not checkpointing:
            continue
        tried = spec.model_copy(update={"gradient_checkpointing": checkpointing})
        most = min(largest_batch(tried, config, facts, machine), spec.batch_size)
        most = next((size for size in range(most, 0, -1) if clips % size == 0), 0)
        if most:
            flag = " --gradient-checkpointing" if checkpointing and not spec.gradient_checkpointing else ""
            found.append(f"--batch-size {most} --gradient-accumulation {clips // most}{flag}")
    return found or ["a smaller --preset, fewer --frames or a smaller --size, or a GPU with more memory (--gpu)"]


def disk_advice(disk: Disk) -> list[str]:
    """Return what to change when the disk does not hold it; nothing when it does."""
    if disk.fits:
        return []
    saved = disk.checkpoints - min(disk.kept, 2) * disk.checkpoint
    if saved and disk.expected - saved <= disk.free:
        return ["--keep-last 1 --keep-best 0"]
    return [f"a workspace on a disk with {size(disk.expected)} free (--workspace)"]
