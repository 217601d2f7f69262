"""The previous system's checkpoints, read as they lie: nothing of a pickle is run, nothing is copied before it is used.

checkpoint_epoch_5.pt   dict(epoch, model_state_dict, optimizer_state_dict, loss)
final_model.pt          the state dict alone
"""

from __future__ import annotations

import math
import pickle
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2v_core.checkpoints.checkpoints import OPTIMIZER, Checkpoint
from t2v_core.checkpoints.old_models import config_of, unwrapped
from t2v_core.checkpoints.old_names import ORIGIN, epoch_in_name, old_files, wrong_with
from t2v_core.diffusion.objectives import make_objective
from t2v_core.disk.formats import CHECKPOINT_FORMAT
from t2v_core.disk.tensor_file import bytes_of
from t2v_core.errors import InvalidRequest
from t2v_core.specs import CLIP_B32, DATA, SD_VAE, all_values, make_spec

FPS = 8.0
PADDED_TO = 77
SCALING = {"scaling_factor": 0.18215, "mean": [0.0] * 4, "std": [1.0] * 4}
# Its loop dropped no caption, held no clip out and did not clip gradients; a run that goes on is the same run.
TRAINING: dict[str, Any] = {
    "objective": "epsilon", "caption_dropout": 0.0, "held_out_clips": 0, "max_grad_norm": 1e9, "batch_size": 2,
    "gradient_accumulation": 4, "warmup_steps": 0,
}  # fmt: skip
MOMENTS = ("exp_avg", "exp_avg_sq")
# What AdamW and the file's own settings have to agree in for the next step to be the same.
ADAMW = {"amsgrad": False, "maximize": False, "eps": 1e-8}
WANTED = re.compile(r"GLOBAL ([\w.]+)")
UNLOADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError,
              IndexError, OverflowError, AssertionError)  # fmt: skip


class LostMoments(Exception):
    """Why Adam's state cannot be taken along, in a few words."""


@dataclass(frozen=True)
class OldCheckpoint(Checkpoint):
    """A `.pt` of the previous system, with what `trainer.json` would say of it.

    stored: weights by name, in the order of the module's definition; they lie in the file until they are used
    adam: `optimizer_state_dict`; None where there is none
    """

    stored: dict[str, Tensor]
    adam: Mapping[str, Any] | None

    @property
    def epoch(self) -> int | None:
        """Return the epoch that the file or its name tells; None where neither does."""
        return self.info["epoch"]

    @property
    def loss(self) -> float | None:
        """Return the loss of training, as the previous system noted it."""
        return self.info["loss"]

    @property
    def size_bytes(self) -> int:
        """Return the size of the `.pt` file."""
        return self.path.stat().st_size

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return what our own would: verified, and in memory.

        The averaged weights are the weights; there were no others.
        """
        lying = self.lying(name)
        self.verify(lying)
        return {key: value.clone() for key, value in lying.items()}

    def lying(self, name: str) -> dict[str, Tensor]:
        """Return the same where they lie in the file, unread.

        Raises InvalidRequest when Adam's state is asked for in vain.
        """
        if name != OPTIMIZER:
            return self.stored | _no_null_prompt(self.info["model"])
        try:
            return moments_of(self.adam, self.stored)
        except LostMoments as why:
            raise InvalidRequest(
                f"training cannot go on from {self.path}: {why}", hint="generate from it, or name another checkpoint"
            ) from why

    def verify(self, tensors: Mapping[str, Tensor], read: Callable[[int], None] | None = None) -> None:
        """Compare every tensor with the checksums of its file, and refuse what is not finite. Raises InvalidRequest.

        torch writes a CRC-32 of each storage and does not look at it when it reads.
        read: called with the bytes of each tensor
        """
        known = _checksums(self.path)
        for name, value in tensors.items():
            own = value.untyped_storage()
            if self._is_of_file(name) and (own.nbytes(), zlib.crc32(_bytes_of_storage(value))) not in known:
                raise InvalidRequest(
                    f"{self.path} is damaged: {name} does not match its checksum", hint="copy it again, or use another"
                )
            if not value.isfinite().all():
                raise InvalidRequest(f"{self.path} holds values that are not finite, in {name}", hint="use another one")
            if read is not None:
                read(value.numel() * value.element_size())

    def _is_of_file(self, name: str) -> bool:
        return not name.startswith("null_") and not name.endswith(".step")


def open_old_checkpoint(path: Path, *, vae: str = SD_VAE, text_encoder: str = CLIP_B32) -> OldCheckpoint:
    """Look into a `.pt` and say what it is; its tensors stay in the file.

    vae, text_encoder: those that its data was made with, which the file does not say
    Raises InvalidRequest, in one sentence, for what is cut off, of something else, or wants more than tensors.
    """
    if wrong := wrong_with(path):
        raise InvalidRequest(f"{path} cannot be used: {wrong}", hint="copy it again, or name another checkpoint")
    content = _load(path)
    state = content.get("model_state_dict", content)
    if not isinstance(state, Mapping) or not state or not all(_is_weight(*item) for item in state.items()):
        raise InvalidRequest(
            f"{path} holds no model: {_what_is_in(content)}",
            hint="name a checkpoint_epoch_N.pt or final_model.pt of the system before t2v",
        )
    weights = unwrapped(state)
    preset, config = config_of(weights, str(path))
    adam = content.get("optimizer_state_dict") if state is not content else None
    found = OldCheckpoint(path, {}, weights, adam if isinstance(adam, Mapping) else None)
    found.info.update(_info(found, content if state is not content else {}, preset, config))
    found.info["latents"]["encoder"]["source"], found.info["text"]["encoder"]["source"] = vae, text_encoder
    return found


def newest_old_checkpoint(folder: Path, *, passed_over: Callable[[str], None] | None = None) -> OldCheckpoint | None:
    """Return that of the highest epoch which can be used, `final_model.pt` when there is no other; None without one."""
    for path in reversed(old_files(folder)):
        try:
            return open_old_checkpoint(path)
        except InvalidRequest as error:
            if passed_over is not None:
                passed_over(f"{error.message}; it is skipped")
    return None


def _load(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UNLOADABLE as error:
        text = str(error)
        if wanted := WANTED.search(text):
            raise InvalidRequest(
                f"{path} is refused: beside tensors it wants {wanted[1]}, which would be run",
                hint="save it without: torch.save(dict(epoch=…, model_state_dict=…, …)) on the machine it is from",
            ) from error
        first = (text.strip() or type(error).__name__).splitlines()[0][:160]
        raise InvalidRequest(f"{path} cannot be read: {first}", hint="copy it again, or name another one") from error
    if not isinstance(content, Mapping):
        raise InvalidRequest(f"{path} holds a {type(content).__name__} and no model", hint="name another checkpoint")
    return content


def _is_weight(name: object, value: object) -> bool:
    is_plain = isinstance(value, Tensor) and value.layout == torch.strided and value.is_floating_point()
    return isinstance(name, str) and is_plain


def _what_is_in(content: Mapping[str, Any]) -> str:
    names = ", ".join(str(name)[:40] for name in list(content)[:4])
    return f"it has {names}" if names else "it is empty"


def _info(old: OldCheckpoint, content: Mapping[str, Any], preset: str, config: dict[str, Any]) -> dict[str, Any]:
    """As `TrainingRun` writes it into trainer.json, as far as the file and what is known of the system tell."""
    epoch, step = _epoch(old.path, content), _steps(old)
    sampler = make_objective("epsilon").sampler
    spec = make_spec("train", TRAINING | {"preset": preset, "data": str(DATA)} | _settings(old.adam))
    return {
        "format": CHECKPOINT_FORMAT,
        "origin": ORIGIN,
        "step": step or 0,
        "epoch": epoch,
        "steps_per_epoch": max(1, round(step / epoch)) if step and epoch else 1,
        "loss": _scalar(content.get("loss")),
        "held_out_loss": None,
        "fps": FPS,
        "spec": all_values(spec),
        "model": config,
        "sampler": {"class": type(sampler).__name__} | {k: v for k, v in sampler.config.items() if k[0] != "_"},
        "latents": {
            "encoder": {"source": SD_VAE, "sha256": ""},
            "statistics": SCALING,
            "is_scaled": True,
            "shape": [config["num_frames"], config["in_channels"], config["sample_size"], config["sample_size"]],
            "fps": FPS,
        },
        "text": {"encoder": {"source": CLIP_B32, "sha256": ""}, "padded_to": PADDED_TO},
        "video_ids": "",
        "scaler": None,
        "versions": {},
    }


def _epoch(path: Path, content: Mapping[str, Any]) -> int | None:
    """By the name, which counts from 1; else what the file says, which may count from 0."""
    said = content.get("epoch")
    return epoch_in_name(path) or (said if isinstance(said, int) else None)


def _scalar(value: object) -> float | None:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = float(value)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _steps(old: OldCheckpoint) -> int | None:
    """Optimiser steps, as Adam has counted them."""
    try:
        _, rows = _rows(old.adam)
    except LostMoments:
        return None
    return max((int(row["step"]) for row in rows.values() if "step" in row), default=None)


def _settings(adam: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        group, _ = _rows(adam)
        asked = {"learning_rate": group["lr"], "weight_decay": group["weight_decay"], "adam_beta2": group["betas"][1]}
        return {name: float(value) for name, value in asked.items()}
    except (LostMoments, KeyError, TypeError, IndexError, ValueError):
        return {}


def _rows(adam: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], Mapping[int, Any]]:
    """The one parameter group, and Adam's state by the number of the parameter. Raises LostMoments."""
    if adam is None:
        raise LostMoments("it has weights only, and no state of Adam")
    groups, rows = adam.get("param_groups"), adam.get("state")
    if not isinstance(groups, list) or not isinstance(rows, Mapping) or not all(isinstance(g, Mapping) for g in groups):
        raise LostMoments("its optimizer_state_dict is not Adam's")
    if len(groups) != 1:
        raise LostMoments(f"its Adam has {len(groups)} groups of parameters, and which is which is not said")
    return groups[0], rows


def moments_of(adam: Mapping[str, Any] | None, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return Adam's state by parameter name, as `optimizer_tensors` has it. Raises LostMoments when it does not fit.

    The state's numbers follow `parameters()`. So does the state dict: it lists a module's own tensors, then its
    children's, in the order of their definition, and these models have no buffers. Every shape is compared.
    """
    group, rows = _rows(adam)
    for name, expected in ADAMW.items():
        if group.get(name, expected) != expected:
            raise LostMoments(f"its Adam has {name} = {group[name]}, ours {expected}")
    if next(iter(group.get("betas", (0.9,)))) != 0.9:
        raise LostMoments(f"its Adam has betas = {group['betas']}, ours begin with 0.9")
    order = group.get("params")
    if not isinstance(order, list) or len(order) != len(weights) or not all(number in rows for number in order):
        raise LostMoments(f"its Adam knows {len(rows)} parameters, and the model has {len(weights)}")
    named: dict[str, Tensor] = {}
    for number, (name, weight) in zip(order, weights.items(), strict=True):
        row = rows[number]
        if not isinstance(row, Mapping) or not all(_is_moment(row.get(key), weight) for key in MOMENTS):
            raise LostMoments(f"Adam's state number {number} is not of {name}'s shape")
        named[f"{name}.step"] = torch.tensor(float(row.get("step", 0)))
        named |= {f"{name}.{key}": row[key] for key in MOMENTS}
    return named


def _is_moment(value: object, weight: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == weight.shape and value.is_floating_point()


def _no_null_prompt(config: Mapping[str, Any]) -> dict[str, Tensor]:
    """It never saw one: whoever loads it takes what its text encoder makes of no words."""
    return {"null_tokens": torch.zeros(0, config["text_dim"]), "null_pooled": torch.zeros(config["pooled_dim"])}


def _checksums(path: Path) -> Counter[tuple[int, int]]:
    """How often which (bytes, CRC-32) stands in the file's directory."""
    with zipfile.ZipFile(path) as archive:
        return Counter((entry.file_size, entry.CRC) for entry in archive.infolist())


def _bytes_of_storage(tensor: Tensor) -> memoryview:
    storage = tensor.untyped_storage()
    return bytes_of(torch.empty(0, dtype=torch.uint8).set_(storage, 0, (storage.nbytes(),), (1,)))


def tensors_in(old: OldCheckpoint) -> Iterator[Tensor]:
    """Return every tensor that an import takes along."""
    try:
        moments = moments_of(old.adam, old.stored)
    except LostMoments:
        moments = {}
    return chain(old.stored.values(), moments.values())
