"""Clips that a tiny Wan has encoded, ready to train it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.engine.engine import job_here
from support.engine.open_models import save_open_model
from support.hosts.door import through_the_door
from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.specs import ShapesSpec


def wan_and_its_clips(root: Path) -> Path:
    """Make `wan` and `data` in a folder, six clips of 9 frames of 32 × 32; returns the folder."""
    save_open_model("wan", root / "wan")
    make_set(ShapesSpec(data=Path("data"), clips=6, test_clips=2, frames=9, size=32), job_here(root))
    given: dict[str, Any] = {"data": "data", "model": "wan", "frames": 9, "size": 32, "device": "cpu"}
    assert through_the_door(root, "preprocess", **given).code == 0
    return root
