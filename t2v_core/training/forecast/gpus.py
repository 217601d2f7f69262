"""GPUs by name: memory and peak arithmetic, from their makers' data sheets (dense, without sparsity)."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from t2v_core.errors import InvalidRequest


@dataclass(frozen=True)
class Gpu:
    """One card.

    memory_bytes: the data sheet's gigabytes, taken as 10⁹ bytes; the driver keeps about what that leaves out
    half_flops: matrix products in bf16, or in fp16 where the card has no bf16, accumulated in fp32; FLOP/s
    fp32_flops: the same in plain fp32, which is what torch does unless TF32 is allowed
    """

    name: str
    memory_bytes: int
    half_flops: float
    fp32_flops: float
    has_bf16: bool = True


def _gpu(name: str, memory_gb: int, half_tflops: float, fp32_tflops: float, *, has_bf16: bool = True) -> Gpu:
    return Gpu(name, memory_gb * 10**9, half_tflops * 1e12, fp32_tflops * 1e12, has_bf16)


GPUS = (
    _gpu("H200", 141, 989, 67),
    _gpu("H100", 80, 989, 67),  # SXM; PCIe has 756 TFLOP/s
    _gpu("A100 80GB", 80, 312, 19.5),
    _gpu("A100 40GB", 40, 312, 19.5),
    _gpu("L40S", 48, 362, 91.6),
    _gpu("L4", 24, 121, 30.3),
    _gpu("A10", 24, 125, 31.2),
    _gpu("RTX 4090", 24, 165, 82.6),
    _gpu("RTX 3090", 24, 71, 35.6),
    _gpu("V100", 16, 125, 15.7, has_bf16=False),
    _gpu("T4", 16, 65, 8.1, has_bf16=False),
)
# No card gets its peak. Well-tuned training reaches .30 to .50 of it; small models and batches reach less.
ASSUMED_MFU = 0.35


def find_gpu(asked: str) -> Gpu:
    """Return the card people mean: `L4`, `a100-80gb`, `4090`. Raises InvalidRequest with the nearest name."""
    wanted = _plain(asked)
    named = [gpu for gpu in GPUS if wanted and wanted in (_plain(gpu.name), _plain(gpu.name).removeprefix("rtx"))]
    if not named and wanted == "a100":
        named = [gpu for gpu in GPUS if gpu.name == "A100 40GB"]  # the smaller one: what fits it fits both
    if not named:
        names = [gpu.name for gpu in GPUS]
        near = difflib.get_close_matches(asked.upper(), names, n=1)
        raise InvalidRequest(
            f"there is no GPU '{asked}' in the table", hint=f"did you mean {near[0]}?" if near else ", ".join(names)
        )
    return named[0]


def gpu_of_device(device_name: str) -> Gpu | None:
    """Return the row for what a driver calls its card, as `NVIDIA A100-SXM4-80GB`; None when it is not in the table."""
    words = set(re.findall(r"[A-Z0-9]+", device_name.upper()))  # whole words: an A10G is no A10, an L40S no L4
    return next((gpu for gpu in GPUS if words.issuperset(gpu.name.split())), None)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
