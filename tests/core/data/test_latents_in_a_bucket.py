"""Latents behind an address: a real web server that answers ranges, and a folder here that stays within a size."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from support.engine.engine import job_here
from support.engine.training_set import CLIPS, asked, data_set, differing
from support.engine.warm_engine import run_warm
from support.hosts.range_server import RangeServer, range_server

from t2v_core.data.bucket import source
from t2v_core.data.bucket.cache import COMING
from t2v_core.data.bucket.source import Source
from t2v_core.data.bucket.store import BucketStore
from t2v_core.data.store.latents import LatentStore
from t2v_core.errors import InvalidRequest, WorkFailed
from t2v_core.specs import PreprocessSpec
from t2v_core.verbs.preprocess import preprocess
from t2v_core.workspace import Dataset

SHARDS, PLENTY_GB = CLIPS // 3, 1.0
FOLDERS = ("latents", "text_embeddings")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data set in shards of three clips."""
    root, made = tmp_path_factory.mktemp("sharded"), data_set()
    for name in ("videos", "annotations"):
        shutil.copytree(made / name, root / "data" / name)
    values = {"vae": str(made.parent / "vae"), "text_encoder": str(made.parent / "clip"), "frames": 4, "size": 32}
    spec = PreprocessSpec.model_validate({"data": "data", "device": "cpu", "shard_clips": 3} | values)
    preprocess(spec, job_here(root))
    return root / "data"


@pytest.fixture
def server(data: Path) -> Iterator[RangeServer]:
    with range_server(data) as one:
        yield one


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PAUSES_S", (0.0,))


def largest_gb(data: Path, shards: float) -> float:
    """So many of the largest shards, with their captions, in GB."""
    largest = (max(path.stat().st_size for path in (data / name).rglob("shard-*")) for name in FOLDERS)
    return shards * sum(largest) / 1e9


def bytes_in(cache: Path) -> int:
    total = 0
    for path in cache.glob("*") if cache.is_dir() else ():
        with suppress(FileNotFoundError):  # it has just made room
            total += path.stat().st_size
    return total


def train(root: Path, data: Path, **values: object) -> Path:
    ended = run_warm(root, "train", **asked(**{"data": str(data), "epochs": 3, **values}))
    assert ended.code == 0, ended.events
    return root / "checkpoints/checkpoint_epoch_3"


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_it_holds_what_the_folder_holds(server: RangeServer, data: Path, tmp_path: Path, scheme: str) -> None:
    url = server.url if scheme == "http" else f"file://{data}"
    here = LatentStore.open(Dataset(data), "train")
    there = BucketStore.at(url, "train", tmp_path / "cache", PLENTY_GB)
    assert (there.video_ids, there.shape) == (here.video_ids, here.shape)
    assert torch.equal(there.latents(range(len(here))), here.latents(range(len(here))))
    assert (there.texts(5), there.clip(5)) == (here.texts(5), here.clip(5))
    assert torch.equal(there.caption(7, 0).tokens, here.caption(7, 0).tokens)
    assert torch.equal(there.null_prompt.tokens, here.null_prompt.tokens)


def test_with_room_for_all_a_training_is_that_of_the_folder(server: RangeServer, data: Path, tmp_path: Path) -> None:
    from_folder = train(tmp_path / "here", data)
    from_bucket = train(tmp_path / "there", Path("nowhere"), latents=server.url, latents_cache_gb=PLENTY_GB)
    assert differing(from_folder, from_bucket) == []
    shards = [name for name, begin in server.asked if "shard-" in name and begin == 0]
    assert len(shards) == len(set(shards)) == 2 * SHARDS


def test_with_room_for_some_each_shard_comes_once_an_epoch(server: RangeServer, data: Path, tmp_path: Path) -> None:
    cache, limit_gb, seen = tmp_path / "small/.t2v/latents-cache", largest_gb(data, 4.5), list[int]()
    server.seen = lambda: seen.append(bytes_in(cache))
    steady = {"lr_schedule": "constant", "warmup_steps": 0}
    small = {"latents": server.url, "latents_cache_gb": limit_gb, **steady}
    whole = train(tmp_path / "small", Path("nowhere"), **small)
    assert max(*seen, bytes_in(cache)) <= limit_gb * 1e9
    shards = [name for name, begin in server.asked if name.startswith("latents/train/shard-") and begin == 0]
    # One of three epochs each; one more for the shapes of all, and for the clips that are held out.
    assert len(shards) <= 3 * SHARDS + 3
    cut = tmp_path / "cut"
    ended = run_warm(cut, "train", **asked(data="nowhere", epochs=3, max_steps=14, **small))
    assert ended.code == 0
    ended = run_warm(cut, "train", resume=True, max_steps=33)
    assert ended.code == 0
    assert differing(whole, cut / "checkpoints/checkpoint_epoch_3") == []


def test_a_run_from_a_bucket_goes_back_to_the_folder_when_it_is_told_to(
    server: RangeServer, data: Path, tmp_path: Path
) -> None:
    steady = {"lr_schedule": "constant", "warmup_steps": 0}
    whole = train(tmp_path / "here", data, **steady)
    far = {"latents": server.url, "latents_cache_gb": PLENTY_GB, **steady}
    ended = run_warm(tmp_path, "train", **asked(data=str(data), epochs=3, max_steps=14, **far))
    assert ended.code == 0
    server.asked = []
    ended = run_warm(tmp_path, "train", resume=True, max_steps=33, latents="")
    assert (ended.code, server.asked) == (0, [])
    assert differing(whole, tmp_path / "checkpoints/checkpoint_epoch_3") == []


def test_a_fetch_goes_on_from_where_it_broke_off(
    server: RangeServer, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    monkeypatch.setattr(source, "PIECE_BYTES", 200)
    monkeypatch.setattr(source, "THREADS", 1)
    server.fails_at = 600
    with pytest.raises(WorkFailed, match=r"shard-0000\d.safetensors cannot be read: "):
        BucketStore.at(server.url, "train", tmp_path, PLENTY_GB)
    (coming,) = tmp_path.glob(f"*{COMING}")
    assert coming.stat().st_size == 600
    server.fails_at, server.asked = None, []
    BucketStore.at(server.url, "train", tmp_path, PLENTY_GB)
    assert next(begin for name, begin in server.asked if name.startswith("latents/train/shard-")) == 600


def test_other_bytes_than_the_manifest_says_are_not_taken(server: RangeServer, tmp_path: Path) -> None:
    server.spoils = "latents/train/shard-"
    with pytest.raises(WorkFailed, match=r"/latents/train/shard-.* is not what its manifest says"):
        BucketStore.at(server.url, "train", tmp_path, PLENTY_GB)
    assert bytes_in(tmp_path) == 0


def read_all(url: str, cache: Path, limit_gb: float) -> None:
    store = BucketStore.at(url, "train", cache, limit_gb)
    for index in range(len(store)):
        store.latents([index])
        store.caption(index, 0)


def test_processes_that_share_it_fetch_each_shard_once(server: RangeServer, tmp_path: Path) -> None:
    forks = multiprocessing.get_context("spawn" if torch.cuda.is_initialized() else "fork")
    both = [forks.Process(target=read_all, args=(server.url, tmp_path, PLENTY_GB)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(100)
    assert [one.exitcode for one in both] == [0, 0]
    shards = [name for name, begin in server.asked if "shard-" in name and begin == 0]
    assert len(shards) == len(set(shards)) == 2 * SHARDS


@pytest.mark.parametrize(
    ("url", "message", "hint"),
    [
        ("gs://bucket/data", "gs:// needs gcsfs, which is not installed here", "pip install gcsfs"),
        ("s3://bucket/data", "s3:// needs s3fs, which is not installed here", "pip install s3fs"),
        ("data/msr-vtt", "--latents = 'data/msr-vtt' is not an address", "gs://bucket/folder"),
        ("gss://bucket", "--latents = 'gss://bucket': fsspec knows no gss://", "gs, s3, https"),
    ],
)
def test_an_address_that_cannot_be_read_is_one_sentence(url: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Source(url)
    assert caught.value.message == message
    assert hint in caught.value.hint


def test_what_is_not_there_and_what_may_not_be_read_is_said(
    server: RangeServer, data: Path, tmp_path: Path, impatient: None
) -> None:
    with pytest.raises(InvalidRequest, match=r"/other/latents/train holds nothing that was preprocessed: no manifest"):
        BucketStore.at(f"{server.url}/other", "train", tmp_path, PLENTY_GB)
    ended = run_warm(tmp_path, "train", **asked(latents=server.url, latents_cache_gb=largest_gb(data, 1.2)))
    assert (ended.code, "does not hold two shards of http" in ended.error["message"]) == (2, True)
    server.refuses = 403
    with pytest.raises(InvalidRequest, match=r"manifest.json may not be read from here: ClientResponseError: 403"):
        BucketStore.at(server.url, "train", tmp_path, PLENTY_GB)
