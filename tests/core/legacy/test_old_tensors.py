"""Plain tensors of the previous system are read without unpickling, bit for bit; every other file is left to torch."""

from __future__ import annotations

import hashlib
import io
import os
import random
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from t2v_core.data.legacy.old_tensors import buffer_for, is_same_file, plain_tensor, read_old_tensor

LATENTS, TEXT = (16, 4, 32, 32), (1, 77, 512)


def saved(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def zipped_anew(data: bytes, method: int, more: dict[str, bytes] | None = None) -> bytes:
    """The same members, with others after them."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", method) as new:
        for name, content in ({one: old.read(one) for one in old.namelist()} | (more or {})).items():
            new.writestr(name, content)
    return file.getvalue()


def test_plain_files_are_read_without_unpickling_to_the_same_bits() -> None:
    for shape in (LATENTS, TEXT):
        values = torch.randn(shape)
        for data in (saved(values), zipped_anew(saved(values), zipfile.ZIP_STORED)):
            read = plain_tensor(memoryview(data), shape)
            assert read is not None
            assert torch.equal(read, torch.load(io.BytesIO(data), weights_only=True))


VALUES = torch.randn(LATENTS, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "data",
    [
        saved(VALUES.half()), saved(VALUES.double()), saved(VALUES.int()), saved(torch.nn.Parameter(VALUES)),
        saved(VALUES[:8]), saved(VALUES.transpose(2, 3)), saved(torch.randn(32, 4, 32, 32)[16:]), saved([VALUES]),
        saved({"latents": VALUES}), saved(VALUES, _use_new_zipfile_serialization=False), b"", b"PK\x03\x04",
        zipped_anew(saved(VALUES), zipfile.ZIP_DEFLATED),
        zipped_anew(saved(VALUES), zipfile.ZIP_STORED, {"other/data/0": bytes(4 * VALUES.numel())}),
        zipped_anew(saved(VALUES), zipfile.ZIP_STORED, {"archive/byteorder": b"big"}),
    ],
    ids=[
        "half", "double", "integers", "parameter", "another shape", "transposed", "part of more", "list", "dictionary",
        "form before 1.6", "empty", "start only", "compressed", "two values", "of the other byte order",
    ],
)  # fmt: skip
def test_every_other_file_is_left_to_torch(data: bytes) -> None:
    assert plain_tensor(memoryview(data), LATENTS) is None


def test_no_flipped_bit_and_no_cut_gives_other_values() -> None:
    data, draw = saved(VALUES), random.Random(5)
    places = [*range(0, 2000, 7), *(draw.randrange(len(data)) for _ in range(200)), *range(len(data) - 1200, len(data))]
    for place in places:
        flipped = bytearray(data)
        flipped[place] ^= 1 << draw.randrange(8)
        for spoilt in (bytes(flipped), data[:place]):
            read = plain_tensor(memoryview(spoilt), LATENTS)
            assert read is None or torch.equal(read, VALUES), place


@pytest.mark.parametrize("is_plain", [True, False])
def test_a_copy_with_another_date_is_the_same_file_and_one_with_other_values_is_not(
    tmp_path: Path, *, is_plain: bool
) -> None:
    path, other = tmp_path / "video0.pt", VALUES.flip(0)
    write = partial(torch.save, _use_new_zipfile_serialization=is_plain)
    write(VALUES, path)
    entry = read_old_tensor("video0", path, LATENTS, buffer_for(LATENTS)).entry
    assert ("crc32" in entry, "sha256" in entry) == (is_plain, not is_plain)
    before = {**entry, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}  # as every entry was once
    os.utime(path, ns=(0, 0))
    assert is_same_file(path, LATENTS, entry)
    assert is_same_file(path, LATENTS, before)
    if is_plain:
        write(other, path)
    else:  # written anew it may have another size: it names a place in memory
        path.write_bytes(path.read_bytes()[: -other.nbytes] + other.numpy().tobytes())
    assert path.stat().st_size == entry["size_bytes"]
    assert not is_same_file(path, LATENTS, entry)
    assert not is_same_file(path, LATENTS, before)
