"""CLIP's scores as others compute them: from one set of embeddings, and equal to torchmetrics' on the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from t2v_core.models.scorer import load_clip_scorer
from t2v_core.scores.clip import clip_scales


def test_the_three_forms_of_one_set_of_cosines() -> None:
    """By hand: the second video has an image that CLIP finds opposite to its caption."""
    scales = clip_scales([torch.tensor([0.3, 0.1]), torch.tensor([0.2, -0.4])])
    assert scales == {"value": 0.05, "clipscore_2.5x": pytest.approx(2.5 * (0.2 + 0.1) / 2), "torchmetrics_100x": 5.0}


def test_only_torchmetrics_form_forgets_which_video_an_image_is_of() -> None:
    scales = clip_scales([torch.tensor([0.4]), torch.tensor([0.1, 0.1, 0.1])])
    assert scales == {"value": 0.25, "clipscore_2.5x": 0.625, "torchmetrics_100x": 17.5}


def test_below_zero_only_the_similarity_says_so() -> None:
    assert clip_scales([torch.tensor([-0.2])]) == {"value": -0.2, "clipscore_2.5x": 0.0, "torchmetrics_100x": 0.0}


def save_whole_clip(folder: Path) -> Path:
    """ViT-B/32 as OpenAI's has it, of random weights, with a tokenizer of single letters."""
    letters = [chr(code) for code in range(33, 127)]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer.from_pretrained(folder, model_max_length=77).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    config = CLIPConfig()
    config.text_config.vocab_size = len(pieces)
    config.text_config.bos_token_id, config.text_config.eos_token_id = len(pieces) - 2, len(pieces) - 1
    config.text_config.pad_token_id = len(pieces) - 1
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_equal_to_torchmetrics_on_the_same_weights(tmp_path: Path) -> None:
    multimodal = pytest.importorskip("torchmetrics.multimodal.clip_score", reason="pip install torchmetrics")
    folder = save_whole_clip(tmp_path / "clip")
    scorer = load_clip_scorer(str(folder))
    drawn = torch.Generator().manual_seed(1)
    videos = [torch.randint(0, 256, (4, 48, 64, 3), dtype=torch.uint8, generator=drawn) for _ in range(3)]
    captions = ["a dog runs in the grass", "a red circle", "two people talk"]
    ours = clip_scales([
        scorer.embed_clip(video) @ caption
        for video, caption in zip(videos, scorer.embed_captions(captions), strict=True)
    ])  # fmt: skip

    def loaded() -> tuple[Any, Any]:
        return Features(scorer.model), Processor(scorer)

    theirs = multimodal.CLIPScore(model_name_or_path=loaded)
    for video, caption in zip(videos, captions, strict=True):
        theirs.update(list(video.permute(0, 3, 1, 2)), [caption] * len(video))
    assert ours["torchmetrics_100x"] == pytest.approx(float(theirs.compute()), abs=1e-4)


class Features:
    """The model as transformers 4 has it, which torchmetrics 1.9 is written for: features, not what holds them."""

    def __init__(self, model: CLIPModel) -> None:
        self._model, self.config = model, model.config

    def to(self, device: torch.device) -> Features:
        return self

    def get_image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._model.get_image_features(pixel_values=pixels).pooler_output

    def get_text_features(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self._model.get_text_features(input_ids=tokens, attention_mask=mask).pooler_output


class Processor:
    """Transformers' two, joined as its CLIPProcessor joins them, which wants torchvision."""

    def __init__(self, scorer: Any) -> None:
        self._scorer = scorer
        self.tokenizer = scorer.tokenizer

    def __call__(self, text: Any = None, images: Any = None, **how: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if images is not None:
            pictures = [one.permute(1, 2, 0).numpy() for one in images]
            found |= self._scorer.processor(pictures, return_tensors="pt")
        if text is not None:
            found |= self._scorer.tokenizer(text, return_tensors="pt", padding=True)
        return found
