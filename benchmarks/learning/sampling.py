"""Sampling: a step of the `seed` preset against the previous system's way, and how few steps the shipped model needs.

python benchmarks/learning/sampling.py step  [--frames 4] [--rounds 5]
python benchmarks/learning/sampling.py steps [--prompts 48] [--seeds 4]

All seconds are CPU seconds of one thread, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from door import SHAPES, run, scores
from torch import Tensor, nn

from t2v_core.assemble import load_pipeline
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.diffusion.guidance import Guidance
from t2v_core.diffusion.pipeline import TextToVideoPipeline
from t2v_core.diffusion.samplers import DDIMSampler, choose_sampler, randn
from t2v_core.models.cpu import multiply_with_mkl, suit_to_cpu
from t2v_core.models.denoisers.attention import Attention
from t2v_core.models.denoisers.video_transformer import VideoTransformer
from t2v_core.presets import PRESET_MODELS

PROMPT_TOKENS, PADDED_TOKENS = 8, 77  # of "a dog running in the grass", and what the previous system made of it
CLIP_FRAMES, CLIP_STEPS = 16, 50
CHOICES = [("euler", 20), *((name, steps) for name in ("euler", "dpm++") for steps in (10, 8, 6))]
SHOWN = ("colour_obeyed_seen", "shape_obeyed_seen", "motion_obeyed_seen", "all_obeyed_seen")
CLIPS_TIMED = 7
# Latents are compared with those of so many steps, on prompts that differ in all they can.
CONVERGED_STEPS = 100
COMPARED = (
    "a red circle moving left",
    "a green square growing",
    "a blue triangle moving up",
    "a white circle shrinking",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["step", "steps"])
    parser.add_argument("--frames", type=int, default=4, help="frames of a timed step; a clip has 16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.part == "step":
        compare_steps(arguments.frames, arguments.rounds)
    else:
        find_fewest_steps(arguments.prompts, arguments.seeds)


class AttentionWithWeights(nn.Module):
    """The previous system's: torch's MultiheadAttention, which returns its weights; every text token is seen."""

    def __init__(self, ours: Attention) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(ours.out_proj.in_features, ours.num_heads, batch_first=True)
        self.attention.load_state_dict(ours.state_dict())

    def forward(self, x: Tensor, context: Tensor | None = None, _mask: Tensor | None = None) -> Tensor:
        seen = x if context is None else context
        answer, _weights = self.attention(x, seen, seen)
        return answer


def seed_model(*, is_previous: bool) -> VideoTransformer:
    """The seed preset at full size with random weights, the same for both."""
    torch.manual_seed(0)
    model = VideoTransformer(**PRESET_MODELS["seed"]).eval()
    nn.init.normal_(model.output_proj.weight, std=0.02)
    if is_previous:
        for block in model.blocks:
            name = "attn" if hasattr(block, "attn") else "cross_attn"
            setattr(block, name, AttentionWithWeights(getattr(block, name)).eval())
    return model


@torch.no_grad()
def compare_steps(frames: int, rounds: int) -> None:
    """One denoising step of a clip: all frames at once with the prompt's own tokens, against frame by frame."""
    ours, previous = seed_model(is_previous=False), seed_model(is_previous=True)
    sampler = DDIMSampler()
    sampler.set_timesteps(CLIP_STEPS)
    timestep = sampler.timesteps[:1]
    latents = torch.randn(1, frames, 4, 32, 32)
    padded = torch.randn(1, PADDED_TOKENS, 512)
    text, mask = padded[:, :PROMPT_TOKENS], torch.ones(1, PROMPT_TOKENS, dtype=torch.bool)

    def at_once(given: Tensor = text, real: Tensor = mask) -> Tensor:
        suit_to_cpu(ours, latents.device)
        return sampler.step(ours(latents, timestep, given, real, None), 0, latents)

    def frame_by_frame() -> Tensor:
        multiply_with_mkl()  # memory stays for it as well: malloc has one setting for both
        parts = [previous(frame, timestep, padded, None, None) for frame in latents.split(1, dim=1)]
        return torch.cat([sampler.step(part, 0, x) for part, x in zip(parts, latents.split(1, dim=1), strict=True)], 1)

    seen = torch.ones(1, PADDED_TOKENS, dtype=torch.bool)
    torch.testing.assert_close(at_once(padded, seen), frame_by_frame(), atol=1e-3, rtol=1e-3)
    print(f"the same answer from both; {frames} frames a step, {rounds} rounds, no guidance (the previous system's was")
    print("accepted and ignored)")
    seconds = interleaved({"ours, all frames at once": at_once, "previous, frame by frame": frame_by_frame}, rounds)
    new, old = (statistics.median(each) for each in seconds.values())
    for name, each in seconds.items():
        a_frame = statistics.median(each) / frames
        whole = a_frame * CLIP_FRAMES * CLIP_STEPS / 60
        print(
            f"{name:26} {a_frame:6.2f} s a frame and step ({min(each) / frames:.2f} to {max(each) / frames:.2f})   "
            f"{CLIP_FRAMES} frames × {CLIP_STEPS} steps, extrapolated: {whole:.0f} min"
        )
    print(f"ratio of the medians: {old / new:.2f}")


def interleaved(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each way, one after the other in every round, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = time.process_time()
            way()
            if number:
                seconds[name].append(time.process_time() - began)
    return seconds


def find_fewest_steps(prompts: int, seeds: int) -> None:
    """What the shipped model's videos obey with each sampler and number of steps, and what a clip then costs."""
    pipeline = load_pipeline(open_checkpoint(Path("embedded")), device="cpu", precision="auto")
    seconds, distances = clip_seconds(pipeline), converged_distances(pipeline)
    rows: dict[tuple[str, int], dict[str, float]] = {}
    names = [name.removesuffix("_obeyed_seen") for name in SHOWN]
    print(f"{'':14}" + "".join(f"{name:>9}" for name in [*names, "distance", "clip, s", "ratio", "steps"]), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        run(workspace, "shapes", **SHAPES, clips=1, test_clips=216)
        asked = {"prompts": prompts, "seeds": seeds, "checkpoint": "embedded", "combinations": "seen"}
        for sampler, steps in CHOICES:
            row = scores(run(workspace, "evaluate", **SHAPES, **asked, sampler=sampler, steps=steps))
            rows[sampler, steps] = row
            shares = "".join(f"{row[name]:9.3f}" for name in SHOWN)
            cost, fewer = seconds[sampler, steps], CHOICES[0][1] / steps
            print(
                f"{sampler:6} {steps:2} steps{shares}{distances[sampler, steps]:9.3f}{cost:9.3f}"
                f"{seconds[CHOICES[0]] / cost:9.2f}{fewer:9.2f}",
                flush=True,
            )
    equal = [choice for choice, row in rows.items() if is_as_good(row, rows[CHOICES[0]], prompts * seeds)]
    print(f"as good as {CHOICES[0][0]} with {CHOICES[0][1]} steps, within two standard errors: ", end="")
    print(", ".join(f"{name} {steps}" for name, steps in equal[1:]) or "none")


def is_as_good(row: dict[str, float], base: dict[str, float], videos: int) -> bool:
    """Whether colour, shape and motion are obeyed as often, up to two standard errors of a difference of shares.

    One video is added to either side of each share, as none in a hundred is not never (Agresti & Caffo 2000).
    """
    for name in SHOWN[:3]:
        share = (videos * (row[name] + base[name]) + 2) / (2 * videos + 4)
        if base[name] - row[name] > 2 * (2 * share * (1 - share) / videos) ** 0.5:
            return False
    return True


def clip_seconds(pipeline: TextToVideoPipeline) -> dict[tuple[str, int], float]:
    """CPU seconds from prompt to frames, 8 frames of 64×64, guidance 2: the median of interleaved clips."""
    trained = pipeline.scheduler

    def make(name: str, steps: int) -> Callable[[], object]:
        def clip() -> object:
            pipeline.register_modules(scheduler=choose_sampler(trained, name))
            return pipeline(COMPARED[0], num_inference_steps=steps)

        return clip

    timed = interleaved({f"{name} {steps}": make(name, steps) for name, steps in CHOICES}, CLIPS_TIMED)
    pipeline.register_modules(scheduler=trained)
    return dict(zip(CHOICES, map(statistics.median, timed.values()), strict=True))


@torch.no_grad()
def converged_distances(pipeline: TextToVideoPipeline) -> dict[tuple[str, int], float]:
    """Root mean square from the latents that many steps make of the same noise, which have a deviation of about 1.

    The median of the clips: one in eight goes another way altogether with few steps, and would be most of a mean.
    """
    trained = pipeline.scheduler
    prompts = COMPARED * 2
    noise = torch.stack([randn(pipeline.latent_shape, seed) for seed in range(len(prompts))])

    def latents(name: str, steps: int) -> Tensor:
        pipeline.register_modules(scheduler=choose_sampler(trained, name))
        pipeline.scheduler.set_timesteps(steps)
        return pipeline.denoise(noise, prompts, 0, Guidance(2.0))

    converged = latents("dpm++", CONVERGED_STEPS)
    distances = {}
    for choice in CHOICES:
        apart = (latents(*choice) - converged).square().flatten(1).mean(1).sqrt()
        distances[choice] = float(apart.median())
    pipeline.register_modules(scheduler=trained)
    return distances


if __name__ == "__main__":
    main()
