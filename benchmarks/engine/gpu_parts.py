"""The parts of `benchmarks/engine/gpu.py`: each measures one thing and returns the rows of its table."""

from __future__ import annotations

import copy
import gc
import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKL
from full_size import SD_VAE
from previous_attention import with_previous_attention
from torch import Tensor, nn

from t2v_core.models.compiling import compile_layers
from t2v_core.models.denoisers.by_name import denoiser_config, make_denoiser
from t2v_core.models.denoisers.video_transformer import VideoTransformer
from t2v_core.presets import PRESET_MODELS
from t2v_core.training.forecast.flops import flops_per_clip
from t2v_core.training.optimizers.optimizer import make_optimizer

Row = dict[str, Any]
TEXT_TOKENS, STEPS_OF_A_VIDEO = 16, 50
ROUNDS = 5
# bf16 has 8 bits; a few hundred roundings in a row, against 53 bits, are off by about a hundredth of the answer.
BF16_ERROR, COMPILED_ERROR = 0.03, 0.02
SMALL: dict[str, Any] = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "sample_size": 8, "num_frames": 2}


@dataclass
class Bench:
    """Where and at which size. compiles: whether a compiler is there"""

    device: torch.device
    is_small: bool
    backend: str
    compiles: bool = True

    def config(self, preset: str, **changes: Any) -> dict[str, Any]:
        text = {"text_dim": 512, "pooled_dim": 0 if preset == "seed" else 512, "null_length": 2}
        return PRESET_MODELS[preset] | text | (SMALL if self.is_small else {}) | changes

    def model(self, preset: str, **changes: Any) -> VideoTransformer:
        """Random weights, the last layer too: it starts at zero, and would pass no gradient on."""
        torch.manual_seed(0)
        model = make_denoiser(self.config(preset, **changes))
        assert isinstance(model, VideoTransformer)
        nn.init.normal_(model.output_proj.weight, std=0.02)
        return model.to(self.device)

    def batch(self, model: VideoTransformer, clips: int, dtype: torch.dtype = torch.float32) -> list[Any]:
        """What a pass takes, of so many clips, and a target of the latents' shape."""
        config: Any = model.config
        shape = (clips, config.num_frames, config.in_channels, config.sample_size, config.sample_size)
        drawn = torch.Generator(self.device).manual_seed(1)

        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=drawn, device=self.device).to(dtype)

        timesteps = torch.linspace(10, 990, clips, device=self.device)
        pooled = draw(clips, config.pooled_dim) if config.pooled_dim else None
        return [draw(*shape), timesteps, draw(clips, TEXT_TOKENS, config.text_dim), None, pooled, draw(*shape)]

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object], *, warm_up: int = 3) -> float:
        """Median of several runs, once it has warmed up."""
        for _ in range(1 if self.is_small else warm_up):
            work()
        took = []
        for _ in range(2 if self.is_small else ROUNDS):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            took.append(time.perf_counter() - began)
        return statistics.median(took)

    def peak(self) -> Row:
        """Of the device's memory, where it tells."""
        is_told = self.device.type == "cuda"
        return {"peak GB": torch.cuda.max_memory_reserved(self.device) / 1e9} if is_told else {}

    def clear(self) -> None:
        gc.collect()
        torch.compiler.reset()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def compiled(self, model: VideoTransformer) -> VideoTransformer:
        compile_layers(model, backend=self.backend)
        return model


def matmul_rate(bench: Bench) -> float:
    """FLOP/s of a product of large matrices in bf16."""
    side = 256 if bench.is_small else 8192
    left, right = torch.randn(2, side, side, device=bench.device).bfloat16()
    return 2 * side**3 / bench.seconds(lambda: left @ right)


def loss_of(model: nn.Module, batch: list[Any], *, dtype: torch.dtype | None = torch.bfloat16) -> Tensor:
    """As a training step computes it. dtype: of autocast; None: as the weights are"""
    *given, target = batch
    with torch.autocast(target.device.type, dtype=dtype, enabled=dtype is not None):
        answer = model(*given)
    return (answer.float() - target.float()).square().mean()


def correctness(bench: Bench) -> list[Row]:
    """bf16, and compiled bf16, against float64, on one frame of small latents."""
    rows = []
    for preset in ("seed", "base"):
        model = bench.model(preset, num_frames=2, sample_size=8)
        exact = answer_of(copy.deepcopy(model).double(), bench.batch(model, 2, torch.float64), None)
        rounded = answer_of(model, bench.batch(model, 2), torch.bfloat16)
        rows.append(told(f"{preset}, bf16 against fp64", rounded, exact, BF16_ERROR))
        if bench.compiles:
            again = answer_of(bench.compiled(model), bench.batch(model, 2), torch.bfloat16)
            rows.append(told(f"{preset}, compiled against not", again, rounded, COMPILED_ERROR))
        bench.clear()
    return rows


@torch.no_grad()
def answer_of(model: nn.Module, batch: list[Any], dtype: torch.dtype | None) -> Tensor:
    with torch.autocast(batch[0].device.type, dtype=dtype, enabled=dtype is not None):
        return torch.as_tensor(model(*batch[:-1])).double()


def told(what: str, found: Tensor, right: Tensor, bar: float) -> Row:
    error = float((found - right).norm() / right.norm())
    return {"what": what, "relative error": error, "bar": bar, "right": "yes" if error <= bar else "NO"}


def training(bench: Bench, preset: str, peaks: Mapping[str, float]) -> list[Row]:
    """Batches from 1 up to what fits, compiled; the largest also without, and with gradient checkpointing."""
    rows: list[Row] = []
    flops = flops_per_clip(denoiser_config(bench.model(preset)))
    batches = [1, 2] if bench.is_small else [2, 4, 8, 16, 32, 64]
    fitting = batches[0]
    for clips in batches:
        row = step_row(bench, bench.model(preset), clips, flops, peaks, compiles=bench.compiles)
        rows.append({"of": preset, **row})
        if "clips/s" not in row:
            break
        fitting = clips
    rows.append({"of": preset, **step_row(bench, bench.model(preset), fitting, flops, peaks, compiles=False)})
    model = bench.model(preset)
    model.enable_gradient_checkpointing()
    row = step_row(bench, model, fitting, flops, peaks, compiles=bench.compiles)
    rows.append({"of": f"{preset}, gradient checkpointing", **row})
    if preset == "seed":
        for clips in sorted({2, min(fitting, 8)}):
            previous = with_previous_attention(bench.model(preset)).to(bench.device)
            row = step_row(bench, previous, clips, flops, peaks, compiles=False, dtype=torch.float16)
            rows.append({"of": "the previous system (fp16, attention that returns its weights)", **row})
    return rows


def step_row(
    bench: Bench, model: VideoTransformer, clips: int, flops: float, peaks: Mapping[str, float], *, compiles: bool,
    dtype: torch.dtype = torch.bfloat16,
) -> Row:  # fmt: skip
    """One optimiser step of so many clips; without figures where they do not fit."""
    bench.clear()
    row: Row = {"clips a step": clips, "compiled": "yes" if compiles else "no"}
    if compiles:
        bench.compiled(model)
    optimizer, batch = (
        make_optimizer("adamw", dict(model.named_parameters()), bench.device, lr=1e-6),
        bench.batch(model, clips),
    )

    def step() -> None:
        loss_of(model, batch, dtype=dtype).backward()
        optimizer.step()
        optimizer.zero_grad()

    try:
        seconds = bench.seconds(step)
    except torch.cuda.OutOfMemoryError:
        return row | {"peak GB": "does not fit"}
    rate = clips / seconds
    shares = {name: rate * flops / peak for name, peak in peaks.items()}
    return row | {"clips/s": rate, "step ms": 1000 * seconds, **shares, **bench.peak()}


def resume(bench: Bench) -> list[Row]:
    """Some steps in one go, and with weights and moments written out half-way and read into a new model."""
    rows = []
    for compiles in (False, True) if bench.compiles else (False,):
        bench.clear()
        whole = after_steps(bench, 4, None, compiles=compiles)
        again = after_steps(bench, 2, after_steps(bench, 2, None, compiles=compiles), compiles=compiles)
        pairs = zip(whole["model"].values(), again["model"].values(), strict=True)
        largest = max(float((one - other).abs().max()) for one, other in pairs)
        rows.append({"compiled": "yes" if compiles else "no", "largest difference of the weights": largest})
    return rows


def after_steps(bench: Bench, steps: int, state: dict[str, Any] | None, *, compiles: bool) -> dict[str, Any]:
    model = bench.model("base", num_layers=2 if bench.is_small else 4)
    optimizer = make_optimizer("adamw", dict(model.named_parameters()), bench.device, lr=1e-3)
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    if compiles:
        bench.compiled(model)
    batch = bench.batch(model, 2)
    for _ in range(steps):
        loss_of(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    return copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict()})


def sampling(bench: Bench) -> list[Row]:
    """Frames a second of a video of 50 steps with guidance, which is two clips a pass."""
    rows: list[Row] = []
    ways = [
        "as it is",
        *(["compiled"] if bench.compiles else []),
        *(["CUDA graph"] if bench.device.type == "cuda" else []),
    ]
    for preset, way in itertools.product(("base", "seed"), ways):
        bench.clear()
        model = bench.model(preset).to(torch.bfloat16 if bench.device.type == "cuda" else torch.float32).eval()
        rows.append(sampling_row(bench, model, preset, way))
    previous = with_previous_attention(bench.model("seed")).to(bench.device).eval()
    rows.append(sampling_row(bench, previous, "the previous system (fp32, no guidance)", "as it is", clips=1))
    return rows


@torch.no_grad()
def sampling_row(bench: Bench, model: VideoTransformer, of: str, way: str, clips: int = 2) -> Row:
    if way == "compiled":
        bench.compiled(model)
    given = bench.batch(model, clips, next(model.parameters()).dtype)[:-1]
    one_pass: Callable[[], object] = partial(model, *given)
    if way == "CUDA graph":
        one_pass = captured(one_pass)
    seconds = bench.seconds(one_pass)
    config: Any = model.config
    rate = config.num_frames / (STEPS_OF_A_VIDEO * seconds)
    return {"of": of, "way": way, "pass ms": 1000 * seconds, "frames/s": rate, **bench.peak()}


def captured(work: Callable[[], object]) -> Callable[[], object]:
    """The same work as a CUDA graph, which starts all its kernels at once. It has warmed up on a stream of its own."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


@torch.no_grad()
def vae(bench: Bench) -> list[Row]:
    """Frames of 256 × 256 a second into latents and back, at the sizes of sd-vae-ft-mse."""
    config = dict(SD_VAE) | ({"block_out_channels": (32, 32), "layers_per_block": 1} if bench.is_small else {})
    if bench.is_small:
        config |= {"down_block_types": config["down_block_types"][:2], "up_block_types": config["up_block_types"][:2]}
    rows: list[Row] = []
    count, side = (1, 32) if bench.is_small else (16, 256)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        bench.clear()
        torch.manual_seed(0)
        model: Any = AutoencoderKL(**config).to(bench.device, torch.bfloat16, memory_format=memory_format).eval()
        frames = torch.randn(count, 3, side, side, device=bench.device).bfloat16()
        frames = frames.to(memory_format=memory_format)
        latents = model.encode(frames).latent_dist.mean
        into = bench.seconds(lambda model=model, frames=frames: model.encode(frames))
        back = bench.seconds(lambda model=model, latents=latents: model.decode(latents))
        name = "channels last" if memory_format is torch.channels_last else "as it is"
        rows.append({
            "memory": name, "encoded frames/s": count / into, "decoded frames/s": count / back,
            **bench.peak(),
        })  # fmt: skip
    return rows
