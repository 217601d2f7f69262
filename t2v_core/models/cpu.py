"""What a run on the CPU asks of its libraries: the products that suit the processor, and memory that stays."""

from __future__ import annotations

import ctypes
import functools
import platform
from pathlib import Path
from typing import Any

import torch
from torch import nn

# glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
PROOF_SIDE = 64
# oneDNN costs more a call and less a product: a step of 1 M parameters took 5 % longer with it, one of 172 M 7 % less.
# What lies between was not measured.
LARGE_PARAMETERS = 50_000_000
MKLDNN: Any = torch.backends.mkldnn  # at run time an object in the place of the module that mypy sees
MKL, ONEDNN = "none", "bf16"  # see `multiply_with_onednn`


def suit_to_cpu(model: nn.Module, device: torch.device) -> None:
    """Make this process as quick as it can be with `model` on `device` where that is the CPU, for models from now on.

    Which library computes follows from processor and model and not from a measurement: a run that is resumed on the
    same machine must compute the same bits.
    """
    if device.type != "cpu":
        return
    keep_freed_memory()
    multiply_with_mkl()
    if mkl_lacks_avx512() and sum(parameter.numel() for parameter in model.parameters()) >= LARGE_PARAMETERS:
        multiply_with_onednn()


def onednn_multiplies() -> bool:
    """Tell whether float32 products of this process are computed by oneDNN."""
    return bool(MKLDNN.matmul.fp32_precision == ONEDNN)


def keep_freed_memory() -> None:
    """Let what a step frees be there for the next one, instead of going back to the system and coming again as zeros.

    glibc asks the system for each block of more than 32 MiB anew, which an activation of four frames has already, and
    gives the top of its heap back. A fresh page costs about 2 µs. Elsewhere than with glibc nothing is done.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, -1)


@functools.cache
def mkl_lacks_avx512() -> bool:
    """Tell whether this is an AMD with AVX-512 and without AMX.

    MKL, torch's default there, has AVX2 kernels for it, and oneDNN AVX-512 ones.

    Measured on an EPYC of the fourth generation: 8 to 12 % more products a second.
    """
    cpuinfo = Path("/proc/cpuinfo")
    is_amd = cpuinfo.exists() and "AuthenticAMD" in cpuinfo.read_text()
    return is_amd and torch.backends.cpu.get_cpu_capability() == "AVX512" and not _has_amx()


def _has_amx() -> bool:
    """Tiles of bf16, which change both what oneDNN may round and what its kernels cost."""
    return torch.cpu._is_amx_tile_supported()


def multiply_with_mkl() -> None:
    """Have float32 matrix products computed as torch does it by itself."""
    MKLDNN.matmul.fp32_precision = MKL


def multiply_with_onednn() -> None:
    """Have float32 matrix products computed by oneDNN, still in float32.

    torch hands float32 products to oneDNN only with the permission to round their factors to bf16. oneDNN has use for
    that permission where there is AMX and not elsewhere; a product that rounding would change proves it.
    """
    MKLDNN.matmul.fp32_precision = ONEDNN
    if not _products_are_exact():
        multiply_with_mkl()


def _products_are_exact() -> bool:
    """Numbers of 13 bits times one, which bf16 with its 8 bits would round."""
    numbers = 1 + torch.arange(PROOF_SIDE**2).reshape(PROOF_SIDE, PROOF_SIDE) / 2**12
    return torch.equal(numbers @ torch.eye(PROOF_SIDE), numbers)
