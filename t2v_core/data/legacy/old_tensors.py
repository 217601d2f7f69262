"""The previous system's `.pt` files, one tensor each, read without running anything that a pickle may hold."""

from __future__ import annotations

import hashlib
import io
import math
import os
import pickle
import sys
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from t2v_core.data.legacy.stored_archive import stored_members
from t2v_core.data.store.shard_set import Entry
from t2v_core.disk.opening import MOST_TABLE_BYTES, open_file, read_bytes

LATENT_SHAPE = (16, 4, 32, 32)
TEXT_SHAPE = (1, 77, 512)
# torch's headers, and the padding that puts each member at a multiple of 64 bytes.
MOST_HEADER_BYTES = 16 << 10

REASONS = (
    "missing-file", "empty-file", "not-a-tensor-file", "damaged", "wrong-type", "wrong-shape", "non-finite-values",
)  # fmt: skip

# What `torch.load` raises for files that are torn, of another kind, or hold more than tensors.
UNLOADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError,
    OverflowError,
)  # fmt: skip
UNZIPPABLE = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError, KeyError,
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
    """values: float32, good until the next file is read into the same buffer; entry: what tells whether the file is
    still the same one"""

    values: Tensor
    entry: Entry


def buffer_for(shape: tuple[int, ...]) -> bytearray:
    """Return memory that holds a file of such values as torch.save writes it, headers included."""
    return bytearray(4 * math.prod(shape) + MOST_HEADER_BYTES)


def read_old_tensor(video_id: str, path: Path, shape: tuple[int, ...], buffer: bytearray) -> OldTensor:
    """Read one file into `buffer`, of `buffer_for`, and check it. Raises BadTensorFile."""
    data, status = _read(path, buffer)
    entry = {
        "video_id": video_id,
        "file": path.name,
        "size_bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return OldTensor(_tensor(data, path, shape), entry)


def read_old_values(path: Path, shape: tuple[int, ...], buffer: bytearray) -> Tensor:
    """Return the values alone, as `read_old_tensor` does; its checksum is not reckoned. Raises BadTensorFile."""
    return _tensor(_read(path, buffer)[0], path, shape)


def _read(path: Path, buffer: bytearray) -> tuple[memoryview, os.stat_result]:
    """All of a file: in the buffer, or in memory of its own when it is longer."""
    try:
        with open_file(path) as file:
            status = os.fstat(file.fileno())
            if status.st_size <= len(buffer):
                data = memoryview(buffer)[: status.st_size]
                data = data[: file.readinto(data)]
            else:
                data = memoryview(read_bytes(path, MOST_TABLE_BYTES))
    except FileNotFoundError as error:
        raise BadTensorFile("missing-file", f"there is no {path.parent.name}/{path.name}") from error
    except OSError as error:
        raise BadTensorFile("not-a-tensor-file", f"{path.name} cannot be read: {error.strerror}") from error
    if not data:
        raise BadTensorFile("empty-file", f"{path.name} has no bytes")
    return data, status


def _tensor(data: memoryview, path: Path, shape: tuple[int, ...]) -> Tensor:
    plain = plain_tensor(data, shape)
    return _checked(_load(data, path) if plain is None else plain, path, shape)


def plain_tensor(data: memoryview, shape: tuple[int, ...]) -> Tensor | None:
    """Return the tensor of a file that is, to the byte, what torch.save writes for float32 values of that shape.

    It lies where `data` has it, if that may be written. None for every other file, which `torch.load` reads or refuses.
    """
    stored = stored_members(data) or {}
    members = {name.partition(b"/")[2]: content for name, content in stored.items()}
    values, pickled = (members.get(name, memoryview(b"")) for name in (b"data/0", b"data.pkl"))
    byteorder = members.get(b"byteorder", memoryview(b"little"))
    is_plain = pickled.tobytes() == _pickle_of(shape) and byteorder.tobytes() == b"little" == sys.byteorder.encode()
    if not is_plain or len(values) != 4 * math.prod(shape) or len(members) != len(stored):
        return None
    # Another program than torch may have put the values where no float32 can begin.
    return torch.from_numpy(np.require(np.frombuffer(values, np.float32), requirements=["A", "W"])).reshape(shape)


@cache
def _pickle_of(shape: tuple[int, ...]) -> bytes:
    """It names the shape, the type and the device, and holds no values: every file of the same has the same."""
    file = io.BytesIO()
    torch.save(torch.zeros(shape), file)
    with zipfile.ZipFile(file) as archive:
        return archive.read("archive/data.pkl")


def _load(data: memoryview, path: Path) -> object:
    try:
        value = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UNLOADABLE as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadTensorFile(
            "not-a-tensor-file", f"{path.name} is not a file of one tensor: {first_line[:120]}"
        ) from error
    if is_damaged(data):
        raise BadTensorFile("damaged", f"{path.name} does not match its own checksums")
    return value


def is_damaged(data: memoryview) -> bool:
    """Tell whether a member of torch's zip archive fails its CRC-32, which torch writes and does not look at.

    A file of torch's form before 1.6 has no checksums and never counts as damaged.
    """
    if not zipfile.is_zipfile(io.BytesIO(data)):  # torch's form before 1.6, which has no checksums
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.testzip() is not None
    except UNZIPPABLE:
        return True


def _checked(value: object, path: Path, shape: tuple[int, ...]) -> Tensor:
    if not isinstance(value, Tensor) or value.layout != torch.strided or not value.is_floating_point():
        what = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise BadTensorFile("wrong-type", f"{path.name} holds {what} instead of a float32 tensor")
    if tuple(value.shape) != shape:
        raise BadTensorFile("wrong-shape", f"{path.name} is {_shape(value.shape)} instead of {_shape(shape)}")
    values = value.detach().float()
    if not np.isfinite(values.numpy()).all():  # torch would begin threads of its own for it in each reader
        raise BadTensorFile("non-finite-values", f"{path.name} holds values that are not finite")
    return values


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a number"
