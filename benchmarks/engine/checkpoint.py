"""Saving 172 M parameters with Adam's moments: how long training is held and how long it takes in all, beside
`torch.save`; both synced to the disk.

python benchmarks/engine/checkpoint.py [--folder /tmp] [--rounds 5]        6 GB of memory, 2 GB of disk
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from t2v_core.checkpoints.checkpoints import MODEL, OPTIMIZER
from t2v_core.disk.files import remove_directory, sha256, sync
from t2v_core.models.denoisers.video_transformer import VideoTransformer
from t2v_core.presets import PRESET_MODELS
from t2v_core.training.background_save import BackgroundSaver
from t2v_core.training.optimizers.optimizer import optimizer_tensors

HELD, IN_ALL, TORCH = "t2v: loop held", "t2v: in all", "torch.save + fsync"
TORCH_HASHED = "… + sha256, as t2v has"
WRITE, HASH, HASH_TWICE = "floor: write + fsync", "floor: sha256, 1 thread", "floor: sha256, 2 threads"
PIECE_BYTES = 16 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    model, optimizer = stepped_model()
    size = 12 * sum(p.numel() for p in model.parameters())
    print(f"{size / 12e6:.1f} M parameters, weights and two moments: {size / 1e9:.2f} GB", flush=True)
    seconds: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        saver = BackgroundSaver()
        first = save(saver, Path(folder), model, optimizer)  # copies have to be allocated once
        print(f"first time: held {first[HELD]:.2f} s, in all {first[IN_ALL]:.2f} s")
        for _ in range(arguments.rounds):
            timed = save(saver, Path(folder), model, optimizer) | save_torch(folder, model, optimizer)
            for name, value in (timed | floors(Path(folder) / "floor", size)).items():
                seconds[name].append(value)
    baseline = statistics.median(seconds[TORCH])
    for name, values in seconds.items():
        middle = statistics.median(values)
        each = " ".join(f"{value:.2f}" for value in values)
        print(f"{name:24} {middle:6.2f} s  {middle / baseline:5.2f} of torch.save   ({each})")


def stepped_model() -> tuple[VideoTransformer, torch.optim.AdamW]:
    """The `seed` preset after one optimiser step."""
    model = VideoTransformer(**PRESET_MODELS["seed"])
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return model, optimizer


def save(saver: BackgroundSaver, folder: Path, model: VideoTransformer, optimizer: Any) -> dict[str, float]:
    """As training does it, with nothing else to do meanwhile."""
    began = time.perf_counter()
    files = {MODEL: model.state_dict(), OPTIMIZER: optimizer_tensors(model, optimizer)}
    saver.begin(folder / "checkpoint_step_1", files, {"step": 1}, then=lambda: None)
    held = time.perf_counter() - began
    checkpoint = saver.result(wait=True)
    in_all = time.perf_counter() - began
    assert checkpoint is not None
    remove_directory(checkpoint.path)
    return {HELD: held, IN_ALL: in_all}


def save_torch(folder: str, model: VideoTransformer, optimizer: Any) -> dict[str, float]:
    """As the previous system did it, and synced."""
    path = Path(folder) / "checkpoint_epoch_1.pt"
    began = time.perf_counter()
    state = {"epoch": 1, "model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
    torch.save(state | {"loss": 0.3}, path)
    sync(path)
    in_all = time.perf_counter() - began
    sha256(path)
    hashed = time.perf_counter() - began
    path.unlink()
    return {TORCH: in_all, TORCH_HASHED: hashed}


def floors(path: Path, size: int) -> dict[str, float]:
    """What no checkpoint of so many bytes can do without: they are written and synced, and hashed."""
    data = memoryview(b"\x01" * size)
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for begin in range(0, size, PIECE_BYTES):
            file.write(data[begin : begin + PIECE_BYTES])
        os.fsync(file.fileno())
    written = time.perf_counter()
    path.unlink()
    hashing = time.perf_counter()
    hashlib.sha256(data)
    hashed = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(hashlib.sha256, (data[: size // 2], data[size // 2 :])))
    return {WRITE: written - began, HASH: hashed - hashing, HASH_TWICE: time.perf_counter() - hashed}


if __name__ == "__main__":
    main()
