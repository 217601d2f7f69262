"""What a training reads: the data set's folder, or one in a bucket; and in which order."""

from __future__ import annotations

from dataclasses import replace

from t2v_core.data.bucket.ahead import Ahead
from t2v_core.data.bucket.store import BucketStore, ahead_of, at_once_for
from t2v_core.data.store.batches import BatchPlan
from t2v_core.data.store.footprint import data_facts, facts_of_store
from t2v_core.data.store.latents import LatentStore
from t2v_core.data.store.mixed_plan import MixedPlan
from t2v_core.errors import InvalidRequest
from t2v_core.events.estimated import DataFacts
from t2v_core.format import size
from t2v_core.job import Job
from t2v_core.memory import free_memory_bytes
from t2v_core.specs import EstimateSpec, TrainSpec
from t2v_core.workspace import Dataset, Workspace

# Latents up to this share of the free memory are held in it.
MEMORY_SHARE = 0.5


def open_store(spec: TrainSpec, workspace: Workspace) -> LatentStore:
    """Open what training reads. Raises InvalidRequest when it is not, or not wholly, preprocessed."""
    is_wanted = spec.latents_in_memory == "yes"
    if spec.latents is not None:
        cache = workspace.resolve(spec.latents_cache)
        return BucketStore.at(spec.latents, "train", cache, spec.latents_cache_gb, in_memory=is_wanted)
    dataset = Dataset(workspace.resolve(spec.data))
    store = LatentStore.open(dataset, "train")
    fits = store.size_bytes < MEMORY_SHARE * free_memory_bytes()
    if is_wanted or (spec.latents_in_memory == "auto" and fits):
        store = LatentStore.open(dataset, "train", in_memory=True)
    return store


def in_reading_order(plan: BatchPlan, store: LatentStore, begun_with: int | None, job: Job) -> BatchPlan:
    """Return the plan with the shards that are shuffled together.

    begun_with: how many those were when the run began, which stays; None for one that begins
    """
    at_once, whole_bytes = begun_with, store.size_bytes
    if isinstance(store, BucketStore):
        whole_bytes, fitting = store.size_to_read_bytes, at_once_for(store, plan.clips)
        at_once = fitting if begun_with is None else begun_with
        if fitting and not 0 < at_once <= fitting:
            job.events.warning(
                f"this run shuffles the clips of {at_once or 'all'} shards together, and the cache holds "
                f"{2 * fitting} of them: shards come again and again",
                hint=f"--latents-cache-gb {store.size_to_read_bytes / 1e9:.3g} holds all",
            )
    if at_once and isinstance(plan, MixedPlan):
        raise InvalidRequest(
            "clips of several sizes and lengths are shuffled all together, and the cache does not hold them",
            hint=f"--latents-cache-gb {1.01 * whole_bytes / 1e9:.3g}, or train from the data set's folder (--data)",
        )
    return replace(plan, at_once=at_once, groups=store.by_shard(plan.clips)) if at_once else plan


def ahead_for(plan: BatchPlan, store: LatentStore, job: Job) -> Ahead | None:
    """Return what fetches the shards that come next; None where all are here. Says where they come from."""
    if not isinstance(store, BucketStore):
        return None
    cache, whole = store.cache, size(store.size_to_read_bytes)
    order = f"clips of {plan.at_once} shards are shuffled together, each comes once an epoch" if plan.at_once else ""
    said = f"{whole} from {store.source}, through {job.workspace.relative(cache.folder)} ({size(cache.limit_bytes)})"
    job.events.stage("latents", f"{said}; {order}" if order else said)
    return ahead_of(store, plan)


def facts_of(store: LatentStore, spec: TrainSpec, workspace: Workspace) -> DataFacts:
    """Return what the store is to a training."""
    facts = facts_of_store(store, Dataset(workspace.resolve(spec.data)))
    if not isinstance(store, BucketStore):
        return facts
    source = f"{len(store):,} preprocessed clips of {store.source}"
    return replace(facts, latents_bytes=store.latents_bytes, text_bytes=store.text_bytes, source=source)


def facts_asked(spec: EstimateSpec, workspace: Workspace) -> DataFacts:
    """Return what the data is to a training, or would be where it is not preprocessed yet."""
    if spec.latents is not None:
        return facts_of(open_store(spec, workspace), spec, workspace)
    return data_facts(Dataset(workspace.resolve(spec.data)), frames=spec.frames, size=spec.size)
