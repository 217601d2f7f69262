"""The job a user with a GPU has, at its real shapes, on whatever is here: sd-vae-ft-mse's and CLIP ViT-B/32's
configurations with random weights in the hub's directory format, 16 frames of 256 × 256, the 187 M `base` denoiser.

python benchmarks/engine/full_size_job.py [--clips 2] [--steps 2]      says what it made, and how long each verb took
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import av

sys.path += [str(Path(__file__).parents[1] / name) for name in ("data", "learning")]

from door import result, run
from full_size import WORDS, save_clip_text, save_data_set, save_sd_vae

from t2v_core.data.store.latents import LatentStore
from t2v_core.workspace import Dataset

FRAMES = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2, help="of training, and of sampling")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        save_data_set(root / "data", clips=arguments.clips, captions=2, seconds=5)
        encoders = {"vae": str(save_sd_vae(root / "vae")), "text_encoder": str(save_clip_text(root / "clip"))}
        timed(root, "preprocess", data="data", frames=FRAMES, **encoders)
        store = LatentStore.open(Dataset(root / "data"), "train")
        print(f"  latents {store.shape}, text {tuple(store.captions(0)[0].tokens.shape)}")
        training = {"preset": "base", "batch_size": 1, "gradient_accumulation": 1, "samples": 0, "held_out_clips": 0}
        timed(root, "train", data="data", max_steps=arguments.steps, **training)
        made = timed(root, "generate", prompt=WORDS, output="out.mp4", steps=arguments.steps, guidance_scale=1.0)
        print(f"  {describe(Path(made['video']))}")


def timed(root: Path, verb: str, **values: object) -> dict[str, object]:
    """Run a verb and print how long it took."""
    done = result(run(root, verb, **values))
    print(f"{verb:12}{done['seconds']:8.1f} s", flush=True)
    return done


def describe(video: Path) -> str:
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        return f"{stream.frames} frames of {stream.width} × {stream.height}, {stream.codec_context.name}"


if __name__ == "__main__":
    main()
