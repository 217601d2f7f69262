"""The latent store gives back what was put in, survives any interruption, and makes again only what has to be."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.engine import StopsAfter, events_of, in_workspace, job_here, start
from support.engine.tiny_models import save_clip, save_vae

from t2v_core.data.annotations.msrvtt import read_annotations
from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.data.store.ahead import decode_ahead
from t2v_core.data.store.buckets import Bucket
from t2v_core.data.store.latents import LatentStore
from t2v_core.data.store.shards import Shard, TornShard, write_shard
from t2v_core.errors import InvalidRequest, Stopped, WorkFailed
from t2v_core.events.results import Preprocessed
from t2v_core.models.encoders import VideoAutoencoder, load_prompt_encoder, load_vae
from t2v_core.specs import PreprocessSpec, ShapesSpec
from t2v_core.verbs.preprocess import preprocess
from t2v_core.workspace import Dataset

CLIPS, TEST_CLIPS = 18, 4
SPEC = {"data": "data", "vae": "vae", "text_encoder": "clip", "frames": 4, "shard_clips": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with clips and encoders, nothing preprocessed."""
    root = tmp_path_factory.mktemp("raw")
    save_vae(root / "vae")
    save_clip(root / "clip")
    spec = ShapesSpec(data=Path("data"), clips=CLIPS, test_clips=TEST_CLIPS, frames=4, size=32)
    make_set(spec, job_here(root))
    return root


@pytest.fixture(scope="module")
def done(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, preprocessed without interruption."""
    root = tmp_path_factory.mktemp("done") / "workspace"
    shutil.copytree(raw, root)
    in_workspace(preprocess, PreprocessSpec.model_validate(SPEC), job_here(root))
    return root


@pytest.fixture
def workspace(done: Path, tmp_path: Path) -> Path:
    """A copy of `done` to break."""
    return Path(shutil.copytree(done, tmp_path / "workspace"))


def again(root: Path, **values: Any) -> Preprocessed:
    return in_workspace(preprocess, PreprocessSpec.model_validate(SPEC | values), job_here(root))


def made(root: Path) -> dict[str, bytes]:
    """Everything preprocessing wrote."""
    folders = (root / "data/latents", root / "data/text_embeddings")
    files = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def open_store(root: Path, split: Any = "train", **how: Any) -> LatentStore:
    return LatentStore.open(Dataset(root / "data"), split, **how)


def test_latents_come_back_as_the_vae_gave_them(done: Path) -> None:
    store = open_store(done)
    clips = read_annotations(Dataset(done / "data"), "train")
    vae = load_vae(str(done / "vae"))
    small = Bucket(4, 32, 32)
    with decode_ahead([(clip, small) for clip in clips], largest=small, ahead=4) as decoded:
        ready = [result for _, result in decoded]

    # in the batches of preprocessing, since other batches may round otherwise
    expected = torch.cat([vae.encode(torch.cat([r.frames for r in ready[i : i + 4]])) for i in range(0, CLIPS, 4)])

    assert store.video_ids == [clip.video_id for clip in clips]
    assert (len(store), store.shape) == (CLIPS, (4, 4, 4, 4))
    assert torch.equal(store.latents(range(CLIPS)), expected.half().float().reshape(CLIPS, 4, 4, 4, 4))
    assert store.size_bytes == CLIPS * 4 * 4 * 4 * 4 * 2


def test_captions_come_back_unpadded_in_order(done: Path) -> None:
    store = open_store(done)
    encoder = load_prompt_encoder(str(done / "clip"))
    clips = read_annotations(Dataset(done / "data"), "train")
    for index in (0, 3, 4, CLIPS - 1):
        embeddings = store.captions(index)
        assert store.texts(index) == clips[index].captions
        for caption, embedding in zip(clips[index].captions, embeddings, strict=True):
            alone = encoder.encode([caption])[0]
            assert embedding.tokens.shape == alone.tokens.shape
            assert torch.allclose(embedding.tokens, alone.tokens, atol=5e-3)
            assert torch.allclose(embedding.pooled, alone.pooled, atol=5e-3)
            assert embedding.is_truncated == alone.is_truncated
    assert torch.allclose(store.null_prompt.tokens, encoder.encode([""])[0].tokens, atol=5e-3)


def test_reading_rows_equals_holding_everything_in_memory(done: Path) -> None:
    rows = [5, 0, 17, 5, 9]
    lazy, held = open_store(done), open_store(done, in_memory=True)
    assert torch.equal(lazy.latents(rows), held.latents(rows))
    assert torch.equal(pickle.loads(pickle.dumps(lazy)).latents(rows), held.latents(rows))  # noqa: S301 - our own


def test_the_manifest_says_how_the_latents_were_made(done: Path) -> None:
    store = open_store(done)
    vae = load_vae(str(done / "vae"))
    settings = store.manifest["settings"]
    assert store.manifest["encoder"]["sha256"] == settings["vae"] == vae.identity.sha256
    assert (settings["posterior"], settings["frames"], settings["size"], settings["dtype"]) == ("mode", 4, 32, "fp16")
    assert store.manifest["statistics"] == vae.statistics()
    assert store.manifest["fps"] == 8.0
    assert store.clip(0)["indices"] == [0, 1, 2, 3]
    assert store.text_manifest["dim"] == 16


def test_a_store_that_is_not_whole_is_refused_with_the_next_step(raw: Path, workspace: Path) -> None:
    with pytest.raises(InvalidRequest, match="not preprocessed yet") as caught:
        open_store(raw)
    assert caught.value.hint == "t2v preprocess"
    (workspace / "data/latents/train/shard-00001.safetensors").unlink()
    with pytest.raises(InvalidRequest, match=r"shard-00001\.safetensors is missing"):
        open_store(workspace)


def test_a_clip_without_latents_does_not_shift_captions(workspace: Path) -> None:
    manifest = workspace / "data/latents/train/manifest.json"
    values = json.loads(manifest.read_text())
    gone = values["clips"].pop(2)["video_id"]
    manifest.write_text(json.dumps(values))
    store = open_store(workspace)
    whole = {clip.video_id: clip for clip in read_annotations(Dataset(workspace / "data"), "train")}
    assert gone not in store.video_ids
    assert len(store) == CLIPS - 1
    assert all(store.texts(i) == whole[name].captions for i, name in enumerate(store.video_ids))


def test_a_file_that_shrinks_while_open_is_an_error_not_garbage(workspace: Path) -> None:
    store = open_store(workspace)
    shard = workspace / "data/latents/train/shard-00000.safetensors"
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size - 100)
    with pytest.raises(WorkFailed, match="ends in the middle of a row"):
        store.latents([3])


def test_a_shard_cut_at_any_byte_is_not_a_shard(tmp_path: Path) -> None:
    path = tmp_path / "shard.safetensors"
    write_shard(path, {"latents": torch.arange(24.0).reshape(4, 6)}, {"settings": {}, "rows": ["a", "ü"]})
    data = path.read_bytes()
    assert Shard(path).metadata == {"settings": {}, "rows": ["a", "ü"]}
    assert torch.equal(Shard(path).read("latents", 1, 3), torch.arange(6.0, 18).reshape(2, 6))
    for size in [*range(len(data)), len(data) + 1]:
        path.write_bytes((data + b"x")[:size])
        with pytest.raises(TornShard):
            Shard(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
@pytest.mark.parametrize("folder", ["latents", "text_embeddings"])
def test_torn_shards_are_made_again_exactly(workspace: Path, done: Path, folder: str, share: float) -> None:
    for shard in sorted((workspace / "data" / folder / "train").glob("shard-*"))[::2]:
        os.truncate(shard, int(shard.stat().st_size * share))
    again(workspace)
    assert made(workspace) == made(done)


def test_a_second_run_changes_nothing(workspace: Path, done: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (workspace / "data").rglob("*.*") if path.suffix != ".lock"}
    result = again(workspace)
    assert result.skipped == CLIPS + TEST_CLIPS
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert made(workspace) == made(done)


def kill_at(root: Path, moment: float) -> None:
    """Start preprocessing, and kill -9 it `moment` seconds after it began on the latents."""
    child, directory = start(root, "preprocess", **SPEC)
    deadline = time.monotonic() + 100
    while not any(event.get("name") == "latents train" for event in events_of(directory)):
        assert child.poll() is None, (directory / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(moment)
    child.send_signal(signal.SIGKILL)
    child.wait(30)


def test_killed_at_random_moments_it_ends_up_the_same_byte_for_byte(raw: Path, done: Path, tmp_path: Path) -> None:
    seed = time.time_ns() % 10**6
    print("seed", seed)
    chance = random.Random(seed)
    root = Path(shutil.copytree(raw, tmp_path / "workspace"))
    for _ in range(2):
        kill_at(root, chance.uniform(0.0, 0.3))
    again(root)
    assert made(root) == made(done)


def test_a_stop_keeps_what_is_encoded_and_the_rest_follows(raw: Path, done: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(raw, tmp_path / "workspace"))
    job = job_here(root)
    with pytest.raises(Stopped):
        in_workspace(
            preprocess, PreprocessSpec.model_validate(SPEC), StopsAfter(job.directory, job.workspace, job.events)
        )
    assert len(list((root / "data/latents/train").glob("shard-*"))) == 1
    assert again(root).skipped == 4
    assert made(root) == made(done)


def test_a_stop_within_a_shard_keeps_its_rows_too(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clips a batch and four a shard: after six, half of the second shard is encoded."""
    whole, root = (Path(shutil.copytree(raw, tmp_path / name)) for name in ("whole", "stopped"))
    again(whole, batch_frames=8)
    job = job_here(root)
    stopping = StopsAfter(job.directory, job.workspace, job.events, questions=7)
    with pytest.raises(Stopped):
        in_workspace(preprocess, PreprocessSpec.model_validate(SPEC | {"batch_frames": 8}), stopping)
    encode, encoded = VideoAutoencoder.encode, []

    def counted(vae: VideoAutoencoder, frames: torch.Tensor) -> torch.Tensor:
        encoded.append(len(frames) // 4)
        return encode(vae, frames)

    monkeypatch.setattr(VideoAutoencoder, "encode", counted)
    again(root, batch_frames=8)
    assert sum(encoded) == CLIPS + TEST_CLIPS - 6
    assert made(root) == made(whole)


def kept(before: dict[str, bytes], after: dict[str, bytes], folder: str) -> bool:
    return {k: v for k, v in before.items() if folder in k} == {k: v for k, v in after.items() if folder in k}


def test_another_vae_makes_only_the_latents_again(workspace: Path, done: Path) -> None:
    save_vae(workspace / "vae", seed=1)
    result = again(workspace)
    assert result.skipped == 0
    assert kept(made(done), made(workspace), "text_embeddings")
    assert not torch.equal(open_store(workspace).latents([0]), open_store(done).latents([0]))


def test_other_frames_make_only_the_latents_again_and_it_is_said(workspace: Path, done: Path) -> None:
    job = job_here(workspace)
    in_workspace(preprocess, PreprocessSpec.model_validate(SPEC | {"frames": 2}), job)
    warnings = [event["message"] for event in events_of(job.directory) if event["kind"] == "warning"]
    assert warnings == [f"the latents of {split} are made again: frames 4 → 2" for split in ("train", "test")]
    assert kept(made(done), made(workspace), "text_embeddings")
    assert open_store(workspace).shape == (2, 4, 4, 4)


def test_another_text_encoder_makes_only_the_text_again(workspace: Path, done: Path) -> None:
    save_clip(workspace / "clip", seed=1)
    assert again(workspace).skipped == CLIPS + TEST_CLIPS
    assert kept(made(done), made(workspace), "/latents/")
    assert not torch.equal(open_store(workspace).null_prompt.tokens, open_store(done).null_prompt.tokens)


def test_a_changed_caption_makes_only_its_clip_s_text_again(workspace: Path, done: Path) -> None:
    file = workspace / "data/annotations/train_9k.json"
    rows = json.loads(file.read_text())
    rows[2]["caption"] = ["something else"]
    file.write_text(json.dumps(rows))
    again(workspace)
    before, after = open_store(done), open_store(workspace)
    assert kept(made(done), made(workspace), "/latents/")
    assert after.texts(2) == ["something else"]
    assert after.texts(3) == before.texts(3)
    assert torch.equal(after.captions(3)[0].tokens, before.captions(3)[0].tokens)


def test_a_changed_clip_is_encoded_again_and_a_mere_copy_is_not(workspace: Path, done: Path) -> None:
    videos = workspace / "data/videos"
    (videos / "video4.mp4").touch()
    shutil.copyfile(videos / "video6.mp4", videos / "video5.mp4")
    assert again(workspace).skipped == CLIPS + TEST_CLIPS - 1
    before, after = open_store(done), open_store(workspace)
    assert torch.equal(after.latents([4]), before.latents([4]))
    assert torch.allclose(after.latents([5]), before.latents([6]), atol=1e-2)


def test_a_limit_gives_a_smaller_set_and_lifting_it_completes_it(workspace: Path, done: Path) -> None:
    again(workspace, limit=3)
    assert len(open_store(workspace)) == 3
    again(workspace)
    assert made(workspace) == made(done)
