"""Weights of open models in 8 and 4 bits: which, how many bytes, how near to the plain answer, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.open_models import MODELS, save_open_model
from torch import Tensor

from t2v_core.errors import InvalidRequest
from t2v_core.models.lora.adapter import Adapter, LoraSettings
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.families import open_model
from t2v_core.models.open.memory.footprint import footprint
from t2v_core.models.open.memory.placing import SHARE, place, ways_of
from t2v_core.models.open.parts import Placing
from t2v_core.models.open.quantizing import PACKAGES, quantizable, quantized_bytes

CPU = Placing(torch.device("cpu"), torch.float32)
PROMPT = "a red circle moving left"
SHAPE = (9, 32, 32)
HOWS = [
    pytest.param(how, marks=pytest.mark.skipif(find_spec(package) is None, reason=f"needs {package}: pip install it"))
    for how, package in PACKAGES.items()
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("open")
    return {name: save_open_model(name, root / name) for name in MODELS}


def answer(model: OpenModel, frames: int = 9) -> Tensor:
    x = torch.randn(1, *model.latent_shape(frames, 32, 32), generator=torch.Generator().manual_seed(1))
    return model.predict(x, torch.tensor(600.0), model.text([PROMPT]), 1.0)


@pytest.mark.parametrize("name", MODELS)
def test_linear_layers_of_blocks_are_quantized_and_nothing_else(folders: dict[str, Path], name: str) -> None:
    model = open_model(folders[name], CPU)
    for part in ("transformer", "text_encoder"):
        empty = model.parts.empty(part)
        inside = dict(quantizable(empty))
        assert inside
        assert all("block" in name or "layer" in name for name in inside), sorted(inside)
        sizes = [quantized_bytes(empty, how, 4) for how in PACKAGES]
        assert sizes[1] < sizes[0] < 4 * model.parts.count(part)
    transformer = model.parts.use("transformer")
    before = dict(quantizable(transformer))
    Adapter.beside({"transformer": transformer}, LoraSettings(2, 2.0, ("attention",)), model.adapter_targets)
    assert {id(layer) for _, layer in quantizable(transformer)} == {id(layer) for layer in before.values()}


def place_it(model: OpenModel, **asked: str) -> Placing:
    given = {"offload": "auto", "tiling": "auto", "quantize": "auto"} | asked
    return place(model, SHAPE, **given, warn=[].append)


@pytest.mark.parametrize(("how", "package"), PACKAGES.items())
def test_without_its_package_it_is_one_sentence(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, how: str, package: str
) -> None:
    monkeypatch.setattr("t2v_core.models.open.quantizing.is_installed", lambda _how: False)
    with pytest.raises(InvalidRequest, match=f"--quantize {how} needs {package}, which is not installed") as caught:
        place_it(open_model(folders["wan"], CPU), quantize=how)
    assert f"pip install {package}" in caught.value.hint


def test_quantized_weights_do_not_go_block_by_block(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t2v_core.models.open.quantizing.is_installed", lambda _how: True)
    with pytest.raises(InvalidRequest, match="--quantize int8 and --offload group exclude each other"):
        place_it(open_model(folders["wan"], CPU), quantize="int8", offload="group")
    assert all(way.offload != "group" for way in ways_of() if way.quantize != "none")


@pytest.mark.parametrize("installed", [(), ("nf4",), ("int8", "nf4")])
def test_what_changes_the_videos_comes_last_and_only_where_it_can_be_had(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, installed: tuple[str, ...]
) -> None:
    """With all parts on the device quantizing is what is left."""
    monkeypatch.setattr("t2v_core.models.open.memory.placing.is_installed", lambda how: how in installed)
    model = open_model(folders["wan"], CPU)
    need = footprint(model, *SHAPE)
    most = need.peak("none", is_tiled=True, quantize="int8" if "int8" in installed else "nf4")
    monkeypatch.setattr("t2v_core.models.open.memory.placing.free_bytes", lambda _device: int(most / SHARE) + 1)
    said: list[str] = []
    given: dict[str, Any] = {"offload": "none", "tiling": "auto", "quantize": "auto", "warn": said.append}
    if not installed:
        with pytest.raises(InvalidRequest, match="Wan takes about"):
            place(model, SHAPE, **given)
        return
    assert place(model, SHAPE, **given).quantize == installed[0]
    assert f"--quantize {installed[0]}, which is coarser" in said[0]


@pytest.mark.parametrize("name", ["wan", "ltx", "cogvideox", "mochi", "hunyuan-video"])
@pytest.mark.parametrize("how", HOWS)
def test_the_answer_is_near_the_plain_one(folders: dict[str, Path], how: str, name: str) -> None:
    frames = 7 if name == "mochi" else 9
    plain = answer(open_model(folders[name], CPU), frames)
    quantized = answer(open_model(folders[name], replace(CPU, quantize=how)), frames)
    off = (quantized - plain).norm() / plain.norm()
    assert 0 < off < {"int8": 0.05, "nf4": 0.3}[how]
    moved = answer(open_model(folders[name], replace(CPU, quantize=how, offload="model")), frames)
    assert torch.equal(moved, quantized)


@pytest.mark.parametrize("how", HOWS)
def test_an_adapter_lies_beside_quantized_weights(folders: dict[str, Path], tmp_path: Path, how: str) -> None:
    from safetensors.torch import save_file

    tensors = {}
    for layer in ("blocks.0.attn1.to_q", "blocks.1.attn2.to_out.0"):
        tensors[f"transformer.{layer}.lora_A.weight"] = torch.randn(2, 24)
        tensors[f"transformer.{layer}.lora_B.weight"] = torch.randn(24, 2)
    save_file(tensors, tmp_path / "a.safetensors")
    answers = []
    for quantize in ("none", how):
        model = open_model(folders["wan"], replace(CPU, quantize=quantize))
        model.parts.loras = (model.lora(tmp_path / "a.safetensors"),)
        answers.append(answer(model))
    plain = answer(open_model(folders["wan"], CPU))
    assert (answers[0] - plain).norm() > 2 * (answers[1] - answers[0]).norm()
