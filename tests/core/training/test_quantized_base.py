"""An adapter beside weights in 8 or 4 bits. What needs torchao or bitsandbytes is skipped where they are not there."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.training_set import differing
from support.engine.wan_set import wan_and_its_clips
from support.hosts.door import through_the_door
from torch import nn

from t2v_core.events.estimated import Estimated
from t2v_core.models.open.quantizing import PACKAGES, quantize, unpack_anew


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wan_and_its_clips(tmp_path_factory.mktemp("quantized"))


def asked(**values: Any) -> dict[str, Any]:
    usual = {"lora": True, "lora_rank": 4, "epochs": 4, "warmup_steps": 0, "held_out_clips": 0, "device": "cpu"}
    return usual | {"data": "data", "model": "wan"} | values


def test_without_its_package_or_an_adapter_it_is_one_sentence(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t2v_core.models.open.quantizing.is_installed", lambda _how: False)
    for values, sentence in (
        ({"quantize": "int8"}, "--quantize int8 needs torchao, which is not installed here"),
        ({"quantize": "nf4"}, "--quantize nf4 needs bitsandbytes, which is not installed here"),
        ({"quantize": "nf4", "lora": False}, "--quantize nf4 is for what an adapter of an open model lies beside"),
        ({"quantize": "nf4", "shard": True}, "--quantize nf4 and --shard exclude each other"),
    ):
        given = asked(checkpoints="refused", **values)
        given = {name: value for name, value in given.items() if values.get("lora", True) or name != "lora_rank"}
        ended = through_the_door(workspace, "train", **given)
        assert ended.code == 2
        assert ended.sentence.startswith(sentence)


def test_an_estimate_counts_packed_weights(workspace: Path) -> None:
    found = {}
    for how in ("none", *PACKAGES):
        values = asked(quantize=how, gpu="L4", probe=False)
        result = Estimated.of(through_the_door(workspace, "estimate", **values).done)
        assert result is not None
        found[how] = result.memory.weights_bytes
    assert found["nf4"] < found["int8"] < found["none"]


@pytest.mark.parametrize("how", PACKAGES)
def test_it_learns_beside_packed_weights_and_resumes_to_the_bit(workspace: Path, how: str) -> None:
    if importlib.util.find_spec(PACKAGES[how]) is None:
        pytest.skip(f"needs {PACKAGES[how]}: pip install it")
    settings = asked(quantize=how, learning_rate=3e-2, ema_decay=0.5)
    ended = through_the_door(workspace, "train", **settings, checkpoints=f"{how}-whole")
    assert ended.code == 0, ended.events
    losses = [event["loss"] for event in ended.of("step")]
    assert sum(losses[-2:]) < sum(losses[:2])
    assert through_the_door(workspace, "train", **settings, max_steps=2, checkpoints=how).code == 0
    again = through_the_door(workspace, "train", resume=True, checkpoints=how, max_steps=len(losses))
    assert again.code == 0, again.events
    (whole,), newest = (workspace / f"{how}-whole").glob("*_epoch_4"), sorted((workspace / how).glob("*_epoch_4"))
    assert differing(whole, newest[0]) == []


def test_a_backward_pass_holds_no_weights_unpacked() -> None:
    pytest.importorskip("torchao", reason="needs torchao: pip install it")
    side = 256
    layer = nn.Linear(side, side).requires_grad_(False)
    part, plain = nn.Sequential(nn.Sequential(layer)), layer.weight.detach().clone()
    part._repeated_blocks = ["Sequential"]  # type: ignore[assignment]
    quantize(part, "int8", torch.float32)
    unpack_anew(part)
    held: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        held.append(tensor.numel())
        return tensor

    x = torch.randn(3, side, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        part(x).sum().backward()
    assert sum(held) < side * side
    assert x.grad is not None
    assert torch.allclose(x.grad, torch.ones(3, side) @ plain, atol=0.05, rtol=0.05)
