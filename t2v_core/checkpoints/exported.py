"""A model of ours as `t2v export` wrote it and `t2v models fetch` brings it, opened as the checkpoint that it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from t2v_core.checkpoints.checkpoints import EMA, MODEL, Checkpoint
from t2v_core.checkpoints.trainer_info import require_usable
from t2v_core.disk.plain_json import read_table
from t2v_core.errors import InvalidRequest
from t2v_core.models.open.layout import INDEX, RECORD

WEIGHTS = "denoiser/diffusion_pytorch_model.safetensors"
# In the record: what `trainer.json` says that a model needs to draw.
CHECKPOINT = "checkpoint"
# Where the encoders lie, by the part of `trainer.json` that names them.
ENCODERS = {"latents": "vae", "text": "text_encoder"}


@dataclass(frozen=True)
class ExportedCheckpoint(Checkpoint):
    """Its weights lie where diffusers has them; there is one form of them, which was chosen at the export."""

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of one file, as of `Checkpoint`."""
        return super().tensors(WEIGHTS if name in (EMA, MODEL) else name)


def is_exported(folder: Path) -> bool:
    """Tell whether `t2v export` wrote a folder."""
    return (folder / RECORD).is_file()


def open_exported(folder: Path) -> ExportedCheckpoint:
    """Open a folder with the encoders that lie in it. Raises InvalidRequest for a LoRA, an open model, and damage."""
    try:
        record = read_table(folder / RECORD)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{folder} is damaged: {RECORD} cannot be read", hint="fetch it again") from error
    info = record.get(CHECKPOINT)
    if not isinstance(info, dict):
        is_whole = (folder / INDEX).is_file()
        raise InvalidRequest(
            f"{folder} is {'an open model' if is_whole else 'a LoRA'} that t2v exported, and no checkpoint",
            hint=f"--model {folder}" if is_whole else f"--lora {folder}, beside the model that it was trained for",
        )
    require_usable(folder, info, said_in=RECORD)
    return ExportedCheckpoint(folder, info | {part: _here(folder, info[part], name) for part, name in ENCODERS.items()})


def _here(folder: Path, said: dict[str, Any], name: str) -> dict[str, Any]:
    return said | {"encoder": said["encoder"] | {"source": str(folder / name)}}
