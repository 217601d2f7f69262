"""CLIP as a judge: how well a clip and a caption fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL.Image import Resampling
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from t2v_core import embedded
from t2v_core.models.encoders import CLIP_FILES, not_a_model
from t2v_core.models.finite import require_finite
from t2v_core.models.loading import UNLOADABLE, EncoderIdentity, find_model, identity, pick_device, quiet
from t2v_core.models.storyboard import storyboards


class ClipScorer:
    """Both towers of a CLIP.

    storyboard: tiles on a side of the picture that stands for a clip; 0 scores every frame by itself and averages
    """

    def __init__(
        self, model: CLIPModel, tokenizer: CLIPTokenizer, processor: CLIPImageProcessorPil, source: EncoderIdentity
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer, self.processor, self.identity = tokenizer, processor, source
        config: Any = model.config
        self.storyboard: int = getattr(config, "storyboard", 0)

    @torch.no_grad()
    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        """Return (n, projection) unit vectors, one a caption."""
        tokens = self.tokenizer(list(captions), padding=True, truncation=True, return_tensors="pt").to(
            self.model.device
        )
        return self._unit(self.model.get_text_features(**tokens).pooler_output)

    @torch.no_grad()
    def embed_clip(self, frames: Tensor) -> Tensor:
        """Return (images, projection) unit vectors of one clip: one of its storyboard, or one a frame.

        frames: (frames, height, width, 3) uint8
        """
        images = storyboards(frames[None], self.storyboard) if self.storyboard else frames
        pixels = self.processor(list(images.numpy()), return_tensors="pt")["pixel_values"].to(self.model.device)
        return self._unit(self.model.get_image_features(pixel_values=pixels).pooler_output)

    def _unit(self, embeddings: Tensor) -> Tensor:
        """(n, projection) made as long as 1, on the CPU. Raises NotFinite: no score can be made of a NaN."""
        require_finite(embeddings, f"the CLIP {self.identity.source}", "name another one: --scorer")
        return functional.normalize(embeddings.float().cpu(), dim=-1)

    @property
    def stamp(self) -> dict[str, str]:
        """Return what somebody else needs to compute the same score: weights, pictures, and how they were resized."""
        size, crop = self.processor.size, self.processor.crop_size if self.processor.do_center_crop else None
        how = f"{_in_words(size)}, {Resampling(self.processor.resample).name.lower()}"
        return {
            "model": self.identity.source,
            "sha256": self.identity.sha256[:16],
            "images": self.protocol,
            "resize": how + (f", centre {_in_words(crop)}" if crop else ""),
        }

    @property
    def protocol(self) -> str:
        """Say what stands for a clip, for the stamp on a score."""
        tiles = self.storyboard
        return f"{tiles}×{tiles} storyboard" if tiles else "mean over frames"


def _in_words(size: Any) -> str:
    """`shortest edge 224`, or `224×224`."""
    shortest = size.get("shortest_edge") if hasattr(size, "get") else None
    return f"shortest edge {shortest}" if shortest else f"{size['height']}×{size['width']}"


def load_clip_scorer(source: str, *, device: str = "cpu") -> ClipScorer:
    """Load a whole CLIP from a hub id, a folder or `embedded`. Raises InvalidRequest as the encoders do."""
    folder = find_model(source, embedded=embedded.CLIP, files=CLIP_FILES, what="CLIP")
    try:
        with quiet():
            model = CLIPModel.from_pretrained(folder, local_files_only=True)
            tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
            processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
    except UNLOADABLE as error:
        raise not_a_model("CLIP", folder, error) from error
    return ClipScorer(model.to(pick_device(device)), tokenizer, processor, identity(source, folder))
