"""Checkpoints: what is in one, writing it whole, finding the latest complete one, and which to keep.

checkpoint_epoch_5/   model.safetensors   weights of the last step; of an adapter, its own alone
                      ema.safetensors     averaged weights, which generation uses
                      optimizer.safetensors   Adam's moments, named after their parameters
                      trainer.json        step, spec, model and sampler configuration, data, encoders, versions
                      manifest.json       names, sizes, sha256; written last
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from t2v_core.disk.files import incompleteness, read_json, remove_directory, require_space, staged_directory, write_json
from t2v_core.disk.formats import CHECKPOINT_FORMAT, is_later, later_in_words, made_later
from t2v_core.disk.tensor_file import write_tensors
from t2v_core.errors import InvalidRequest, NotFinite
from t2v_core.models.finite import not_finite_in, not_finite_words

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
        """Return how many optimiser steps it has seen; 0 where `info` does not say."""
        step = self.info.get("step")
        return step if isinstance(step, int) else 0  # a later format may say it otherwise

    @property
    def held_out_loss(self) -> float | None:
        """Return its loss on held-out clips; None where `info` does not say."""
        loss = self.info.get("held_out_loss")
        return loss if isinstance(loss, float) else None

    @property
    def score(self) -> tuple[float, str] | None:
        """Return its score on fixed prompts and how that was measured; None where `info` does not say."""
        said = self.info.get("score")
        if not isinstance(said, dict) or not isinstance(value := said.get("value"), float):
            return None
        return value, json.dumps({name: one for name, one in said.items() if name != "value"}, sort_keys=True)

    @property
    def is_adapter(self) -> bool:
        """Return True when its weights are a LoRA, which lies beside those of another model, its base."""
        return isinstance(self.info.get("adapter"), dict)

    @property
    def open_model(self) -> str | None:
        """Return the open model, hub id or folder, that was trained; None for one of ours."""
        base = self.info.get("base")
        model = base.get("model") if isinstance(base, dict) else None
        return model if isinstance(model, str) else None

    @property
    def is_later(self) -> bool:
        """Return True when a later t2v wrote it: then nothing else in `info` is to be relied on."""
        return is_later(self.info.get("format"), CHECKPOINT_FORMAT)

    def require_known_format(self) -> None:
        """Raise InvalidRequest, with the way to read it, for one that a later t2v wrote."""
        if self.is_later:
            raise made_later(f"checkpoint {self.path}", self.info.get("format"), CHECKPOINT_FORMAT)

    def weights(self, which: str) -> dict[str, Tensor]:
        """Return the `ema` or `raw` weights by name, on the CPU."""
        return self.tensors(EMA if which == "ema" else MODEL)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of one file of the checkpoint.

        Raises InvalidRequest when it is not there or damaged, NotFinite for weights that give nothing but NaN.
        """
        try:
            loaded = load_file(self.path / name)
        except FileNotFoundError as error:
            raise InvalidRequest(
                f"{self.path} has no {name}", hint="it was saved for generating, not for further training"
            ) from error
        except SafetensorError as error:
            raise InvalidRequest(f"{self.path / name} is damaged: {error}", hint="use another checkpoint") from error
        if wrong := not_finite_in(loaded):
            raise NotFinite(
                f"the model gives values that are not finite: {self.path / name} holds {not_finite_words(wrong)}",
                hint="use another checkpoint; where only the averages are spoiled, generate with --weights raw",
            )
        return loaded


def save_checkpoint(
    path: Path,
    files: Mapping[str, dict[str, Tensor]],
    info: dict[str, Any],
    *,
    header: Mapping[str, str] | None = None,
) -> Checkpoint:
    """Write tensors by file name, and `trainer.json`, whole or not at all.

    header: texts for the files of weights, which those who read nothing else of a checkpoint need

    Raises WorkFailed when the disk cannot hold it, NotFinite when a value is no number: what would then take the place
    of older checkpoints is worth nothing. What was there before is untouched.
    """
    for name, tensors in files.items():
        if wrong := not_finite_in(tensors):
            raise NotFinite(
                f"{path.name} is not saved: {name} would hold {not_finite_words(wrong)}",
                hint="the checkpoints before it are untouched: lower --learning-rate or use --precision fp32, and go "
                "on with --resume",
            )
    require_space(path, int(size_bytes(files) * 1.01) + 1_000_000, f"checkpoint {path.name}")
    checksums: dict[str, str] = {}
    # Two files at a time: hashing is what takes longest, and one thread hashes one file.
    with staged_directory(path, sha256_of=checksums) as partial, ThreadPoolExecutor(2) as pool:
        writing = {
            name: pool.submit(write_tensors, partial / name, tensors, metadata=header if name in (MODEL, EMA) else None)
            for name, tensors in files.items()
        }
        checksums.update((name, future.result()) for name, future in writing.items())
        write_json(partial / TRAINER, info)
    return Checkpoint(path, info)


def size_bytes(files: Mapping[str, dict[str, Tensor]]) -> int:
    """Return the bytes of all tensors together."""
    return sum(t.numel() * t.element_size() for tensors in files.values() for t in tensors.values())


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a complete checkpoint's own word. Raises ValueError when its bytes are not what was written."""
    try:
        info = read_json(path / TRAINER)
    except RecursionError as error:
        raise ValueError(f"{TRAINER} is nested too deeply") from error
    is_later_format = isinstance(info, dict) and is_later(info.get("format"), CHECKPOINT_FORMAT)
    if not isinstance(info, dict) or not (isinstance(info.get("step"), int) or is_later_format):
        raise ValueError(f"{TRAINER} has no step")
    return Checkpoint(path, info)


def list_checkpoints(folder: Path, *, on_incomplete: Callable[[str], None] | None = None) -> list[Checkpoint]:
    """List the complete checkpoints of a folder, newest (most steps) last; the others are passed over with a word.

    Those that a later t2v wrote are among the others: whoever removes or replaces what is listed leaves them alone.
    """
    usable = []
    for checkpoint in _complete_ones(folder, on_incomplete):
        if not checkpoint.is_later:
            usable.append(checkpoint)
        elif on_incomplete is not None:
            words = later_in_words(checkpoint.info.get("format"), CHECKPOINT_FORMAT)
            on_incomplete(f"{checkpoint.path.name} {words} and is skipped")
    return sorted(usable, key=lambda checkpoint: checkpoint.step)


def _complete_ones(folder: Path, on_incomplete: Callable[[str], None] | None) -> list[Checkpoint]:
    """Whoever wrote them, in no order."""
    complete = []
    for path in folder.glob("checkpoint_*"):
        if not NAME.match(path.name) or not path.is_dir():
            continue
        try:
            reason = incompleteness(path)
            complete += [] if reason else [read_checkpoint(path)]
        except FileNotFoundError:  # a training that runs has just removed it
            continue
        except (OSError, ValueError):
            reason = f"{TRAINER} cannot be read"
        if reason and on_incomplete is not None:
            on_incomplete(f"{path.name} is not complete ({reason}) and is skipped")
    return complete


def latest_checkpoint(folder: Path, *, on_incomplete: Callable[[str], None] | None = None) -> Checkpoint | None:
    """Return the newest complete checkpoint of a folder, or None.

    Raises InvalidRequest when a later t2v wrote one there: it may be the newest, and training would write over it.
    """
    complete = sorted(_complete_ones(folder, on_incomplete), key=lambda checkpoint: checkpoint.step)
    for checkpoint in complete:
        checkpoint.require_known_format()
    return complete[-1] if complete else None


def remove_superseded(
    folder: Path, *, keep_last: int, keep_best: int, by: Literal["held_out_loss", "score"] = "held_out_loss"
) -> list[Path]:
    """Remove what is neither among the newest nor among the best; return what went.

    by: the lowest held-out loss, or the highest score, among those measured as the newest one was
    What was imported from the previous system is somebody's own choice and stays.
    """
    checkpoints = [c for c in list_checkpoints(folder) if "origin" not in c.info]
    best = (_by_loss if by == "held_out_loss" else _by_score)(checkpoints)[:keep_best]
    keep = {c.path for c in [*checkpoints[-keep_last:], *best]}
    removed = [c.path for c in checkpoints if c.path not in keep]
    for path in removed:
        remove_directory(path)
    return removed


def _by_loss(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    measured = [c for c in checkpoints if c.held_out_loss is not None and math.isfinite(c.held_out_loss)]
    return sorted(measured, key=lambda c: c.held_out_loss or 0.0)


def _by_score(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    measured = [(c, *score) for c in checkpoints if (score := c.score) is not None and math.isfinite(score[0])]
    alike = [(value, c) for c, value, how in measured if how == measured[-1][2]]
    return [c for _, c in sorted(alike, key=lambda one: one[0], reverse=True)]
