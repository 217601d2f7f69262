"""FSDP2: each process holds its part of every weight, and has a layer whole only while that computes.

Averages and Adam's moments follow the weights. Checkpoints hold whole tensors, so that any number of processes, and
one, can go on with them.
Source: Zhao et al. 2023; https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from t2v_core.errors import InvalidRequest
from t2v_core.models.compiling import repeated_layers


def shard(model: ModelMixin, device: torch.device, dtype: torch.dtype, processes: int) -> None:
    """Divide a model's weights among the processes of a run, layer by layer.

    dtype: of the arithmetic, in which weights travel; gradients are added up in float32
    Raises InvalidRequest for one process, and for fp16, whose loss scale each process would change on its own.
    """
    if processes == 1:
        raise InvalidRequest("--shard divides the model among processes, and this is one", hint="add --processes N")
    if dtype is torch.float16:
        raise InvalidRequest("--shard does not go with fp16", hint="--precision bf16 or fp32")
    mesh = init_device_mesh(device.type, (processes,))
    # Inputs stay as they are: a timestep in bf16 would be another one.
    policy = MixedPrecisionPolicy(
        param_dtype=None if dtype is torch.float32 else dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for module in [*repeated_layers(model), model]:
        # Also the outermost, which keeps its own otherwise: averages are swapped in between two passes.
        fully_shard(module, mesh=mesh, mp_policy=policy, reshard_after_forward=True)


def is_sharded(model: nn.Module) -> bool:
    """Return True for a model whose weights are divided among processes."""
    return isinstance(model, FSDPModule)


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor; every process of the run calls it for one that is divided."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Return what this process holds of a whole tensor that is to be divided as another is."""
    if not isinstance(like, DTensor) or isinstance(tensor, DTensor):
        return tensor
    on_device = tensor.to(like.device, like.dtype)
    return distribute_tensor(on_device, like.device_mesh, like.placements, src_data_rank=None)


def parts_of(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the same of several, by name."""
    return {name: part_of(tensor, like[name]) if name in like else tensor for name, tensor in tensors.items()}


def gathered(files: Mapping[str, dict[str, Tensor]], *, is_kept: bool) -> dict[str, dict[str, Tensor]]:
    """Return files of whole tensors in CPU memory; every process calls it, and those that keep nothing get none."""
    kept: dict[str, dict[str, Tensor]] = {}
    for file, tensors in files.items():
        for name, tensor in tensors.items():
            value = whole(tensor.detach())
            if is_kept:
                kept.setdefault(file, {})[name] = value.cpu()
    return kept
