"""Reading from the latent store: one caption without its siblings, and more shards than a process may hold open."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.engine.training_set import CLIPS, data_set

from t2v_core.data.store import latents
from t2v_core.data.store.batches import BatchPlan, load_batch
from t2v_core.data.store.latents import LatentStore
from t2v_core.workspace import Dataset


def open_store() -> LatentStore:
    return LatentStore.open(Dataset(data_set()), "train")


@pytest.fixture
def store() -> LatentStore:
    return open_store()


def open_shards() -> int:
    """Files of the data set that this process holds open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(str(data_set()) in str(link.readlink()) for link in links)


def test_one_caption_is_what_it_is_among_all(store: LatentStore) -> None:
    for index in range(CLIPS):
        every = store.captions(index)
        assert store.caption_count(index) == len(every) == len(store.texts(index))
        for which, expected in enumerate(every):
            one = store.caption(index, which)
            assert torch.equal(one.tokens, expected.tokens)
            assert torch.equal(one.pooled, expected.pooled)
            assert one.is_truncated == expected.is_truncated


def test_what_is_said_of_a_clip_is_found_by_its_place(store: LatentStore) -> None:
    assert [store.clip(index)["video_id"] for index in range(CLIPS)] == store.video_ids


def test_with_too_few_open_files_it_reads_the_same_and_holds_none(
    store: LatentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = BatchPlan(range(CLIPS), 8, 1, 1, seed=3).rows(1, 0)
    expected = load_batch(store, rows, 0, 0)
    before = open_shards()
    monkeypatch.setattr(latents, "_spare_descriptors", lambda: 0)
    batch = load_batch(open_store(), rows, 0, 0)
    assert before > 0
    assert open_shards() == before
    assert torch.equal(batch.latents, expected.latents)
    assert torch.equal(batch.prompts.tokens, expected.prompts.tokens)
