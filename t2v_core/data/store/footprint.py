"""What a data set is to a training: how many clips of which shape, and how much disk they take."""

from __future__ import annotations

from math import prod
from pathlib import Path

from t2v_core.data.annotations.msrvtt import join_annotations
from t2v_core.data.store.latents import LatentStore
from t2v_core.errors import InvalidRequest
from t2v_core.events.estimated import DataFacts, ShapeShare
from t2v_core.workspace import Dataset

# MSR-VTT as most train on it: train_9k and test_1k, with twenty captions a training clip.
MSRVTT_CLIPS, MSRVTT_TEST_CLIPS, MSRVTT_CAPTIONS = 9_000, 1_000, 20
# What preprocessing makes by default: SD's VAE has 4 channels at an eighth of the size, CLIP ViT-B/32 is 512 wide.
CHANNELS, DOWNSAMPLING, TEXT_DIM, POOLED_DIM, NULL_LENGTH = 4, 8, 512, 512, 2
HALF_BYTES = 2  # both are stored in fp16
CAPTION_TOKENS = 16  # of an MSR-VTT caption, with start and end


def data_facts(dataset: Dataset, *, frames: int, size: int) -> DataFacts:
    """Look at a data set.

    frames, size: of clips that are not preprocessed yet, in pixels
    """
    try:
        return facts_of_store(LatentStore.open(dataset, "train"), dataset)
    except InvalidRequest:
        return _expected(dataset, frames, size)


def facts_of_store(store: LatentStore, dataset: Dataset) -> DataFacts:
    """Return the facts of what preprocessing made."""
    shares = tuple(ShapeShare(shape=_four(shape), clips=count) for shape, count in sorted(store.shapes.items()))
    several = f" in {len(shares)} buckets" if len(shares) > 1 else ""
    return DataFacts(
        clips=len(store),
        shape=max((share.shape for share in shares), key=prod),
        text_dim=store.null_prompt.tokens.shape[1],
        pooled_dim=store.null_prompt.pooled.numel(),
        null_length=len(store.null_prompt.tokens),
        latents_bytes=folder_bytes(dataset.latents),
        text_bytes=folder_bytes(dataset.text_embeddings),
        is_preprocessed=True,
        source=f"{len(store):,} preprocessed clips of {dataset.root}{several}",
        shares=shares if several else (),
    )


def _four(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    frames, channels, height, width = shape
    return frames, channels, height, width


def _expected(dataset: Dataset, frames: int, size: int) -> DataFacts:
    """What preprocessing will make of annotated clips; of MSR-VTT when there are none."""
    shape = (frames, CHANNELS, size // DOWNSAMPLING, size // DOWNSAMPLING)
    try:
        train = join_annotations(dataset, "train").clips
    except InvalidRequest:
        clips, captions = MSRVTT_CLIPS, MSRVTT_CLIPS * MSRVTT_CAPTIONS + MSRVTT_TEST_CLIPS
        in_all = clips + MSRVTT_TEST_CLIPS
        source = f"no data at {dataset.root}: estimated for MSR-VTT's {clips:,} clips"
    else:
        clips, captions = len(train), sum(len(clip.captions) for clip in train)
        in_all = clips
        source = f"{clips:,} annotated clips of {dataset.root}, not preprocessed yet"
    return DataFacts(
        clips=clips,
        shape=shape,
        text_dim=TEXT_DIM,
        pooled_dim=POOLED_DIM,
        null_length=NULL_LENGTH,
        latents_bytes=in_all * prod(shape) * HALF_BYTES,
        text_bytes=captions * (CAPTION_TOKENS * TEXT_DIM + POOLED_DIM) * HALF_BYTES,
        is_preprocessed=False,
        source=source,
    )


def folder_bytes(folder: Path) -> int:
    """Add up the sizes of all files in a folder; 0 when there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
