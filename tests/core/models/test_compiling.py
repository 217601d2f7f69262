"""Layers that are compiled compute what they did, keep their names, and a missing compiler is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.training_set import make_run
from torch import Tensor

from t2v_core import embedded, run_job
from t2v_core.assemble import load_asked
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.events import read_events
from t2v_core.models import compiling
from t2v_core.models.compiling import (
    compile_layers,
    missing_compiler,
    pays_to_compile,
    repeated_layers,
    sampling_passes,
)
from t2v_core.models.denoisers.by_name import make_denoiser
from t2v_core.models.denoisers.denoiser import Denoiser
from t2v_core.presets import PRESET_MODELS
from t2v_core.specs import AutoYesNo, GenerateSpec

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SIZES = {
    "in_channels": 4, "sample_size": 8, "num_frames": 2, "text_dim": 8, "pooled_dim": 8, "null_length": 2,
    "hidden_size": 16, "num_layers": 2, "num_heads": 2,
}  # fmt: skip


def model_of(preset: str) -> Denoiser:
    torch.manual_seed(0)
    model = make_denoiser(PRESET_MODELS[preset] | SIZES)
    torch.nn.init.normal_(model.get_submodule("output_proj").weight)  # type: ignore[arg-type]
    return model


def answer_and_gradients(model: Denoiser) -> list[Tensor]:
    drawn = torch.Generator().manual_seed(1)
    latents, text = torch.randn(2, 2, 4, 8, 8, generator=drawn), torch.randn(2, 5, 8, generator=drawn)
    answer = model(latents, torch.tensor([10.0, 500.0]), text, None, torch.randn(2, 8, generator=drawn))
    answer.square().mean().backward()
    return [answer.detach(), *(one.grad for one in model.parameters() if one.grad is not None)]


@pytest.mark.parametrize(("preset", "layers"), [("seed", 4), ("tiny", 2)])
def test_compiled_layers_compute_the_same_under_the_same_names(preset: str, layers: int) -> None:
    plain, compiled = model_of(preset), model_of(preset)
    # All that torch.compile does but to write C++: that takes half a minute here, and only at the first model.
    assert compile_layers(compiled, backend="aot_eager") == compile_layers(compiled, backend="aot_eager") == layers
    assert list(compiled.state_dict()) == list(plain.state_dict())
    for ours, theirs in zip(answer_and_gradients(compiled), answer_and_gradients(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_kept_model_that_was_compiled_draws_uncompiled_when_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "missing_compiler", lambda _: None)  # no layer of it is used here
    spec = GenerateSpec(prompt="a red circle", device="cpu", compile="yes", steps=1)
    checkpoint, keep = open_checkpoint(embedded.DENOISER), dict[str, Any]()
    first = load_asked(checkpoint, spec, pytest.fail, keep=keep).denoiser
    assert all(layer._compiled_call_impl is not None for layer in repeated_layers(first))
    again = load_asked(checkpoint, spec.model_copy(update={"compile": "no"}), pytest.fail, keep=keep).denoiser
    assert again is first
    assert all(layer._compiled_call_impl is None for layer in repeated_layers(again))


@pytest.mark.parametrize(
    ("asked", "device", "passes", "wanted"),
    [
        ("no", CUDA, 10**6, False), ("yes", CUDA, 1, True), ("yes", CPU, 1, True),
        ("auto", CPU, 10**6, False), ("auto", CUDA, 1999, False), ("auto", CUDA, 2000, True),
    ],
)  # fmt: skip
def test_by_itself_only_long_runs_on_a_gpu_are_compiled(
    asked: AutoYesNo, device: torch.device, passes: int, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "missing_compiler", lambda _: None)
    assert pays_to_compile(asked, device, passes, pytest.fail) is wanted


def test_guidance_and_every_video_count_as_passes() -> None:
    assert sampling_passes(GenerateSpec(prompt="x", steps=20, guidance_scale=1)) == 20
    assert sampling_passes(GenerateSpec(prompt="x", steps=20, guidance_scale=3), videos=4) == 160


@pytest.fixture
def headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Python's headers are looked for; this machine may have none."""
    file = tmp_path / "include/Python.h"
    file.parent.mkdir()
    file.touch()
    monkeypatch.setattr(compiling.sysconfig, "get_path", lambda _: str(file.parent))
    return file


@pytest.mark.parametrize("named", [None, "no-such-compiler"])
def test_training_without_a_compiler_says_so_and_trains(
    named: str | None, headers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert headers.is_file()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    if named:
        monkeypatch.setenv("CXX", named)
    run = make_run(tmp_path, compile="yes")
    [events] = tmp_path.glob("jobs/*/events.jsonl")
    [warning] = [event.plain() for event in read_events(events) if event.kind == "warning"]
    assert warning["message"] == "the model is not compiled, for want of a C++ compiler"
    assert "build-essential" in str(warning["hint"])
    assert all(module._compiled_call_impl is None for module in run.plain_model.modules())


def test_without_its_headers_nothing_is_compiled(headers: Path) -> None:
    headers.unlink()
    assert missing_compiler(CPU) == "Python's headers (Python.h)"


def test_a_gpu_wants_triton_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    assert missing_compiler(CUDA) == "the package triton"


def test_a_compiler_that_fails_is_one_sentence() -> None:
    from torch._inductor.exc import CppCompileError

    said = run_job._in_a_sentence(CppCompileError(["g++", "x.cpp"], "cc1plus: out of patience"))
    assert said.message.startswith("torch could not compile the model: C++ compile error")
    assert "--compile no" in said.hint


def test_the_benchmark_for_a_gpu_runs_to_its_end_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its smallest sizes, so that it starts when a GPU comes."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks/engine"))
    import gpu

    monkeypatch.setattr(gpu, "missing_compiler", lambda _: "a C++ compiler")
    monkeypatch.setattr("sys.argv", ["gpu.py", "--small", "--device", "cpu", "--out", str(tmp_path / "gpu")])
    assert gpu.main() == 0
    table, rows = (tmp_path / "gpu.md").read_text(), json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [part for part in rows if f"## {part}\n" not in table] == []
    assert {row["right"] for row in rows["Correctness"]} == {"yes"}
    assert {row["largest difference of the weights"] for row in rows["Resume"]} == {0}
    assert all(row["clips/s"] > 0 for row in rows["Training, base"])
