"""Muon: steps of one length in every direction of a matrix, AdamW's for all else, resumed to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.engine import job_here
from support.engine.training_set import asked, differing, tensors
from torch import nn

from t2v_core.errors import InvalidRequest
from t2v_core.specs import make_spec
from t2v_core.training.optimizers.muon import Muon, orthogonal
from t2v_core.verbs.train import train


@pytest.mark.parametrize("shape", [(24, 24), (16, 64), (64, 16)])
def test_a_step_goes_the_same_length_in_every_direction_of_a_matrix(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(3, *shape), full_matrices=False)
    lengths = torch.linspace(0.02, 1, min(shape)) * torch.tensor([1e-4, 1.0, 1e3])[:, None]
    turned = left.mT @ orthogonal(left @ torch.diag_embed(lengths) @ right) @ right.mT
    values = turned.diagonal(dim1=-2, dim2=-1)
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    assert torch.allclose(turned, torch.diag_embed(values), atol=1e-3)


def test_only_weights_of_the_layers_go_its_way_and_the_rest_as_with_adamw() -> None:
    def parameters() -> dict[str, nn.Parameter]:
        torch.manual_seed(1)
        shapes = {"blocks.0.weight": (8, 2, 2, 1), "blocks.0.bias": (8,), "head.weight": (8, 8)}
        return {name: nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}

    ours, theirs = parameters(), parameters()
    before = {name: value.detach().clone() for name, value in ours.items()}
    settings: dict[str, Any] = {"lr": 0.01, "weight_decay": 0.1}
    optimizers = (Muon(ours, **settings), torch.optim.AdamW(theirs.values(), **settings))
    for optimizer, these in zip(optimizers, (ours, theirs), strict=True):
        for parameter in these.values():
            parameter.grad = torch.arange(parameter.numel()).reshape(parameter.shape).float().cos()
        optimizer.step()
    for name in ("blocks.0.bias", "head.weight"):
        assert torch.equal(ours[name], theirs[name])
    gradient = ours["blocks.0.weight"].grad
    assert gradient is not None
    step = orthogonal(gradient.reshape(1, 8, 4)).reshape(8, 2, 2, 1) * 0.01 * 0.2 * 8**0.5
    assert torch.allclose(ours["blocks.0.weight"], before["blocks.0.weight"] * (1 - 0.001) - step, atol=1e-6)


def test_a_training_with_it_resumes_to_the_bit(tmp_path: Path) -> None:
    def trained(root: Path, **values: Any) -> Path:
        result = train(make_spec("train", values), job_here(root))  # type: ignore[arg-type]
        return root / result.checkpoint

    settings = {"optimizer": "muon", "lr_schedule": "constant", "warmup_steps": 0, "contrast": 0.05}
    whole = trained(tmp_path / "whole", **asked(max_steps=4, **settings))
    trained(tmp_path / "parts", **asked(max_steps=2, **settings))
    parts = trained(tmp_path / "parts", resume=True, max_steps=4)
    assert differing(whole, parts) == []
    names = {name.removeprefix("optimizer/") for name in tensors(whole) if name.startswith("optimizer/blocks.0.attn")}
    assert names
    assert not any(name.endswith("weight.exp_avg_sq") for name in names)


def test_it_is_refused_where_matrices_are_divided_among_processes(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="makes a step of a whole matrix, and --shard divides it") as caught:
        train(make_spec("train", asked(optimizer="muon", shard=True)), job_here(tmp_path))  # type: ignore[arg-type]
    assert "--optimizer adamw" in caught.value.hint
