"""AdamW with its moments in 8 bits: resumed to the bit, counted by estimates, and refused in one sentence."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from support.engine.training_set import differing
from support.engine.wan_set import wan_and_its_clips
from support.engine.warm_engine import begin
from support.hosts.door import through_the_door
from torch import nn

from t2v_core.events.estimated import Estimated
from t2v_core.models.open.families import open_model
from t2v_core.models.open.parts import Placing
from t2v_core.specs import TrainSpec
from t2v_core.training.base.open import suited_to_open
from t2v_core.training.optimizers.eight_bits import LEAST_VALUES, NAME, PACKAGE, moments_bytes
from t2v_core.training.optimizers.optimizer import make_optimizer, optimizer_tensors, restore_optimizer

CPU = torch.device("cpu")
needs_it = pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"needs {PACKAGE}: pip install it")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wan_and_its_clips(tmp_path_factory.mktemp("eight-bits"))


def asked(**values: Any) -> dict[str, Any]:
    """A rank that makes tensors large enough to be packed: 256 × 24."""
    usual = {"lora": True, "lora_rank": 256, "epochs": 4, "warmup_steps": 0, "held_out_clips": 0, "device": "cpu"}
    return usual | {"data": "data", "model": "wan", "optimizer": NAME} | values


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"large": nn.Linear(64, 64), "small": nn.Linear(8, 8)})


def gradients(model: nn.Module, seeds: range) -> Iterator[None]:
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        yield


def made(model: nn.Module, name: str = NAME) -> torch.optim.Optimizer:
    return make_optimizer(name, dict(model.named_parameters()), CPU, lr=1e-2, weight_decay=0.1)


@needs_it
def test_a_step_is_nearly_adamws_and_moments_take_what_is_reckoned(model: nn.Module) -> None:
    ours, theirs = model, nn.ModuleDict({"large": nn.Linear(64, 64), "small": nn.Linear(8, 8)})
    theirs.load_state_dict(ours.state_dict())
    packed, plain = made(ours), made(theirs, "adamw")
    for _ in zip(gradients(ours, range(20)), gradients(theirs, range(20)), strict=True):
        packed.step()
        plain.step()
    for name, parameter in theirs.named_parameters():
        assert torch.allclose(ours.get_parameter(name), parameter, atol=2e-2), name
    tensors = optimizer_tensors(ours, packed)
    held = sum(tensor.nbytes for key, tensor in tensors.items() if not key.endswith(".step"))
    assert held == moments_bytes([parameter.numel() for parameter in ours.parameters()], NAME)
    assert tensors["large.weight.state1"].dtype is torch.uint8
    assert ours["large"].weight.numel() >= LEAST_VALUES


@needs_it
def test_its_state_goes_through_a_file_as_if_nothing_had_happened(model: nn.Module) -> None:
    first = made(model)
    for _ in gradients(model, range(5)):
        first.step()
    tensors = {key: value.clone() for key, value in optimizer_tensors(model, first).items()}
    again = nn.ModuleDict({"large": nn.Linear(64, 64), "small": nn.Linear(8, 8)})
    again.load_state_dict(model.state_dict())
    second = made(again)
    restore_optimizer(again, second, tensors)
    for _ in zip(gradients(model, range(5, 9)), gradients(again, range(5, 9)), strict=True):
        first.step()
        second.step()
    for name, parameter in model.named_parameters():
        assert torch.equal(again.get_parameter(name), parameter), name


@needs_it
def test_a_training_that_is_killed_goes_on_to_the_same_bits(workspace: Path) -> None:
    ended = through_the_door(workspace, "train", **asked(checkpoints="whole"))
    assert ended.code == 0, ended.events
    assert any("AdamW in 8 bits" in event.get("detail", "") for event in ended.events)
    child = begin(workspace, "train", **asked(checkpoints="killed"))
    child.wait_for(lambda event: event["kind"] == "checkpoint")
    child.signal(signal.SIGKILL)
    assert child.end().code == -signal.SIGKILL
    again = through_the_door(workspace, "train", resume=True, checkpoints="killed")
    assert again.code == 0, again.events
    whole, killed = (workspace / name / "checkpoint_epoch_4" for name in ("whole", "killed"))
    assert differing(whole, killed) == []
    with safe_open(killed / "optimizer.safetensors", framework="pt") as file:
        assert {key.rpartition(".")[2] for key in sorted(file.keys())} == {
            "step",
            "state1",
            "state2",
            "absmax1",
            "absmax2",
        }
    other = through_the_door(workspace, "train", resume=True, checkpoints="killed", epochs=5, optimizer="adamw")
    assert (other.code, "optimizer was adamw8bit, now adamw" in other.sentence) == (2, True)


def test_without_its_package_it_is_one_sentence(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t2v_core.training.optimizers.eight_bits.is_installed", lambda: False)
    ended = through_the_door(workspace, "train", **asked(checkpoints="refused"))
    assert (ended.code, ended.sentence) == (2, "--optimizer adamw8bit needs bitsandbytes, which is not installed here")
    assert "pip install bitsandbytes into t2v's environment" in ended.error["hint"]
    assert not (workspace / "refused").exists()


def test_on_a_device_that_the_package_has_no_step_for_it_is_one_sentence(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("t2v_core.training.optimizers.eight_bits.is_installed", lambda: True)
    monkeypatch.setattr("t2v_core.training.optimizers.eight_bits.is_there_for", lambda _device: False)
    ended = through_the_door(workspace, "train", **asked(checkpoints="refused"))
    assert (ended.code, ended.sentence.startswith("--optimizer adamw8bit needs bitsandbytes for cpu")) == (2, True)


def test_a_tensor_is_not_divided_while_it_is_packed(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t2v_core.training.setup.require_it", lambda _device: None)
    ended = through_the_door(workspace, "train", **asked(checkpoints="refused", shard=True))
    assert ended.sentence == "--optimizer adamw8bit packs a whole tensor, and --shard divides it among processes"


@pytest.mark.parametrize(
    ("is_there", "device", "said", "expected"),
    [
        (True, "cuda", {}, NAME),
        (False, "cuda", {}, "adamw"),
        (True, "cpu", {}, "adamw"),
        (True, "cuda", {"optimizer": "adamw"}, "adamw"),
        (True, "cuda", {"lora": False}, "adamw"),
        (True, "cuda", {"shard": True}, "adamw"),
    ],
)
def test_an_adapter_of_an_open_model_takes_it_on_a_gpu_where_it_is_there(
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_there: bool,
    device: str,
    said: dict[str, Any],
    expected: str,
) -> None:
    monkeypatch.setattr("t2v_core.training.base.open.pick_device", lambda _asked: torch.device(device))
    monkeypatch.setattr("t2v_core.training.base.open.is_there_for", lambda _device: is_there)
    monkeypatch.setattr("t2v_core.training.base.open.arithmetic", lambda *_given: torch.float32)
    spec = TrainSpec.model_validate({"model": "wan", "lora": True} | said)
    suited = suited_to_open(spec, open_model(workspace / "wan", Placing(CPU, torch.float32)), lambda *_: None)
    assert suited.optimizer == expected


def test_an_estimate_counts_moments_and_checkpoints_in_8_bits(workspace: Path) -> None:
    found = {}
    for optimizer in ("adamw", NAME):
        given = asked(optimizer=optimizer, gpu="L4", probe=False)
        result = Estimated.of(through_the_door(workspace, "estimate", **given).done)
        assert result is not None
        found[optimizer] = result
    plain, packed = found["adamw"], found[NAME]
    assert plain.memory.adam_bytes == 8 * plain.model.parameters
    assert packed.memory.adam_bytes < 0.26 * plain.memory.adam_bytes
    assert packed.disk.checkpoint < 0.64 * plain.disk.checkpoint
