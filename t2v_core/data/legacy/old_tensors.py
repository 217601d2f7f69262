"""The previous system's `.pt` files, one tensor each, read without running anything that a pickle may hold."""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import sys
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from t2v_core.data.quarantine import file_state
from t2v_core.data.store.shard_set import Entry
from t2v_core.disk.opening import MOST_TABLE_BYTES, read_bytes

LATENT_SHAPE = (16, 4, 32, 32)
TEXT_SHAPE = (1, 77, 512)
READERS, FILES_AHEAD = 8, 64

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
    """values: float32; entry: what tells whether the file is still the same one"""

    values: Tensor
    entry: Entry


def read_ahead(files: Sequence[tuple[str, Path]], shape: tuple[int, ...]) -> Iterator[OldTensor | BadTensorFile]:
    """Read files of (video id, path) in the order given, a few ahead; each with its values, or why it cannot be used.

    Reading, hashing and checking let other threads run, and a disk of a cloud is fast only when it is asked for several
    files at once. What waits ready takes 16 MB. Closing the iterator ends the work.
    """

    def read(file: tuple[str, Path]) -> OldTensor | BadTensorFile:
        try:
            return read_old_tensor(*file, shape)
        except BadTensorFile as error:
            return error

    remaining = iter(files)
    with ThreadPoolExecutor(READERS, thread_name_prefix="old-files") as pool:
        waiting = deque(pool.submit(read, file) for file in islice(remaining, FILES_AHEAD))
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(read, file) for file in islice(remaining, 1))
                yield result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def read_old_tensor(video_id: str, path: Path, shape: tuple[int, ...]) -> OldTensor:
    """Read one file. Raises BadTensorFile."""
    try:
        size_bytes, mtime_ns = file_state(path)
        data = read_bytes(path, MOST_TABLE_BYTES)
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
    plain = plain_tensor(data, shape)
    return OldTensor(_checked(_load(data, path) if plain is None else plain, path, shape), entry)


def plain_tensor(data: bytes, shape: tuple[int, ...]) -> Tensor | None:
    """Return the tensor of a file that is, to the byte, what torch.save writes for float32 values of that shape.

    None for every other file, which `torch.load` reads or refuses. Beside that way a file takes 0.58 ms of a processor
    instead of 1.05.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            rows = archive.infolist()
            if sum(row.file_size for row in rows) > len(data):  # whatever it would be unpacked to
                return None
            members = {row.filename.partition("/")[2]: archive.read(row) for row in rows}
    except UNZIPPABLE:
        return None
    values = members.get("data/0", b"")
    is_plain = members.get("data.pkl") == _pickle_of(shape) and members.get("byteorder", b"little") == b"little"
    if not is_plain or sys.byteorder != "little" or len(values) != 4 * math.prod(shape) or len(members) != len(rows):
        return None
    return torch.frombuffer(bytearray(values), dtype=torch.float32).reshape(shape)


@cache
def _pickle_of(shape: tuple[int, ...]) -> bytes:
    """It names the shape, the type and the device, and holds no values: every file of the same has the same."""
    file = io.BytesIO()
    torch.save(torch.zeros(shape), file)
    with zipfile.ZipFile(file) as archive:
        return archive.read("archive/data.pkl")


def _load(data: bytes, path: Path) -> object:
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


def is_damaged(data: bytes) -> bool:
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
