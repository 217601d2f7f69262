"""What `--buckets` of preprocess and estimate asks for, as the family takes it."""

from __future__ import annotations

from t2v_core.data.store.buckets import Bucket, read_buckets
from t2v_core.errors import InvalidRequest
from t2v_core.models.open.base import OpenModel
from t2v_core.settings import flag_name
from t2v_core.specs import EstimateSpec, PreprocessSpec

AUTO = "auto"
ELSEWHERE = ("frames", "size", "height", "width")


def buckets_asked(spec: PreprocessSpec | EstimateSpec, model: OpenModel) -> tuple[Bucket, ...]:
    """Return the buckets of a spec that asks for some.

    Raises InvalidRequest for one that the family cannot take, with the nearest that it can, and beside another size or
    length.
    """
    assert spec.buckets is not None
    if said := [name for name in ELSEWHERE if name in spec.model_fields_set]:
        raise InvalidRequest(
            f"--buckets names every size and length, and {flag_name(said[0])} another one",
            hint=f"leave {flag_name(said[0])} out, or --buckets",
        )
    if spec.buckets.strip() == AUTO:
        return _usual_buckets(model)
    buckets = read_buckets(spec.buckets)
    for bucket in buckets:
        if (nearest := _nearest(bucket, model)) != bucket:
            raise InvalidRequest(
                f"--buckets: {model.name} cannot take {bucket.name}; its frames are {model.ratios[0]} times any "
                f"number, and 1, and its sides multiples of {model.side_step}",
                hint=f"use {nearest.name}",
            )
    return buckets


def _nearest(bucket: Bucket, model: OpenModel) -> Bucket:
    return Bucket(model.frames_near(bucket.frames), model.side_near(bucket.height), model.side_near(bucket.width))


def _usual_buckets(model: OpenModel) -> tuple[Bucket, ...]:
    """The makers' size lying, standing and square, with as many pixels, each at their length and at half of it."""
    usual = model.usual
    rows, columns = usual.size
    side = (rows * columns) ** 0.5
    sizes = [(rows, columns), (columns, rows), (model.side_near(side), model.side_near(side))]
    lengths = {usual.frames, model.frames_near((usual.frames + 1) // 2)}
    found = {Bucket(frames, height, width) for height, width in sizes for frames in lengths}
    return read_buckets(",".join(bucket.name for bucket in found))
