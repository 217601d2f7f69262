"""Whichever kernels compute attention, the answer and its gradients are the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from t2v_core.models import cpu
from t2v_core.models.cpu import multiply_with_mkl, multiply_with_onednn, onednn_multiplies, suit_to_cpu
from t2v_core.models.denoisers import attention
from t2v_core.models.denoisers.attention import attend

Attend = Callable[..., Tensor]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


@pytest.fixture
def products_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor for which oneDNN multiplies."""
    monkeypatch.setattr(attention, "onednn_multiplies", lambda: True)


def with_gradients(function: Attend, inputs: list[Tensor], mask: Tensor | None) -> list[Tensor]:
    """The answer, and the gradients of queries, keys and values, as float64."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    answer = function(*leaves, mask)
    weight = torch.linspace(-1, 1, answer.numel(), dtype=torch.float64).view(answer.shape)
    (answer.double() * weight).sum().backward()
    return [answer.detach().double(), *(leaf.grad.double() for leaf in leaves if leaf.grad is not None)]


def exact(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    return functional.scaled_dot_product_attention(query.double(), key.double(), value.double(), attn_mask=mask)


@pytest.mark.usefixtures("products_of_its_own")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("batch", "queries", "keys"), [(3, 40, 9), (2, 40, 200), (2, 40, 77), (70, 8, 8), (2, 1200, 900)]
)
@pytest.mark.parametrize("is_masked", [False, True])
def test_attention_in_products_answers_as_exact_attention_does(
    dtype: torch.dtype, batch: int, queries: int, keys: int, is_masked: bool
) -> None:
    torch.manual_seed(0)
    shapes = [(batch, length, 4, 16) for length in (queries, keys, keys)]
    inputs = [torch.randn(shape).to(dtype).transpose(1, 2) for shape in shapes]
    mask = torch.rand(batch, 1, 1, keys) < 0.6 if is_masked else None
    if mask is not None:
        mask[..., 0] = True

    ours, theirs = with_gradients(attend, inputs, mask), with_gradients(exact, inputs, mask)

    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= TOLERANCE[dtype] * other.norm()


def test_products_by_onednn_are_float32_to_the_last_bit_that_matters() -> None:
    left, right = torch.randn(2, 300, 300, generator=torch.Generator().manual_seed(0))
    try:
        multiply_with_onednn()
        error = (left @ right - left.double() @ right.double()).abs().max()
    finally:
        multiply_with_mkl()
    assert error < 1e-4  # rounded to bf16 it is about 0.2


def test_suiting_a_gpu_or_a_small_model_leaves_the_products_to_mkl() -> None:
    suit_to_cpu(nn.Linear(3, 3), torch.device("cuda"))
    assert not onednn_multiplies()
    suit_to_cpu(nn.Linear(3, 3), torch.device("cpu"))
    assert not onednn_multiplies()


def test_a_large_model_is_multiplied_by_onednn_where_mkl_lacks_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "mkl_lacks_avx512", lambda: True)
    monkeypatch.setattr(cpu, "_products_are_exact", lambda: True)
    monkeypatch.setattr(cpu, "LARGE_PARAMETERS", 9)
    try:
        suit_to_cpu(nn.Linear(3, 3), torch.device("cpu"))
        assert onednn_multiplies()
    finally:
        multiply_with_mkl()
