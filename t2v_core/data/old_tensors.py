"""The previous system's `.pt` files, one tensor each, read without running anything that a pickle may hold."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from t2v_core.data.quarantine import file_state
from t2v_core.data.shard_set import Entry

LATENT_SHAPE = (16, 4, 32, 32)
TEXT_SHAPE = (1, 77, 512)

REASONS = (
    "missing-file", "empty-file", "not-a-tensor-file", "damaged", "wrong-type", "wrong-shape", "non-finite-values",
)  # fmt: skip

# What `torch.load` raises for files that are torn, of another kind, or hold more than tensors.
UNLOADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError,
    OverflowError,
)  # fmt: skip


class BadTensorFile(Exception):
    """The file is not what the previous system wrote.

    reason: one of REASONS
    detail: a few words for people
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class OldTensor:
    """values: float32; entry: what tells whether the file is still the same one"""

    values: Tensor
    entry: Entry


def read_old_tensor(video_id: str, path: Path, shape: tuple[int, ...]) -> OldTensor:
    """Read one file. Raises BadTensorFile."""
    try:
        size_bytes, mtime_ns = file_state(path)
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise BadTensorFile("missing-file", f"there is no {path.parent.name}/{path.name}") from error
    except OSError as error:
        raise BadTensorFile("not-a-tensor-file", f"{path.name} cannot be read: {error.strerror}") from error
    if not data:
        raise BadTensorFile("empty-file", f"{path.name} has no bytes")
    entry = {
        "video_id": video_id,
        "file": path.name,
        "size_bytes": size_bytes,
        "mtime_ns": mtime_ns,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return OldTensor(_checked(_load(data, path), path, shape), entry)


def _load(data: bytes, path: Path) -> object:
    try:
        value = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UNLOADABLE as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadTensorFile("not-a-tensor-file", f"{path.name} is no file of one tensor: {first_line[:120]}") from error
    if is_damaged(data):
        raise BadTensorFile("damaged", f"{path.name} does not match its own checksums")
    return value


def is_damaged(data: bytes) -> bool:
    """torch writes a zip archive with a CRC-32 of each member, and does not look at it when it reads."""
    if not zipfile.is_zipfile(io.BytesIO(data)):  # torch's form before 1.6, which has no checksums
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.testzip() is not None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError):
        return True


def _checked(value: object, path: Path, shape: tuple[int, ...]) -> Tensor:
    if not isinstance(value, Tensor) or value.layout != torch.strided or not value.is_floating_point():
        what = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise BadTensorFile("wrong-type", f"{path.name} holds {what} instead of a float32 tensor")
    if tuple(value.shape) != shape:
        raise BadTensorFile("wrong-shape", f"{path.name} is {_shape(value.shape)} instead of {_shape(shape)}")
    if not value.isfinite().all():
        raise BadTensorFile("non-finite-values", f"{path.name} holds values that are not finite")
    return value.detach().float()


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a number"
