"""A training step of the `seed` preset against the same model whose attention returns its weights, as the previous
system's did: seconds, peak memory, time by part, share of this machine's matrix-product peak.

python benchmarks/training_step.py [--rounds 5] [--frames 1] [--threads 1]        6 GB of memory
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import torch
from previous_attention import with_previous_attention
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from t2v_core.models.denoisers import denoiser_config
from t2v_core.models.video_transformer import VideoTransformer
from t2v_core.presets import PRESET_MODELS
from t2v_core.training.flops import flops_per_clip

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
OURS, PREVIOUS = "t2v", "previous"
PEAK_SIDE, PEAK_RUNS = 2048, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=1, help="of one clip; the model sees each by itself")
    parser.add_argument("--threads", type=int, default=1, help="more wait for each other where others compute as well")
    parser.add_argument("--peak", nargs=2, metavar=("MODEL", "PRECISION"), help="only this step's peak memory, in MB")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        print(f"{peak_memory_mb(*arguments.peak, frames=arguments.frames):.0f}")
        return
    stepper = Stepper(arguments.frames)
    print(f"{torch.get_num_threads()} threads, {arguments.frames} frame(s) of 1024 tokens, 77 text tokens")
    print(f"largest difference of the two predictions: {stepper.difference():.1e}")
    for precision in PRECISIONS:
        print_precision(stepper, precision, arguments.rounds)


class Stepper:
    """Both models around the same weights, one optimiser, one batch."""

    def __init__(self, frames: int) -> None:
        torch.manual_seed(0)
        model = VideoTransformer(**PRESET_MODELS["seed"] | {"num_frames": frames})
        torch.nn.init.normal_(model.output_proj.weight, std=0.02)  # it starts at zero, and would pass no gradient on
        self.models = {OURS: model, PREVIOUS: with_previous_attention(model)}
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
        self.latents, self.noise = torch.randn(2, 1, frames, 4, 32, 32)
        self.text, self.timesteps = torch.randn(1, 77, 512), torch.tensor([500.0])
        self.flops = flops_per_clip(denoiser_config(model))

    def predict(self, name: str) -> Tensor:
        prediction: Tensor = self.models[name](self.latents, self.timesteps, self.text, None, None)
        return prediction

    @torch.no_grad()
    def difference(self) -> float:
        return float((self.predict(OURS) - self.predict(PREVIOUS)).abs().max())

    def forward_backward(self, name: str, precision: str) -> None:
        with torch.autocast("cpu", dtype=PRECISIONS[precision], enabled=precision != "fp32"):
            prediction = self.predict(name)
        (prediction.float() - self.noise).square().mean().backward()

    def step(self, name: str, precision: str) -> tuple[float, float]:
        """Seconds of forward and backward pass, and of the optimiser."""
        began = time.perf_counter()
        self.forward_backward(name, precision)
        middle = time.perf_counter()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return middle - began, time.perf_counter() - middle


def print_precision(stepper: Stepper, precision: str, rounds: int) -> None:
    """Steps in turns, after one of each to warm up; then their parts and their memory."""
    passes: dict[str, list[float]] = defaultdict(list)
    steps: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        for name in (OURS, PREVIOUS):
            both, optimizer = stepper.step(name, precision)
            if number:
                passes[name].append(both)
                steps[name].append(both + optimizer)
    peak = matrix_product_peak(PRECISIONS[precision])
    ours, previous = (statistics.median(steps[name]) for name in (OURS, PREVIOUS))
    print(f"\n{precision}: previous / t2v = {previous / ours:.2f}×; matrix-product peak {peak / 1e9:.0f} GFLOP/s")
    for name in (OURS, PREVIOUS):
        computing, whole = statistics.median(passes[name]), statistics.median(steps[name])
        memory_mb = measured_apart(name, precision, stepper.latents.shape[1])
        each = " ".join(f"{value:.2f}" for value in steps[name])
        print(f"{name:9} step {whole:6.2f} s ({each}), peak memory {memory_mb / 1000:.2f} GB")
        share = stepper.flops / computing / peak
        parts = parts_of(stepper, name, precision)
        shown = ", ".join(f"{part} {seconds * computing / whole:.0%}" for part, seconds in parts.items())
        print(f"          {shown}, optimiser {1 - computing / whole:.0%}; {share:.0%} of the peak before the optimiser")


def matrix_product_peak(dtype: torch.dtype) -> float:
    """FLOP/s of the best of several products of square matrices."""
    left, right = torch.randn(2, PEAK_SIDE, PEAK_SIDE).to(dtype)
    best = float("inf")
    for _ in range(PEAK_RUNS):
        began = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - began)
    return 2 * PEAK_SIDE**3 / best


def parts_of(stepper: Stepper, name: str, precision: str) -> dict[str, float]:
    """Shares of the forward and backward pass, from one profiled step."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
        stepper.forward_backward(name, precision)
    stepper.optimizer.zero_grad()
    spent: dict[str, float] = dict.fromkeys(("attention", "MLP", "projections", "rest"), 0.0)
    for event in profiled.key_averages(group_by_input_shape=True):
        spent[part(event.key, str(event.input_shapes))] += event.self_cpu_time_total
    return {key: value / sum(spent.values()) for key, value in spent.items()}


def part(operation: str, shapes: str) -> str:
    """What an operation belongs to; only the MLP has a dimension of 3072."""
    if any(word in operation for word in ("bmm", "softmax", "scaled_dot_product", "flash_attention")):
        return "attention"
    if "gelu" in operation or ("mm" in operation and "3072" in shapes):
        return "MLP"
    return "projections" if "mm" in operation else "rest"


def measured_apart(name: str, precision: str, frames: int) -> float:
    asked = [sys.executable, __file__, "--peak", name, precision, "--frames", str(frames)]
    return float(subprocess.run(asked, stdout=subprocess.PIPE, check=True).stdout)


def peak_memory_mb(name: str, precision: str, *, frames: int) -> float:
    """Of one whole step after the optimiser has its moments, all that Python and torch take included."""
    stepper = Stepper(frames)
    for parameter in stepper.models[name].parameters():
        parameter.grad = torch.zeros_like(parameter)
    stepper.optimizer.step()
    stepper.optimizer.zero_grad()
    stepper.step(name, precision)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
