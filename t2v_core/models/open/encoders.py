"""The encoders of an open model as preprocessing has any: clips to latents, captions to embeddings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from t2v_core.models.loading import EncoderIdentity, identity
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.layout import TEXT
from t2v_core.models.text import TextEmbedding

# Prompts that are encoded together, each as long as the longest that the model reads.
BATCH_PROMPTS = 8


class OpenVae:
    """The VAE of an open model, for whole clips: it holds several frames in one of latents.

    source: the model, as it was asked for
    """

    def __init__(self, model: OpenModel, source: str) -> None:
        self.model = model
        self.identity = part_identity(model, source, ("vae",))

    def clip_shape(self, frames: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return (frames, channels, height, width) of a clip's latents. Raises InvalidRequest for what it cannot."""
        self.model.require_shape(frames, *size)
        return self.model.latent_shape(frames, *size)

    def encode_clips(self, frames: Tensor, *, clips: int, batch_frames: int) -> Tensor:
        """Encode (clips · n, height, width, 3) uint8 to (clips, frames, channels, h, w) float32, one by one."""
        return torch.stack([self.model.encode(clip) for clip in frames.chunk(clips)])

    def statistics(self) -> dict[str, Any]:
        """Say how latents were normalised, for a manifest."""
        return {"family": self.model.name}


class OpenPromptEncoder:
    """The text encoders of an open model; of its prompts only what counts is kept."""

    def __init__(self, model: OpenModel, source: str) -> None:
        self.model = model
        self.identity = part_identity(model, source, TEXT)
        self.family = model.name
        self.max_length, self.dim, self.pooled_dim = model.text_length, model.text_width, model.pooled_width

    def encode(self, prompts: Sequence[str]) -> list[TextEmbedding]:
        """Return one embedding a prompt; what lies beyond `max_length` tokens is cut off and said in `is_truncated`."""
        found: list[TextEmbedding] = []
        for begin in range(0, len(prompts), BATCH_PROMPTS):
            part = list(prompts[begin : begin + BATCH_PROMPTS])
            with torch.no_grad():
                encoded = self.model.unpadded(self.model.text(part))
            for prompt, one in zip(part, encoded, strict=True):
                is_truncated = self.model.count_tokens(prompt) > self.max_length
                found.append(TextEmbedding(one.tokens, one.pooled, is_truncated=is_truncated))
        return found

    def forget(self) -> None:
        """Let the text encoders go: they may be larger than all the rest."""
        self.model.parts.forget(*TEXT)


def part_identity(model: OpenModel, source: str, names: Sequence[str]) -> EncoderIdentity:
    """Hash weights and configurations of some parts of a model, in their order."""
    digest = hashlib.sha256(model.name.encode())
    for name in names:
        if name in model.parts.names:
            digest.update(identity(source, model.parts.folder / name).sha256.encode())
    return EncoderIdentity(source, digest.hexdigest())
