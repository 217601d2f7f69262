"""How the embedded CLIP was trained: `python -m t2v_core.recipes.make clip`.

One frame cannot show a motion, so the image tower reads a 2×2 storyboard of four frames, mixed with single frames whose
captions name no motion. Source of the loss: Radford et al. 2021, figure 3.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from t2v_core.data.shapes.shapes import CAPTION_FORMS, COLOURS, SHAPES, Scene, all_scenes
from t2v_core.models.storyboard import storyboards
from t2v_core.recipes.world import decoded_clips, held_out_clips, scenes_for

LEARNING_RATE = 1.5e-3
MAX_TOKENS = 32
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
FRAME_FORMS = ("a {colour} {shape}", "the {colour} {shape}", "{colour} {shape}", "a {shape} that is {colour}")


def make_tokenizer() -> CLIPTokenizer:
    """Make a byte-level BPE that knows the world's words whole and can spell every other one.

    BpeTrainer numbers its tokens differently in every run, so the ids are given out again in sorted order.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator([caption for scene in all_scenes() for caption in scene.captions()] * 3, trainer)
    merges = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    singles = [*alphabet, *(f"{symbol}</w>" for symbol in alphabet)]
    merged = sorted({a + b for a, b in merges} - set(singles))
    vocabulary = {token: number for number, token in enumerate([*singles, *merged, BOS, EOS])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def build(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Make an untrained CLIPModel: 0.66 M parameters, 64-pixel images, projections of 64."""
    tower = {"hidden_size": 96, "intermediate_size": 192, "num_attention_heads": 4, "projection_dim": 64}
    text = CLIPTextConfig(
        **tower,
        num_hidden_layers=2,
        vocab_size=len(tokenizer),
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(**tower, num_hidden_layers=3, image_size=64, patch_size=8)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=64)
    config.storyboard = 2
    return CLIPModel(config)


def train(output: Path, *, steps: int, clips: int, seed: int = 0) -> None:
    """Train on `clips` clips and save model, tokenizer and image processor to `output`."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    tokenizer = make_tokenizer()
    processor = CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    model = build(tokenizer)
    scenes, frames = scenes_for(clips), decoded_clips(clips, seed=seed)
    boards = normalised(storyboards(frames, 2), processor)
    fresh = held_out_clips(216)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    started = time.monotonic()
    for step in range(steps):
        images, captions = _batch(rng, scenes, boards, frames, processor)
        tokens = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
        loss = model(**tokens, pixel_values=images, return_loss=True).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            board, frame = retrieval(model, tokenizer, processor, fresh)
            seconds = time.monotonic() - started
            print(f"step {step + 1}/{steps}  loss {loss.item():.3f}  storyboards {board:.1%}  frames {frame:.1%}"
                  f"  {seconds:.0f} s", flush=True)  # fmt: skip
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    processor.save_pretrained(output)


def _batch(
    rng: np.random.Generator,
    scenes: list[Scene],
    boards: Tensor,
    frames: Tensor,
    processor: CLIPImageProcessorPil,
) -> tuple[Tensor, list[str]]:
    """72 storyboards and 18 single frames, every caption's meaning once, so that all others are true negatives."""
    combinations = len(all_scenes())
    turns = len(scenes) // combinations
    picked = rng.permutation(combinations)[:72] + combinations * rng.integers(0, turns, 72)
    captions = [str(rng.choice(scenes[i].captions())) for i in picked]
    singles = []
    for colour in COLOURS:
        for shape in SHAPES:
            same = [i for i, s in enumerate(scenes[:combinations]) if (s.colour, s.shape) == (colour, shape)]
            clip = rng.choice(same) + combinations * rng.integers(0, turns)
            singles.append(frames[clip, rng.integers(0, frames.shape[1])])
            captions.append(str(rng.choice(FRAME_FORMS)).format(colour=colour, shape=shape))
    return torch.cat([boards[picked], normalised(torch.stack(singles), processor)]), captions


def normalised(images: Tensor, processor: CLIPImageProcessorPil) -> Tensor:
    """Turn (n, 64, 64, 3) uint8 into (n, 3, 64, 64) as the image tower wants them."""
    mean, std = torch.tensor(processor.image_mean), torch.tensor(processor.image_std)
    return ((images.float() / 255 - mean) / std).movedim(-1, 1)


@torch.no_grad()
def retrieval(
    model: CLIPModel, tokenizer: CLIPTokenizer, processor: CLIPImageProcessorPil, clips: Tensor
) -> tuple[float, float]:
    """Return the share of clips whose own caption comes first: storyboards among 108, single frames among 18.

    clips: (n, frames, 64, 64, 3) uint8 that go through all scenes in turn
    """
    scenes = scenes_for(len(clips))
    captions = [scene.caption for scene in all_scenes()]
    hits = _nearest(model, tokenizer, normalised(storyboards(clips, 2), processor), captions)
    boards = sum(captions[hit] == scene.caption for hit, scene in zip(hits, scenes, strict=True))
    short = [CAPTION_FORMS[0].format(colour=c, shape=s, motion="").strip() for c in COLOURS for s in SHAPES]
    hits = _nearest(model, tokenizer, normalised(clips[:, 4], processor), short)
    singles = sum(short[hit] == f"a {s.colour} {s.shape}" for hit, s in zip(hits, scenes, strict=True))
    return boards / len(scenes), singles / len(scenes)


def _nearest(model: CLIPModel, tokenizer: CLIPTokenizer, images: Tensor, captions: list[str]) -> list[int]:
    tokens = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
    text = functional.normalize(model.get_text_features(**tokens).pooler_output, dim=-1)
    image = functional.normalize(model.get_image_features(pixel_values=images).pooler_output, dim=-1)
    nearest: list[int] = (image @ text.T).argmax(-1).tolist()
    return nearest
