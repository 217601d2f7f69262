"""A small preprocessed data set to train on, made once a test process; and what two checkpoints have in common."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from support.engine.engine import job_here
from support.engine.tiny_models import save_clip, save_vae
from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.specs import PreprocessSpec, ShapesSpec, TrainSpec
from t2v_core.training.run import TrainingRun
from t2v_core.training.setup import build
from t2v_core.verbs.preprocess import preprocess

CLIPS, HELD_OUT = 24, 2
STEPS_AN_EPOCH = (CLIPS - HELD_OUT) // 2
SPEC: dict[str, Any] = {
    "preset": "tiny", "epochs": 4, "batch_size": 2, "checkpoint_every": 1, "samples": 0, "device": "cpu",
}  # fmt: skip


@functools.cache
def data_set() -> Path:
    """An absolute path for `data`; tests do not write there."""
    root = Path(tempfile.mkdtemp(prefix="t2v-training-set-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    save_vae(root / "vae")
    save_clip(root / "clip")
    make_set(ShapesSpec(data=Path("data"), clips=CLIPS, test_clips=2, frames=4, size=32), job_here(root))
    values = {"data": "data", "vae": str(root / "vae"), "text_encoder": str(root / "clip"), "frames": 4, "size": 32}
    preprocess(PreprocessSpec.model_validate(values | {"device": "cpu"}), job_here(root))
    return root / "data"


def asked(**values: Any) -> dict[str, Any]:
    """A training of the small set, as `spec.json` says it."""
    return SPEC | {"data": str(data_set())} | values


def make_run(root: Path, **values: Any) -> TrainingRun:
    """A fresh run in this process."""
    return build(TrainSpec.model_validate(asked(**values)), job_here(root), root / "checkpoints")


def tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Weights, averages and moments, by file and name."""
    return {
        f"{file}/{name}": value
        for file in ("model", "ema", "optimizer")
        for name, value in load_file(checkpoint / f"{file}.safetensors").items()
    }


def differing(one: Path, other: Path) -> list[str]:
    """Names of the tensors that are not the same to the last bit."""
    left, right = tensors(one), tensors(other)
    assert left.keys() == right.keys()
    assert left
    return [name for name in left if not torch.equal(left[name], right[name])]


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file's time and bytes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
