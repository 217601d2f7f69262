"""Loads the encoders and takes every split through both of them, alone or with the other processes of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeAlias

from t2v_core.data.annotations.msrvtt import Annotations
from t2v_core.data.encode.encode_captions import CaptionEncoder
from t2v_core.data.encode.encode_clips import ClipEncoder, clip_buckets
from t2v_core.data.encode.latent_set import LatentSet
from t2v_core.data.encode.text_set import TextSet
from t2v_core.data.quarantine import Quarantine
from t2v_core.data.store.shard_plan import SplitPlan
from t2v_core.data.store.shared_shards import SharedShards
from t2v_core.disk.files import MANIFEST
from t2v_core.errors import WorkFailed
from t2v_core.job import Job
from t2v_core.models.encoders import PromptEncoder, VideoAutoencoder, load_prompt_encoder, load_vae
from t2v_core.processes.process_group import ProcessGroup
from t2v_core.specs import PreprocessSpec
from t2v_core.workspace import Dataset

if TYPE_CHECKING:  # diffusers' families, which ours need not
    from t2v_core.models.open.encoders import OpenPromptEncoder, OpenVae

Encoders: TypeAlias = "tuple[VideoAutoencoder, PromptEncoder] | tuple[OpenVae, OpenPromptEncoder]"


def own_encoders(spec: PreprocessSpec, group: ProcessGroup) -> Encoders:
    """Load the VAE and the CLIP that a spec names. Raises InvalidRequest when one cannot be loaded."""
    device = group.device(spec.device)
    vae = load_vae(spec.vae, device=device, precision=spec.precision)
    return vae, load_prompt_encoder(spec.text_encoder, device=device, precision=spec.precision)


def encode_splits(
    spec: PreprocessSpec, encoders: Encoders, splits: list[Annotations], group: ProcessGroup, job: Job
) -> int:
    """Encode latents and text of every split; return how many clips were there already.

    The first process says what is to be made, and seals it when it is; what lies between, all do together.
    Raises InvalidRequest for a size or a length that the VAE cannot take, before any work; WorkFailed when no clip can
    be used; Stopped.
    """
    vae, text_encoder = encoders
    for bucket in clip_buckets(spec, vae).values():
        vae.clip_shape(bucket.frames, bucket.size)
    dataset = Dataset(job.workspace.resolve(spec.data))
    quarantine = Quarantine(dataset.quarantine)
    latents: list[LatentSet] = []
    texts: list[TextSet] = []
    if group.is_first:
        latents = [LatentSet(spec, vae, dataset, part, quarantine=quarantine, job=job) for part in splits]
        texts = [TextSet(spec, text_encoder, dataset, part, job) for part in splits]
    plans = _shared_plans([*latents, *texts], group)
    latent_plans, text_plans = plans[: len(splits)], plans[len(splits) :]

    def encode_clips() -> None:
        _encode([ClipEncoder(spec, vae, dataset, part) for part in splits], latent_plans, latents, group)
        if group.is_first:
            _require_usable_clips(splits, dataset, quarantine, job)

    def encode_captions() -> None:
        _encode([CaptionEncoder(spec, text_encoder, dataset, part) for part in splits], text_plans, texts, group)

    if isinstance(text_encoder, PromptEncoder):
        encode_clips()
        encode_captions()
    else:  # gigabytes, which are let go before the VAE comes
        encode_captions()
        text_encoder.forget()
        encode_clips()
    return sum(plan.ready for plan in latent_plans)


def _shared_plans(sets: Sequence[LatentSet | TextSet], group: ProcessGroup) -> list[SplitPlan]:
    """The plans that the first process makes, in every process."""
    if group.is_first:
        group.publish("plans", [asdict(one.plan()) for one in sets])
    return [SplitPlan.from_json(plan) for plan in group.published("plans")]


def _encode(
    encoders: Sequence[ClipEncoder | CaptionEncoder],
    plans: list[SplitPlan],
    sets: Sequence[LatentSet | TextSet],
    group: ProcessGroup,
) -> None:
    """Take every split through its encoder; the first process, who has the `sets`, waits for all and seals them."""
    for number, (encoder, plan) in enumerate(zip(encoders, plans, strict=True)):
        own = sets[number] if sets else None
        on_report = own.set_aside if isinstance(own, LatentSet) else None
        work = SharedShards(encoder.name, encoder.unit, plan, group, on_report)
        work.begin()
        encoder.encode(work)
        if own is not None:
            work.wait()
            own.seal()


def _require_usable_clips(splits: list[Annotations], dataset: Dataset, quarantine: Quarantine, job: Job) -> None:
    unusable = [part for part in splits if not (dataset.latents / part.split / MANIFEST).is_file()]
    if len(unusable) == len(splits):
        ids = [clip.video_id for part in splits for clip in part.clips]
        raise WorkFailed(
            f"none of {len(ids)} clips can be used; {ids[0]}: {quarantine.entries[ids[0]].detail}",
            hint=f"every reason is in {job.workspace.relative(dataset.quarantine)}",
        )
    for part in unusable:
        job.events.warning(f"no clip of {part.split} can be used", hint=f"see {dataset.quarantine.name}")
