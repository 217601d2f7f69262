"""A training step of the `seed` preset against the same model whose attention returns its weights, as the previous
system's did: seconds, peak memory, time by part, share of this machine's matrix-product peak.

python benchmarks/engine/training_step.py [--rounds 5] [--frames 1] [--threads 1]        6 GB of memory
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from previous_attention import with_previous_attention
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from t2v_core.models.cpu import suit_to_cpu
from t2v_core.models.denoisers.by_name import denoiser_config
from t2v_core.models.denoisers.video_transformer import VideoTransformer
from t2v_core.presets import PRESET_MODELS
from t2v_core.training.forecast.flops import flops_per_clip
from t2v_core.training.optimizers.optimizer import make_optimizer

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
OURS, PREVIOUS = "t2v", "previous"
PEAK_SIDE, PEAK_RUNS = 2048, 10
# malloc has learned from a few steps what is worth keeping.
WARM_UP = 3
CPU = torch.device("cpu")
TIMED = ("passes", "step", "cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=1, help="of one clip; the model sees each by itself")
    parser.add_argument("--threads", type=int, default=1, help="more wait for each other where others compute as well")
    parser.add_argument("--precision", choices=[*PRECISIONS], help="only this one")
    parser.add_argument("--side", choices=[OURS, PREVIOUS], help="answer questions on stdin: what the two processes do")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.side:
        answer_questions(arguments.side, arguments.frames)
        return
    print(f"{arguments.threads} threads, {arguments.frames} frame(s) of 1024 tokens, 77 text tokens")
    print(f"largest difference of the two predictions: {difference(arguments.frames):.1e}", flush=True)
    for precision in PRECISIONS if arguments.precision is None else [arguments.precision]:
        sides = {name: Side(name, arguments) for name in (OURS, PREVIOUS)}
        print_precision(sides, precision, arguments)
        for side in sides.values():
            side.close()


class Side:
    """A process that trains one of the models, as its system sets a process up."""

    def __init__(self, name: str, arguments: argparse.Namespace) -> None:
        asked = [sys.executable, __file__, "--side", name]
        asked += ["--frames", str(arguments.frames), "--threads", str(arguments.threads)]
        self._process = subprocess.Popen(asked, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, question: str, precision: str) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        print(question, precision, file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def answer_questions(name: str, frames: int) -> None:
    stepper = Stepper(name, frames)
    answers = {"step": stepper.step, "parts": stepper.parts, "peak": matrix_product_peak, "memory": peak_memory_mb}
    for line in sys.stdin:
        question, precision = line.split()
        print(json.dumps(answers[question](precision)), flush=True)


class Stepper:
    """One model with its optimiser, and one batch."""

    def __init__(self, name: str, frames: int) -> None:
        self.model = make_model(frames)
        if name == OURS:
            suit_to_cpu(self.model, CPU)
            self.optimizer = make_optimizer("adamw", dict(self.model.named_parameters()), CPU, lr=1e-6)
        else:
            self.model = with_previous_attention(self.model)
            self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-6)
        torch.manual_seed(1)  # the two sides have drawn differently by now
        self.latents, self.noise = torch.randn(2, 1, frames, 4, 32, 32)
        self.text, self.timesteps = torch.randn(1, 77, 512), torch.tensor([500.0])

    def predict(self) -> Tensor:
        prediction: Tensor = self.model(self.latents, self.timesteps, self.text, None, None)
        return prediction

    def forward_backward(self, precision: str) -> None:
        with torch.autocast("cpu", dtype=PRECISIONS[precision], enabled=precision != "fp32"):
            prediction = self.predict()
        (prediction.float() - self.noise).square().mean().backward()

    def step(self, precision: str) -> dict[str, float]:
        """Seconds of forward and backward pass, of the optimiser, and of all threads' CPU together."""
        cpu, began = time.process_time(), time.perf_counter()
        self.forward_backward(precision)
        middle = time.perf_counter()
        self.optimizer.step()
        self.optimizer.zero_grad()
        ended = time.perf_counter()
        return {"passes": middle - began, "step": ended - began, "cpu": time.process_time() - cpu}

    def parts(self, precision: str) -> dict[str, float]:
        """Shares of the forward and backward pass, from one profiled step."""
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
            self.forward_backward(precision)
        self.optimizer.zero_grad()
        spent: dict[str, float] = dict.fromkeys(("attention", "MLP", "projections", "rest"), 0.0)
        for event in profiled.key_averages(group_by_input_shape=True):
            spent[part(event.key, str(event.input_shapes))] += event.self_cpu_time_total
        return {key: value / sum(spent.values()) for key, value in spent.items()}


def make_model(frames: int) -> VideoTransformer:
    torch.manual_seed(0)
    model = VideoTransformer(**PRESET_MODELS["seed"] | {"num_frames": frames})
    torch.nn.init.normal_(model.output_proj.weight, std=0.02)  # it starts at zero, and would pass no gradient on
    return model


@torch.no_grad()
def difference(frames: int) -> float:
    ours, previous = Stepper(OURS, frames), Stepper(PREVIOUS, frames)  # their batches are drawn from the same seed
    return float((ours.predict() - previous.predict()).abs().max())


def print_precision(sides: dict[str, Side], precision: str, arguments: argparse.Namespace) -> None:
    """Steps in turns, after some of each to warm up; then their memory and their parts."""
    steps: dict[str, list[dict[str, float]]] = defaultdict(list)
    for number in range(WARM_UP + arguments.rounds):
        for name, side in sides.items():
            step = side.ask("step", precision)
            if number >= WARM_UP:
                steps[name].append(step)
    memory = {name: side.ask("memory", precision) for name, side in sides.items()}
    peak = max(side.ask("peak", precision) for side in sides.values())
    flops = flops_per_clip(denoiser_config(make_model(arguments.frames)))
    ratios = {key: [p[key] / o[key] for o, p in zip(*steps.values(), strict=True)] for key in ("step", "cpu")}
    print(f"\n{precision}: previous / t2v = {statistics.median(ratios['step']):.2f}× (the rounds' median; ", end="")
    print(f"{shown(ratios['step'])}); CPU seconds {statistics.median(ratios['cpu']):.2f}× ({shown(ratios['cpu'])});")
    print(f"matrix-product peak {peak / 1e9:.0f} GFLOP/s")
    for name, side in sides.items():
        computing, whole, cpu = (statistics.median(step[key] for step in steps[name]) for key in TIMED)
        each = shown([step["step"] for step in steps[name]])
        print(f"{name:9} step {whole:6.2f} s ({each}), CPU {cpu:.2f} s, peak memory {memory[name] / 1000:.2f} GB")
        parts = {part: share * computing / whole for part, share in side.ask("parts", precision).items()}
        print("          " + ", ".join(f"{part} {share:.0%}" for part, share in parts.items()), end=", ")
        print(f"optimiser {1 - computing / whole:.0%}; {flops / computing / peak:.0%} of the peak before the optimiser")


def shown(values: list[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)


def matrix_product_peak(precision: str) -> float:
    """FLOP/s of the best of several products of square matrices."""
    left, right = torch.randn(2, PEAK_SIDE, PEAK_SIDE).to(PRECISIONS[precision])
    best = float("inf")
    for _ in range(PEAK_RUNS):
        began = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - began)
    return 2 * PEAK_SIDE**3 / best


def peak_memory_mb(_precision: str) -> float:
    """Of all steps so far, with all that Python and torch take."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


def part(operation: str, shapes: str) -> str:
    """What an operation belongs to; only the MLP has a dimension of 3072."""
    if any(word in operation for word in ("bmm", "softmax", "scaled_dot_product", "flash_attention")):
        return "attention"
    if "gelu" in operation or ("mm" in operation and "3072" in shapes):
        return "MLP"
    return "projections" if "mm" in operation else "rest"


if __name__ == "__main__":
    main()
