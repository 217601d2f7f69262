"""Files of the previous system are read by any number of threads into the same shards, a bounded number ahead."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from t2v_core.data.annotations.msrvtt import Clip
from t2v_core.data.legacy import old_rows
from t2v_core.data.legacy.old_rows import GROUP_FILES, OldRow, read_shards
from t2v_core.data.legacy.old_shards import OldShards, Packed
from t2v_core.data.quarantine import Quarantine
from t2v_core.data.store.shard_set import ShardSet
from t2v_core.data.store.shard_writer import ShardWriter
from t2v_core.data.store.shards import write_shard
from t2v_core.disk.files import complete_manifest
from t2v_core.errors import InvalidRequest, Stopped
from t2v_core.events import EventWriter
from t2v_core.job import Job
from t2v_core.processes.in_order import in_order
from t2v_core.workspace import Workspace, create_job_directory

SHAPE, CLIPS, SHARD_CLIPS = (2, 4, 8, 8), 29, 10
BAD = 13


@pytest.fixture
def clips(tmp_path: Path) -> dict[str, Clip]:
    """One of them is not finite."""
    (tmp_path / "old").mkdir()
    for number in range(CLIPS):
        values = torch.randn(SHAPE, generator=torch.Generator().manual_seed(number))
        values[0, 0, 0, 0] = torch.nan if number == BAD else 0.5
        torch.save(values, tmp_path / f"old/video{number}.pt")
    names = [f"video{number}" for number in range(CLIPS)]
    return {name: Clip(name, tmp_path / f"old/{name}.pt", []) for name in names}


def job_in(folder: Path) -> Job:
    directory = create_job_directory(Workspace(folder), "import-latents")
    return Job(directory, Workspace(folder), EventWriter(directory / "events.jsonl"))


def pack(usable: list[OldRow], rows: Tensor) -> Packed:
    return {"latents": rows}, [row.entry for row in usable]


def importing(folder: Path, clips: dict[str, Clip]) -> OldShards:
    shards = ShardSet(folder / "shards", {"dtype": "fp16"})
    return OldShards(shards, clips, SHAPE, "fp16", "clips", Quarantine(folder / "quarantine.csv"), job_in(folder))


def made(folder: Path, clips: dict[str, Clip]) -> dict[str, bytes]:
    folder.mkdir()
    files = importing(folder, clips)
    files.make(files.missing(), SHARD_CLIPS, pack)
    files.shards.seal(list(clips), {})
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}


def one_by_one(folder: Path, clips: dict[str, Clip], settings: dict[str, Any]) -> dict[str, bytes]:
    """The same by torch alone, a file after the other."""
    names = list(clips)
    for number, begin in enumerate(range(0, len(names), SHARD_CLIPS)):
        good = [name for name in names[begin : begin + SHARD_CLIPS] if name != f"video{BAD}"]
        rows = torch.stack([torch.load(clips[name].path, weights_only=True).half() for name in good])
        entries = [plain_entry(clips[name]) for name in good]
        write_shard(
            folder / f"shard-{number:05}.safetensors", {"latents": rows}, {"settings": settings, "rows": entries}
        )
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def plain_entry(clip: Clip) -> dict[str, Any]:
    values, status = torch.load(clip.path, weights_only=True).numpy().tobytes(), clip.path.stat()
    about = {"video_id": clip.video_id, "file": clip.path.name}
    times = {"size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    return about | times | {"crc32": f"{zlib.crc32(values):08x}"}


def test_any_number_of_threads_makes_what_torch_makes_file_by_file(
    clips: dict[str, Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected: dict[str, bytes] = {}
    for threads in (1, 2, 5, 32):
        monkeypatch.setattr(old_rows, "readers", lambda count=threads: count)
        files = made(tmp_path / f"by-{threads}", clips)
        manifest = files.pop("manifest.json")
        expected = expected or {"manifest.json": manifest} | one_by_one(
            tmp_path / "plain", clips, ShardSet(tmp_path / "none", {"dtype": "fp16"}).settings
        )
        assert files | {"manifest.json": manifest} == expected
        complete_manifest(tmp_path / f"by-{threads}/shards", checksums=True)


def test_a_stop_keeps_whole_shards_and_the_next_run_makes_the_rest(clips: dict[str, Clip], tmp_path: Path) -> None:
    whole = made(tmp_path / "whole", clips)
    (tmp_path / "stopped").mkdir()
    files = importing(tmp_path / "stopped", clips)

    def stop_after_the_first(usable: list[OldRow], rows: Tensor) -> Packed:
        (files.job.directory / "stop").touch()
        return pack(usable, rows)

    with pytest.raises(Stopped):
        files.make(files.missing(), SHARD_CLIPS, stop_after_the_first)
    there = {path.name: path.read_bytes() for path in (tmp_path / "stopped/shards").iterdir()}
    assert there == {"shard-00000.safetensors": whole["shard-00000.safetensors"]}
    again = importing(tmp_path / "stopped", clips)
    assert len(again.missing()) == CLIPS - SHARD_CLIPS
    again.make(again.missing(), SHARD_CLIPS, pack)
    again.shards.seal(list(clips), {})
    assert {path.name: path.read_bytes() for path in (tmp_path / "stopped/shards").iterdir()} == whole


def test_shards_are_begun_only_a_few_files_ahead(tmp_path: Path) -> None:
    begun: list[int] = []

    def shards() -> Iterator[list[tuple[str, Path]]]:
        for number in range(1000):
            begun.append(number)
            yield [("a", tmp_path / "none.pt")] * GROUP_FILES

    with read_shards(shards(), SHAPE, "fp16", lambda _count: None, threads=3) as reading:
        for number in range(20):
            next(reading)
            assert len(begun) <= number + 1 + 2 * 3 + 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("old-files")]


def write(paths: list[Path], error: Exception | None = None) -> None:
    with ShardWriter() as writer:
        for path in paths:
            writer.write(path, {"latents": torch.zeros(1)}, {})
        if error is not None:
            raise error


def test_a_shard_that_cannot_be_written_is_said_at_the_next_and_never_hides_another_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    unwritable, second = tmp_path / "file/shard-00000.safetensors", tmp_path / "second.safetensors"
    with pytest.raises(InvalidRequest, match="cannot write"):
        write([unwritable])
    with pytest.raises(InvalidRequest, match="cannot write"):
        write([unwritable, second])
    assert not second.exists()
    with pytest.raises(Stopped):
        write([unwritable], Stopped("stopped on request"))


def test_results_come_in_order_and_an_error_at_its_place() -> None:
    turn = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert turn.wait(10)  # the others are done before it
        if number == 2:
            turn.set()
        return 60 // (number - 5)

    with in_order(work, range(8), threads=3, ahead=3) as results:
        assert [next(results) for _ in range(5)] == [60 // (number - 5) for number in range(5)]
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_a_file_that_is_longer_than_its_values_is_read_all_the_same(tmp_path: Path) -> None:
    wide = torch.randn((64, *SHAPE))
    torch.save(wide[7], tmp_path / "part.pt")  # torch saves all 64
    with read_shards([[("a", tmp_path / "part.pt")]], SHAPE, "fp32", lambda _count: None, threads=1) as shards:
        [read] = shards
    assert torch.equal(read.rows[0], wide[7])
