"""Clips of the built-in world as the encoders meet them: rendered, written as H.264 and read back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from t2v_core.data.shapes.shapes import CLIP_CRF, Scene, all_scenes, render
from t2v_core.data.video.frames import write_video


def scenes_for(clips: int) -> list[Scene]:
    """Return `clips` scenes that go through all 108 combinations in turn."""
    scenes = all_scenes()
    return [scenes[i % len(scenes)] for i in range(clips)]


def decoded_clips(clips: int, *, seed: int) -> Tensor:
    """Return (clips, 8, 64, 64, 3) uint8: what a decoder gives back, chroma subsampling and all."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip.mp4"
        decoded = []
        for scene in scenes_for(clips):
            write_video(file, render(scene, rng), fps=8, crf=CLIP_CRF)
            with av.open(str(file)) as container:
                decoded.append(np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)]))
    return torch.from_numpy(np.stack(decoded))


def held_out_clips(clips: int) -> Tensor:
    """Draw clips with a seed that no training uses."""
    return decoded_clips(clips, seed=990_001)
