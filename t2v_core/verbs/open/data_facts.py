"""What a data set is to the training of an open model: as it was made for that, or as it would be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import prod

from t2v_core.data.annotations.msrvtt import join_annotations
from t2v_core.data.store.buckets import Bucket, bucket_for
from t2v_core.errors import InvalidRequest
from t2v_core.events.estimated import DataFacts, ShapeShare
from t2v_core.models.open.base import OpenModel
from t2v_core.specs import EstimateSpec
from t2v_core.training.data import facts_asked
from t2v_core.verbs.open.buckets import buckets_asked
from t2v_core.verbs.open.estimate import shape_asked
from t2v_core.workspace import Dataset, Workspace

# Clips whose files are asked for their size and length, spread over the set: each takes some milliseconds.
LOOKED_AT = 64
# Where there is no data the estimate is for MSR-VTT's clips, which are so large and 10 s and longer.
MSRVTT_WIDTH, MSRVTT_HEIGHT, MSRVTT_FRAMES = 320, 240, 300


def facts_for(spec: EstimateSpec, model: OpenModel, workspace: Workspace) -> DataFacts:
    """Return the data set as it was made for the model; where it was not, as it would be in the size that is asked for.

    Raises InvalidRequest for a size that the model cannot take, and for buckets that no clip fills.
    """
    facts, largest = facts_asked(spec, workspace), model.latent_shape(*shape_asked(spec, model))
    buckets = () if spec.buckets is None else buckets_asked(spec, model)
    if _is_made_for(facts, model, buckets):
        return facts
    one = (ShapeShare(shape=largest, clips=facts.clips),)
    shares, looked_at = _placed(spec, model, buckets, facts.clips, workspace) if buckets else (one, 0)
    times = sum(map(_values, shares)) / max(1, sum(map(_values, shares_of(facts))))
    told = f", in {len(buckets)} buckets" + f" as {looked_at} of them are" * bool(looked_at) if buckets else ""
    return replace(
        facts,
        clips=sum(share.clips for share in shares),
        shape=largest,
        shares=shares if len(shares) > 1 else (),
        text_dim=model.text_width,
        pooled_dim=model.pooled_width,
        latents_bytes=int(facts.latents_bytes * times),
        text_bytes=facts.text_bytes * model.text_width // facts.text_dim,
        is_preprocessed=False,
        source=facts.source.removesuffix(", not preprocessed yet") + ", not preprocessed for this model yet" + told,
    )


def shares_of(facts: DataFacts) -> tuple[ShapeShare, ...]:
    """Return how many clips have latents of which shape, also where all have one."""
    return facts.shares or (ShapeShare(shape=facts.shape, clips=max(1, facts.clips)),)


def _values(share: ShapeShare) -> int:
    return share.clips * prod(share.shape)


def _is_made_for(facts: DataFacts, model: OpenModel, buckets: Sequence[Bucket]) -> bool:
    if not facts.is_preprocessed or (facts.shape[1], facts.text_dim) != (model.latent_channels, model.text_width):
        return False
    asked = {model.latent_shape(*bucket.shape) for bucket in buckets}
    return not asked or {share.shape for share in shares_of(facts)} <= asked


def _placed(
    spec: EstimateSpec, model: OpenModel, buckets: Sequence[Bucket], clips: int, workspace: Workspace
) -> tuple[tuple[ShapeShare, ...], int]:
    """How many clips would be in which bucket, as those are that were looked at, and how many that were."""
    named = {bucket.name: model.latent_shape(*bucket.shape) for bucket in buckets}
    try:
        every = join_annotations(Dataset(workspace.resolve(spec.data)), "train").clips
    except InvalidRequest:
        usual = bucket_for(buckets, MSRVTT_WIDTH, MSRVTT_HEIGHT, MSRVTT_FRAMES, spec.stride)
        return (ShapeShare(shape=named[usual.name], clips=clips),), 0
    seen = min(LOOKED_AT, len(every))
    some = [every[number * len(every) // seen] for number in range(seen)]
    from t2v_core.data.encode.bucketing import into_buckets  # decodes, which others need not

    with into_buckets(some, buckets, spec.stride) as placed:
        counts = Counter(where for _, where in placed if isinstance(where, str))
    if not counts:
        raise InvalidRequest(
            f"--buckets: none of {len(some)} clips that were looked at fills one of {', '.join(named)}",
            hint="name shorter ones, or a smaller --stride",
        )
    shares = (ShapeShare(shape=named[name], clips=round(clips * counts[name] / len(some))) for name in named)
    return tuple(share for share in shares if share.clips), len(some)
