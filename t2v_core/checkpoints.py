"""Checkpoints: what is in one, writing it whole, finding the latest complete one, and which to keep.

checkpoint_epoch_5/   model.safetensors   weights of the last step
                      ema.safetensors     averaged weights, which generation uses
                      optimizer.safetensors   Adam's moments, named after their parameters
                      trainer.json        step, spec, model and sampler configuration, data, encoders, versions
                      manifest.json       names, sizes, sha256; written last
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from t2v_core import embedded
from t2v_core.errors import AskedWrongly
from t2v_core.files import incompleteness, remove_directory, require_space, staged_directory, write_json
from t2v_core.tensor_file import write_tensors

MODEL, EMA, OPTIMIZER, TRAINER = "model.safetensors", "ema.safetensors", "optimizer.safetensors", "trainer.json"
NAME = re.compile(r"checkpoint_(epoch|step)_(\d+)$")


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk.

    info: what `trainer.json` says
    """

    path: Path
    info: dict[str, Any]

    @property
    def step(self) -> int:
        return int(self.info["step"])

    @property
    def held_out_loss(self) -> float | None:
        return self.info.get("held_out_loss")

    def weights(self, which: str) -> dict[str, Tensor]:
        """`ema` or `raw` weights by name, on the CPU."""
        return self.tensors(EMA if which == "ema" else MODEL)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of one file of the checkpoint. Raises AskedWrongly when it is not there or damaged."""
        try:
            return load_file(self.path / name)
        except FileNotFoundError as error:
            raise AskedWrongly(
                f"{self.path} has no {name}", hint="it was made to generate from, not to go on training from"
            ) from error
        except SafetensorError as error:
            raise AskedWrongly(f"{self.path / name} is damaged: {error}", hint="use another checkpoint") from error


def save_checkpoint(path: Path, files: Mapping[str, dict[str, Tensor]], info: dict[str, Any]) -> Checkpoint:
    """Write tensors by file name, and `trainer.json`, whole or not at all.

    Raises WorkFailed when the disk cannot hold it; what was there before is untouched.
    """
    require_space(path, int(size_bytes(files) * 1.01) + 1_000_000, f"checkpoint {path.name}")
    checksums: dict[str, str] = {}
    # Two files at a time: hashing is what takes longest, and one thread hashes one file.
    with staged_directory(path, sha256_of=checksums) as partial, ThreadPoolExecutor(2) as pool:
        writing = {name: pool.submit(write_tensors, partial / name, tensors) for name, tensors in files.items()}
        checksums.update((name, future.result()) for name, future in writing.items())
        write_json(partial / TRAINER, info)
    return Checkpoint(path, info)


def size_bytes(files: Mapping[str, dict[str, Tensor]]) -> int:
    """Of all tensors together."""
    return sum(t.numel() * t.element_size() for tensors in files.values() for t in tensors.values())


def open_checkpoint(path: Path) -> Checkpoint:
    """Open one checkpoint; `embedded` is the model that is shipped. Raises AskedWrongly when it is not complete."""
    if path.name == "embedded" and not path.is_dir():
        path = embedded.DENOISER
    if not path.is_dir():
        raise AskedWrongly(
            f"there is no checkpoint at {path}", hint="name a checkpoint folder, or leave --checkpoint out"
        )
    reason = incompleteness(path)
    if reason:
        raise AskedWrongly(f"checkpoint {path} is not complete: {reason}", hint="use another checkpoint")
    try:
        return _read(path)
    except ValueError as error:
        raise AskedWrongly(
            f"checkpoint {path} is damaged: {TRAINER} cannot be read", "use another checkpoint"
        ) from error


def _read(path: Path) -> Checkpoint:
    """A complete checkpoint's own word. Raises ValueError when its bytes are not what was written."""
    info = json.loads((path / TRAINER).read_text())
    if not isinstance(info, dict) or not isinstance(info.get("step"), int):
        raise ValueError(f"{TRAINER} says no step")
    return Checkpoint(path, info)


def list_checkpoints(folder: Path, *, on_incomplete: Callable[[str], None] | None = None) -> list[Checkpoint]:
    """The complete checkpoints of a folder, newest (most steps) last; the others are passed over with a word."""
    complete = []
    for path in folder.glob("checkpoint_*"):
        if not NAME.match(path.name) or not path.is_dir():
            continue
        try:
            reason = incompleteness(path)
            complete += [] if reason else [_read(path)]
        except FileNotFoundError:  # a training that runs has just removed it
            continue
        except (OSError, ValueError):
            reason = f"{TRAINER} cannot be read"
        if reason and on_incomplete is not None:
            on_incomplete(f"{path.name} is not complete ({reason}) and is passed over")
    return sorted(complete, key=lambda checkpoint: checkpoint.step)


def latest_checkpoint(folder: Path, *, on_incomplete: Callable[[str], None] | None = None) -> Checkpoint | None:
    """The newest complete checkpoint of a folder, or None."""
    return next(reversed(list_checkpoints(folder, on_incomplete=on_incomplete)), None)


def remove_superseded(folder: Path, *, keep_last: int, keep_best: int) -> list[Path]:
    """Remove what is neither among the newest nor among the best by held-out loss; return what went."""
    checkpoints = list_checkpoints(folder)
    scored = [c for c in checkpoints if c.held_out_loss is not None and math.isfinite(c.held_out_loss)]
    best = sorted(scored, key=lambda c: c.held_out_loss or 0.0)[:keep_best]
    keep = {c.path for c in [*checkpoints[-keep_last:], *best]}
    removed = [c.path for c in checkpoints if c.path not in keep]
    for path in removed:
        remove_directory(path)
    return removed
