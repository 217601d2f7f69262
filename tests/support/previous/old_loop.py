"""The old system's folders of latents and text, and what its loop would have drawn for a step of ours."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from t2v_core.data.legacy.import_text import padded_null_prompt
from t2v_core.data.store.batches import BatchPlan, generator_for, load_batch
from t2v_core.data.store.latents import LatentStore
from t2v_core.models.encoders import load_prompt_encoder
from t2v_core.workspace import Dataset


def save_old_data(folder: Path, *, clips: int) -> None:
    """`latents/` and `text_embeddings/` with random values."""
    for name, shape in (("latents", (16, 4, 32, 32)), ("text_embeddings", (1, 77, 512))):
        (folder / name).mkdir(parents=True)
        for number in range(clips):
            values = torch.randn(shape, generator=torch.Generator().manual_seed(number))
            torch.save(values, folder / name / f"video{number}.pt")


def begin_texts_as_clip(folder: Path, clip: Path) -> None:
    """Give each text the first row that a causal encoder gives every prompt."""
    start_row = padded_null_prompt(load_prompt_encoder(str(clip))).tokens[0]
    for path in (folder / "text_embeddings").glob("*.pt"):
        old = torch.load(path, weights_only=True)
        old[0, 0] = start_row
        torch.save(old, path)


def micro_batches(
    data: Path, *, step: int, batch_size: int, accumulation: int = 4
) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Return (latents, text, noise, timesteps) of each micro-batch of the step after `step`, as training draws them."""
    store = LatentStore.open(Dataset(data), "train")
    plan = BatchPlan(range(len(store)), batch_size, accumulation, 1, seed=0)
    drawn = []
    for micro in range(accumulation):
        batch = load_batch(store, plan.rows(step, micro), 0, plan.epoch_of(step))
        generator = generator_for(0, "noise", step, micro, 0)
        noise = torch.randn(batch.latents.shape, generator=generator)
        timesteps = torch.randint(1000, (len(noise),), generator=generator)
        assert batch.prompts.tokens.shape[1] == 77
        drawn.append((batch.latents, batch.prompts.tokens, noise, timesteps))
    return drawn
