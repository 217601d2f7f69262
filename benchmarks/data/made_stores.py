"""Latents and captions of random numbers, as a store and as one file a clip, for `store.py`."""

from __future__ import annotations

import random
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2v_core.data.store.latents import NULL_PROMPT_FILE
from t2v_core.data.store.shards import write_shard
from t2v_core.disk.files import MANIFEST, sha256, sync, write_json

SHARD_CLIPS, CAPTIONS = 250, 4
WORDS = ("a", "man", "is", "talking", "about", "his", "car", "while", "two", "dogs", "run", "on", "green", "grass")


def make_store(
    folder: Path, *, clips: int, shape: tuple[int, ...], dim: int, captions: int = CAPTIONS
) -> tuple[Path, Path]:
    """Folders of latents and of text as preprocessing leaves them; every shard holds the same numbers."""
    dice = random.Random(0)
    latents = torch.randn(SHARD_CLIPS, *shape).half()
    text = _text_tensors(SHARD_CLIPS * captions, dim, dice)
    manifests: dict[str, list[Any]] = {"latents": [], "text": []}
    for number, begin in enumerate(range(0, clips, SHARD_CLIPS)):
        name, ids = f"shard-{number:05}.safetensors", [f"video{i}" for i in range(begin, begin + SHARD_CLIPS)]
        rows: dict[str, list[dict[str, Any]]] = {
            "latents": [_clip_entry(video_id, shape[0]) for video_id in ids],
            "text": [_text_entry(video_id, i * captions, captions, dice) for i, video_id in enumerate(ids)],
        }
        for part, tensors in (("latents", {"latents": latents}), ("text", text)):
            write_shard(folder / part / name, tensors, {"settings": {}, "rows": rows[part]})
            manifests[part] += [entry | {"shard": name, "row": row} for row, entry in enumerate(rows[part])]
    write_shard(folder / "text" / NULL_PROMPT_FILE, _text_tensors(1, dim, dice), {"settings": {}})
    for part, entries in manifests.items():
        files = sorted((folder / part).glob("*.safetensors"))
        said = {file.name: {"size_bytes": file.stat().st_size, "sha256": sha256(file)} for file in files}
        write_json(folder / part / MANIFEST, {"settings": {}, "clips": entries, "files": said})
    return folder / "latents", folder / "text"


def make_files(folder: Path, *, clips: int, shape: tuple[int, ...], dim: int) -> None:
    """The same content, one file a clip."""
    folder.mkdir(parents=True)
    dice = random.Random(0)
    for number in range(clips):
        path = folder / f"video{number}.pt"
        lengths = [dice.randint(9, 15) for _ in range(CAPTIONS)]
        captions = [torch.randn(length, dim).half() for length in lengths]
        pooled = torch.randn(CAPTIONS, dim).half()
        torch.save({"latents": torch.randn(*shape).half(), "captions": captions, "pooled": pooled}, path)
        sync(path)


def _text_tensors(captions: int, dim: int, dice: random.Random) -> dict[str, Tensor]:
    offsets = torch.tensor(list(accumulate((dice.randint(9, 15) for _ in range(captions)), initial=0)))
    tokens, pooled = torch.randn(int(offsets[-1]), dim).half(), torch.randn(captions, dim).half()
    return {"tokens": tokens, "offsets": offsets, "pooled": pooled}


def _clip_entry(video_id: str, frames: int) -> dict[str, Any]:
    """As long as preprocessing writes it."""
    return {
        "video_id": video_id,
        "file": f"{video_id}.mp4",
        "size_bytes": 700_000,
        "mtime_ns": 1_763_832_901_000_000_000,
        "sha256": "0" * 64,
        "indices": [round(i * 299 / max(1, frames - 1)) for i in range(frames)],
        "source_fps": 29.97002997002997,
        "effective_fps": 1.5984015984015985,
        "duration_s": 10.01,
        "total_frames": 300,
    }


def _text_entry(video_id: str, first: int, captions: int, dice: random.Random) -> dict[str, Any]:
    texts = [" ".join(dice.choices(WORDS, k=9)) for _ in range(captions)]
    return {"video_id": video_id, "captions": texts, "first": first, "truncated": []}
