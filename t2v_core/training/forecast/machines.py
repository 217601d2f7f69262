"""Where a training is to run: the device that is here, or a GPU of the table."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from t2v_core.machine import available_memory_bytes, cores, resident_bytes
from t2v_core.models.live_bytes import CUDA_CONTEXT_BYTES
from t2v_core.models.loading import pick_device, pick_dtype
from t2v_core.specs import TrainSpec
from t2v_core.training.forecast.gpus import Gpu, gpu_of_device


@dataclass(frozen=True)
class Machine:
    """Where the training is to run.

    memory_bytes: what a training can have there, on the device that computes
    framework_bytes: of that, what the process takes without any run
    """

    name: str
    device: str
    dtype: torch.dtype
    memory_bytes: int
    framework_bytes: int
    gpu: Gpu | None
    is_here: bool

    @property
    def arithmetic(self) -> str:
        """Return `fp32`, `bf16` or `fp16`."""
        return {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[self.dtype]


def this_machine(spec: TrainSpec, *, built_parameters: int = 0) -> Machine:
    """Return the device that training would take here, as it would be without a run.

    built_parameters: of a run that holds its weights and averages already
    Raises InvalidRequest when there is no device of that name.
    """
    device = pick_device(spec.device)
    dtype = pick_dtype(spec.precision, device)
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
        return Machine(name, "cuda", dtype, free, CUDA_CONTEXT_BYTES, gpu_of_device(name), is_here=True)
    held = resident_bytes()
    name = f"this machine ({cores()} cores, no GPU)" if device.type == "cpu" else "this machine's GPU"
    framework = max(0, held - 2 * torch.float32.itemsize * built_parameters) if device.type == "cpu" else held
    return Machine(name, device.type, dtype, available_memory_bytes() + held, framework, None, is_here=True)


def other_machine(gpu: Gpu, spec: TrainSpec) -> Machine:
    """Return a GPU of the table, empty."""
    half = torch.bfloat16 if gpu.has_bf16 else torch.float16
    dtypes = {"auto": half, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return Machine(gpu.name, "cuda", dtypes[spec.precision], gpu.memory_bytes, CUDA_CONTEXT_BYTES, gpu, is_here=False)
