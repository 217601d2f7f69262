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

from t2v_core.data.legacy.stored_archive import Member, stored_members
from t2v_core.data.quarantine import file_state
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
    """values: float32, good until the next file is read into the same buffer; largest: of their sizes; entry: what
    tells whether the file is still the same one"""

    values: Tensor
    largest: float
    entry: Entry


def buffer_for(shape: tuple[int, ...]) -> bytearray:
    """Return memory that holds a file of such values as torch.save writes it, headers included."""
    return bytearray(4 * math.prod(shape) + MOST_HEADER_BYTES)


def read_old_tensor(video_id: str, path: Path, shape: tuple[int, ...], buffer: bytearray) -> OldTensor:
    """Read one file into `buffer`, of `buffer_for`, and check it. Raises BadTensorFile."""
    data, status = _read(path, buffer)
    values, largest, checksum = _checked(data, path, shape)
    entry = {"video_id": video_id, "file": path.name, "size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    return OldTensor(values, largest, entry | checksum)


def read_old_values(path: Path, shape: tuple[int, ...], buffer: bytearray) -> Tensor:
    """Return the values alone, as `read_old_tensor` does. Raises BadTensorFile."""
    return _checked(_read(path, buffer)[0], path, shape)[0]


def is_same_file(path: Path, shape: tuple[int, ...], entry: Entry) -> bool:
    """Tell whether a file is the one that an entry was made of; of one with another date the checksum is compared."""
    status = file_state(path)
    if status == (entry["size_bytes"], entry["mtime_ns"]):
        return True
    if status[0] != entry["size_bytes"]:
        return False
    try:
        data = _read(path, buffer_for(shape))[0]
    except BadTensorFile:
        return False
    if "sha256" in entry:  # of every file before this t2v, and of those that are not plain
        return bool(hashlib.sha256(data).hexdigest() == entry["sha256"])
    member = _plain_member(data, shape)
    return member is not None and _checksum(data, member) == {"crc32": entry.get("crc32")}


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


def _checked(data: memoryview, path: Path, shape: tuple[int, ...]) -> tuple[Tensor, float, Entry]:
    """The values, the largest of their sizes, and a checksum of the file. Raises BadTensorFile."""
    member = _plain_member(data, shape)
    values = _require_fitting(_load(data, path), path, shape) if member is None else _tensor_of(member, shape)
    flat = values.numpy()  # torch would begin threads of its own for it in each reader
    largest = max(float(flat.max()), -float(flat.min()))  # both are NaN when one value is
    if not math.isfinite(largest):
        raise BadTensorFile("non-finite-values", f"{path.name} holds values that are not finite")
    return values, largest, _checksum(data, member)


def _checksum(data: memoryview, member: Member | None) -> Entry:
    """Of a plain file that of its values, which was verified just now; a sha256 would take as long as all the rest."""
    return {"crc32": f"{member.crc32:08x}"} if member else {"sha256": hashlib.sha256(data).hexdigest()}


def plain_tensor(data: memoryview, shape: tuple[int, ...]) -> Tensor | None:
    """Return the tensor of a file that is, to the byte, what torch.save writes for float32 values of that shape.

    It lies where `data` has it, if that may be written. None for every other file, which `torch.load` reads or refuses.
    """
    member = _plain_member(data, shape)
    return None if member is None else _tensor_of(member, shape)


def _plain_member(data: memoryview, shape: tuple[int, ...]) -> Member | None:
    """Of such a file the values, whose checksum is right."""
    stored = stored_members(data) or {}
    members = {name.partition(b"/")[2]: member for name, member in stored.items()}
    values, pickled, byteorder = (members.get(name) for name in (b"data/0", b"data.pkl", b"byteorder"))
    if values is None or pickled is None or len(members) != len(stored) or sys.byteorder != "little":
        return None
    if pickled.content.tobytes() != _pickle_of(shape) or (byteorder and byteorder.content.tobytes() != b"little"):
        return None
    return values if len(values.content) == 4 * math.prod(shape) else None


def _tensor_of(member: Member, shape: tuple[int, ...]) -> Tensor:
    # Another program than torch may have put the values where no float32 can begin.
    values = np.require(np.frombuffer(member.content, np.float32), requirements=["A", "W"])
    return torch.from_numpy(values).reshape(shape)


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


def _require_fitting(value: object, path: Path, shape: tuple[int, ...]) -> Tensor:
    """The values as float32, if it is such a tensor. Raises BadTensorFile."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or not value.is_floating_point():
        what = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise BadTensorFile("wrong-type", f"{path.name} holds {what} instead of a float32 tensor")
    if tuple(value.shape) != shape:
        raise BadTensorFile("wrong-shape", f"{path.name} is {_shape(value.shape)} instead of {_shape(shape)}")
    return value.detach().float()


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a number"
