"""`t2v estimate --model`: will an open model make a video, or learn, here or on which card, and with which flags?"""

from __future__ import annotations

from dataclasses import asdict, replace
from math import prod

import torch

from t2v_core.data.store.footprint import data_facts
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
from t2v_core.events.open_estimated import Card, OpenEstimated, OpenPart, Way
from t2v_core.job import Job
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.denoiser import flops_of
from t2v_core.models.open.families import open_model
from t2v_core.models.open.finding import find_open_model
from t2v_core.models.open.licence import licence_of
from t2v_core.models.open.memory.footprint import footprint
from t2v_core.models.open.memory.placing import SHARE, ways_of
from t2v_core.models.open.parts import Placing
from t2v_core.specs import EstimateSpec
from t2v_core.training.base.base import lora_settings
from t2v_core.training.base.open import suited_to_open
from t2v_core.training.forecast.forecast import (
    LARGEST_BATCH,
    Machine,
    duration_of,
    other_machine,
    pace_of_table,
    this_machine,
)
from t2v_core.training.forecast.gpus import ASSUMED_MFU, find_gpu
from t2v_core.training.forecast.open_memory import open_advice, open_memory_of, trained_parameters
from t2v_core.training.preflight import disk_advice, disk_for
from t2v_core.workspace import Dataset

ARITHMETIC = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
CARDS_BYTES = (24 * 10**9, 40 * 10**9, 80 * 10**9)


def estimate_open(spec: EstimateSpec, job: Job) -> OpenEstimated:
    """Reckon the memory of one video from the model's configurations; no weights are needed, nor loaded.

    Raises InvalidRequest for a model that cannot be had, or a size or length that it cannot make.
    """
    model, machine = _found(spec)
    dtype, folder = model.dtype, model.parts.folder
    frames, height, width = _shape_asked(spec, model)
    job.events.stage("estimate", f"{spec.model} on {machine.name}; {frames} frames of {width}×{height}")
    need = footprint(model, frames, height, width)
    ways = tuple(
        Way(offload=way.offload, vae_tiling=way.is_tiled, quantize=way.quantize, peak_bytes=way.peak(need))
        for way in ways_of()
    )
    return OpenEstimated(
        model=str(spec.model),
        family=model.name,
        licence=licence_of(folder, model.licence).name,
        arithmetic=ARITHMETIC[dtype],
        frames=frames,
        height=height,
        width=width,
        parts=tuple(
            OpenPart(name=name, parameters=model.parts.count(name), weights_bytes=size)
            for name, size in need.weights.items()
        ),
        sampling_bytes=need.sampling,
        decoding_bytes=need.decoding,
        tiled_bytes=need.tiled,
        ways=ways,
        machine=MachinePart(name=machine.name, memory_bytes=machine.memory_bytes, is_here=machine.is_here),
        here=_card(ways, machine.memory_bytes),
        cards=tuple(_card(ways, size) for size in CARDS_BYTES),
    )


def _card(ways: tuple[Way, ...], memory_bytes: int) -> Card:
    fitting = (way for way in ways if way.peak_bytes <= memory_bytes * SHARE)
    return Card(memory_bytes=memory_bytes, way=next(fitting, None))


def estimate_open_training(spec: EstimateSpec, job: Job) -> Estimated:
    """Reckon the training of an adapter from the model's configurations; no weights are needed, nor loaded.

    Raises InvalidRequest for a model that cannot be had.
    """
    model, machine = _found(spec)
    spec = suited_to_open(spec, model, job.events.warning)
    machine = replace(machine, dtype=model.dtype)
    facts = _facts(spec, model, Dataset(job.workspace.resolve(spec.data)))
    job.events.stage("estimate", f"a LoRA of {spec.model} on {machine.name}; {facts.source}")
    memory = open_memory_of(spec, model, facts, machine)
    parameters = trained_parameters(model, lora_settings(spec))
    disk = disk_for(spec, parameters, facts, job.workspace)
    flops = flops_of(model, facts.shape)
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


def _found(spec: EstimateSpec) -> tuple[OpenModel, Machine]:
    """The model without weights, in the arithmetic that it would have there."""
    assert spec.model is not None
    folder = find_open_model(spec.model, weights=False)
    machine = this_machine(spec) if spec.gpu is None else other_machine(find_gpu(spec.gpu), spec)
    # As `generate` has it: most families are black in fp16, and `auto` is then fp32.
    dtype = torch.float32 if spec.precision == "auto" and machine.dtype is torch.float16 else machine.dtype
    return open_model(folder, Placing(torch.device(machine.device), dtype), weights=False), machine


def _shape_asked(spec: EstimateSpec, model: OpenModel) -> tuple[int, int, int]:
    """Frames, height and width; the makers' where nothing was said."""
    rows, columns = model.usual.size
    frames = spec.frames if "frames" in spec.model_fields_set else model.usual.frames
    height, width = spec.height or rows, spec.width or columns
    model.require_shape(frames, height, width)
    return frames, height, width


def _facts(spec: EstimateSpec, model: OpenModel, dataset: Dataset) -> DataFacts:
    """The data set as it was made for the model, else as it would be."""
    facts = data_facts(dataset, frames=spec.frames, size=spec.size)
    shape = model.latent_shape(*_shape_asked(spec, model))
    if facts.is_preprocessed and (facts.shape[1], facts.text_dim) == (shape[1], model.text_width):
        return facts
    latents = facts.latents_bytes * prod(shape) // prod(facts.shape)
    text = facts.text_bytes * model.text_width // facts.text_dim
    return replace(
        facts,
        shape=shape,
        text_dim=model.text_width,
        pooled_dim=model.pooled_width,
        latents_bytes=latents,
        text_bytes=text,
        is_preprocessed=False,
        source=facts.source.removesuffix(", not preprocessed yet") + ", not preprocessed for this model yet",
    )


def _largest_batch(spec: EstimateSpec, model: OpenModel, facts: DataFacts, machine: Machine) -> int:
    one, two = (open_memory_of(spec.model_copy(update={"batch_size": n}), model, facts, machine).peak for n in (1, 2))
    if one > machine.memory_bytes:
        return 0
    return min(LARGEST_BATCH, 1 + (machine.memory_bytes - one) // max(1, two - one))
