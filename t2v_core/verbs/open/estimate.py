"""`t2v estimate --model`: will an open model make a video, here or on which card, and with which flags?"""

from __future__ import annotations

from math import prod

import torch

from t2v_core.events.estimated import MachinePart
from t2v_core.events.open_estimated import Card, OpenEstimated, OpenPart, Way
from t2v_core.job import Job
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.families import open_model
from t2v_core.models.open.finding import find_open_model
from t2v_core.models.open.licence import licence_of
from t2v_core.models.open.memory.footprint import count_of, footprint
from t2v_core.models.open.memory.placing import SHARE, ways_of
from t2v_core.models.open.parts import Placing
from t2v_core.specs import EstimateSpec
from t2v_core.training.forecast.gpus import find_gpu
from t2v_core.training.forecast.machines import Machine, other_machine, this_machine
from t2v_core.verbs.open.buckets import buckets_asked

ARITHMETIC = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
CARDS_BYTES = (24 * 10**9, 40 * 10**9, 80 * 10**9)


def estimate_open(spec: EstimateSpec, job: Job) -> OpenEstimated:
    """Reckon the memory of one video from the model's configurations; no weights are needed, nor loaded.

    Raises InvalidRequest for a model that cannot be had, or a size or length that it cannot make.
    """
    model, machine = found_for(spec)
    dtype, folder = model.dtype, model.parts.folder
    frames, height, width = shape_asked(spec, model)
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
            OpenPart(name=name, parameters=count_of(model, name), weights_bytes=size)
            for name, size in need.weights.items()
        ),
        sampling_bytes=need.sampling,
        decoding_bytes=need.decoding,
        tiled_bytes=need.tiled,
        ways=ways,
        machine=MachinePart(name=machine.name, memory_bytes=machine.memory_bytes, is_here=machine.is_here),
        here=card_of(ways, machine.memory_bytes),
        cards=tuple(card_of(ways, size) for size in CARDS_BYTES),
    )


def card_of(ways: tuple[Way, ...], memory_bytes: int) -> Card:
    """Return what a card of so much memory can do: the first way that fits."""
    fitting = (way for way in ways if way.peak_bytes <= memory_bytes * SHARE)
    return Card(memory_bytes=memory_bytes, way=next(fitting, None))


def found_for(spec: EstimateSpec) -> tuple[OpenModel, Machine]:
    """Return the model without weights, in the arithmetic that it would have on the machine, and that.

    Raises InvalidRequest for a model that cannot be had, and a GPU that is not in the table.
    """
    assert spec.model is not None
    folder = find_open_model(spec.model, weights=False)
    machine = this_machine(spec) if spec.gpu is None else other_machine(find_gpu(spec.gpu), spec)
    # As `generate` has it: most families are black in fp16, and `auto` is then fp32.
    dtype = torch.float32 if spec.precision == "auto" and machine.dtype is torch.float16 else machine.dtype
    return open_model(folder, Placing(torch.device(machine.device), dtype), weights=False), machine


def shape_asked(spec: EstimateSpec, model: OpenModel) -> tuple[int, int, int]:
    """Return frames, height and width: of the largest bucket, or the makers' where nothing was said.

    Raises InvalidRequest.
    """
    if spec.buckets is not None:
        shapes = sorted(bucket.shape for bucket in buckets_asked(spec, model))
        return max(shapes, key=lambda shape: prod(model.latent_shape(*shape)))
    rows, columns = model.usual.size
    frames = spec.frames if "frames" in spec.model_fields_set else model.usual.frames
    height, width = spec.height or rows, spec.width or columns
    model.require_shape(frames, height, width)
    return frames, height, width
