"""Video to video with the shipped model: `add-noise` at 0.3, then `refine`; PSNR against the clean clip.

python benchmarks/learning/vid2vid.py [--clips 24]

Own prompt: how much of the noise goes. Another colour's prompt: how often the clip takes it on at 0.3 and at 0.6.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from pathlib import Path

import numpy as np
from door import SHAPES, run
from numpy.typing import NDArray

from t2v_core.data.shapes.judge import judge
from t2v_core.data.shapes.shapes import COLOURS, Scene
from t2v_core.data.video.decode import read_all_frames

NOISE = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=12)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        run(workspace, "shapes", **SHAPES, clips=1, test_clips=2 * arguments.clips)
        truth = json.loads((workspace / "data/shapes/shapes.json").read_text())
        seen = [name for name, entry in truth.items() if not entry["held_out"]][1 : arguments.clips + 1]
        rows = [refine_one(workspace, name, scene_of(truth[name])) for name in seen]
    print(f"{len(rows)} clips, noise {NOISE}; medians")
    for key in rows[0]:
        values = [row[key] for row in rows]
        if key.startswith("shows"):
            print(f"  {key:52} {sum(values):.0f} of {len(values)}")
        else:
            print(f"  {key:52} {statistics.median(values):6.2f} dB")


def scene_of(entry: dict[str, str]) -> Scene:
    return Scene(entry["colour"], entry["shape"], entry["motion"])


def refine_one(workspace: Path, name: str, scene: Scene) -> dict[str, float]:
    """Noise one clip, refine it with its own prompt and with another colour's."""
    clean, noisy = f"data/shapes/videos/{name}.mp4", f"{name}-noisy.mp4"
    run(workspace, "add-noise", input=clean, output=noisy, strength=NOISE)
    frames = read_all_frames(workspace / clean).frames
    noisy_psnr = psnr(frames, read_all_frames(workspace / noisy).frames)
    row = {"noisy, PSNR": noisy_psnr}
    own = refined(workspace, noisy, scene.caption, NOISE)
    row["refined with its own prompt at 0.3, PSNR"] = psnr(frames, own)
    row["gain"] = row["refined with its own prompt at 0.3, PSNR"] - noisy_psnr
    row["shows the clip's own colour"] = float(judge(own).colour == scene.colour)
    colours = list(COLOURS)
    other = Scene(colours[(colours.index(scene.colour) + 2) % len(colours)], scene.shape, scene.motion)
    for strength in (0.3, 0.6):
        changed = refined(workspace, noisy, other.caption, strength)
        row[f"other colour's prompt at {strength}, PSNR"] = psnr(frames, changed)
        row[f"shows the other colour at {strength}"] = float(judge(changed).colour == other.colour)
    return row


def refined(workspace: Path, video: str, prompt: str, strength: float) -> NDArray[np.uint8]:
    output = workspace / "refined.mp4"
    run(workspace, "refine", input=video, output=str(output), prompt=prompt, strength=strength, checkpoint="embedded")
    return read_all_frames(output).frames


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """In dB, of whole clips."""
    return 20 * math.log10(255) - 10 * math.log10(np.square(a.astype(np.float64) - b).mean())


if __name__ == "__main__":
    main()
