"""One shard: a safetensors file whose header also says what its rows are, written whole, read row by row.

Shuffled reads from a cold disk are 5 to 7 times slower through mmap than with preadv, so rows are read with preadv.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2v_core.disk.files import json_text, staged_file
from t2v_core.disk.plain_json import table
from t2v_core.disk.tensor_file import bytes_of, write_tensors
from t2v_core.errors import WorkFailed

METADATA_KEY = "t2v"
MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
DTYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "I64": torch.int64,
    "U8": torch.uint8,
}


class TornShard(Exception):
    """The file is not a whole shard; what it held has to be made again."""


@dataclass(frozen=True)
class _Layout:
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int  # of the first byte, in the file
    row_bytes: int


def write_shard(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> str:
    """Write tensors and JSON metadata as one safetensors file; the same input gives the same bytes.

    Returns the file's sha256 in hex.
    """
    text = json_text(path, metadata, sort_keys=True, separators=(",", ":"))
    with staged_file(path) as partial:
        return write_tensors(partial, tensors, metadata={METADATA_KEY: text})


class Shard:
    """An open shard. The header is parsed once; the file is opened at the first read of rows, in each process anew.

    keeps_open: hold the file open between reads; otherwise each read opens it, as a set of very many shards has to
    Raises TornShard when the header cannot be read or the file is shorter or longer than it says.
    """

    def __init__(self, path: Path, *, keeps_open: bool = True) -> None:
        self.path = path
        self._keeps_open = keeps_open
        self._descriptor: tuple[int, int] | None = None  # (process, file descriptor)
        self._layouts, _ = _opened(path)

    @property
    def metadata(self) -> dict[str, Any]:
        """Return what `write_shard` was given.

        It is read again each time, since it is larger than all else kept of a shard.
        """
        metadata: dict[str, Any] = table(_read_header(self.path)[0]["__metadata__"][METADATA_KEY].encode())
        return metadata

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, rows first. Raises KeyError for a name that the shard does not have."""
        return self._layouts[name].shape

    def dtype(self, name: str) -> torch.dtype:
        """Return the dtype a tensor is stored in. Raises KeyError for a name that the shard does not have."""
        return self._layouts[name].dtype

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Return rows `start` … `stop` of a tensor, as stored. Raises WorkFailed when the file gives fewer bytes."""
        layout = self._layouts[name]
        rows = torch.empty((layout.shape[0] if stop is None else stop) - start, *layout.shape[1:], dtype=layout.dtype)
        self.read_into(rows, name, start)
        return rows

    def read_into(self, rows: Tensor, name: str, start: int) -> None:
        """Fill a contiguous tensor with rows from `start` on. A short read would be silent garbage, so it raises."""
        self.fill(bytes_of(rows), name, start, len(rows))

    def fill(self, buffer: memoryview, name: str, start: int, count: int) -> None:
        """Fill bytes with `count` rows from `start` on; they must be as many as the rows have."""
        layout = self._layouts[name]
        if not 0 <= start <= start + count <= layout.shape[0]:
            raise IndexError(f"rows {start} … {start + count} of {layout.shape[0]}")
        if len(buffer) != count * layout.row_bytes:
            raise ValueError(f"{count} rows of {layout.row_bytes} bytes into {len(buffer)}")
        descriptor = self._open()
        try:
            _read_at(descriptor, buffer, layout.offset + start * layout.row_bytes, self.path)
        finally:
            if not self._keeps_open:
                os.close(descriptor)

    def _open(self) -> int:
        if not self._keeps_open:
            return os.open(self.path, os.O_RDONLY)
        if self._descriptor is None or self._descriptor[0] != os.getpid():
            self._descriptor = (os.getpid(), os.open(self.path, os.O_RDONLY))
        return self._descriptor[1]

    def close(self) -> None:
        """Close the file, if this process has it open; a later read opens it again."""
        if self._descriptor is not None and self._descriptor[0] == os.getpid():
            os.close(self._descriptor[1])
        self._descriptor = None

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_descriptor": None}


def read_metadata(path: Path) -> dict[str, Any]:
    """Return what `write_shard` was given with a shard. Raises TornShard as opening it does."""
    return _opened(path)[1]


def _opened(path: Path) -> tuple[dict[str, _Layout], dict[str, Any]]:
    """Where each tensor lies, and the metadata."""
    try:
        header, data_at = _read_header(path)
        metadata = table(header.pop("__metadata__")[METADATA_KEY].encode())
        if not isinstance(metadata["settings"], dict) or not isinstance(metadata.get("rows", []), list):
            raise TypeError("its header does not describe a shard")
        layouts = {name: _layout(entry, data_at) for name, entry in header.items()}
        end = data_at + max(entry["data_offsets"][1] for entry in header.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise TornShard(f"{path}: {error}") from error
    if path.stat().st_size != end:
        raise TornShard(f"{path} has {path.stat().st_size} bytes instead of {end}")
    return layouts, metadata


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The JSON header and where the data begins. Source: huggingface/safetensors, README, "Format"."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= MAX_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes")
        return table(file.read(length)), 8 + length


def _layout(entry: dict[str, Any], data_at: int) -> _Layout:
    dtype, shape = DTYPES[entry["dtype"]], tuple(entry["shape"])
    if not all(type(one) is int and one >= 0 for one in (*shape, *entry["data_offsets"])):
        raise ValueError("invalid size")
    return _Layout(dtype, shape, data_at + entry["data_offsets"][0], prod(shape[1:]) * dtype.itemsize)


def _read_at(descriptor: int, buffer: memoryview, offset: int, path: Path) -> None:
    done = 0
    while done < len(buffer):
        count = os.preadv(descriptor, [buffer[done:]], offset + done)
        if count == 0:
            raise WorkFailed(f"{path} ends in the middle of a row", hint="make it again: t2v preprocess")
        done += count
