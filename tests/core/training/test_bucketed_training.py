"""Clips of several sizes and lengths in one set: prepared in buckets, trained on, and drawn with."""

from __future__ import annotations

import json
import math
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.engine.engine import job_here
from support.engine.open_models import save_open_model
from support.engine.training_set import differing
from support.engine.warm_engine import begin, run_warm
from support.hosts.door import EndedHere, through_the_door

from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.data.store.latents import LatentStore
from t2v_core.data.store.shards import read_metadata
from t2v_core.data.video.decode import read_all_frames
from t2v_core.data.video.frames import write_video
from t2v_core.events.estimated import Estimated
from t2v_core.specs import ShapesSpec
from t2v_core.workspace import Dataset, Workspace
from t2v_tui.library.data_sets import data_sets_here
from t2v_tui.screens.data import facts_of

BUCKETS = "64x32x9,32x64x9,64x32x5"
# Width, height, frames of each training clip: eleven that go into a bucket, and one that is too short.
CLIPS = [(64, 32, 12)] * 5 + [(128, 64, 7)] * 2 + [(40, 80, 9)] * 4 + [(32, 64, 5)]
SHARES = {"32x64x9": 4, "64x32x5": 2, "64x32x9": 5}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_open_model("ltx", tmp_path_factory.mktemp("open") / "ltx")  # whose timesteps depend on the size


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    root = tmp_path_factory.mktemp("bucketed")
    make_set(ShapesSpec(data=Path("data/mixed"), clips=len(CLIPS), test_clips=2, frames=9, size=32), job_here(root))
    captions = json.loads(next((root / "data/mixed/annotations").glob("train*")).read_text())
    names = [Path(row["video"]).name for row in captions]
    for number, (name, (width, height, frames)) in enumerate(zip(names, CLIPS, strict=True)):
        picture = np.random.default_rng(number).integers(0, 255, (frames, height, width, 3), dtype=np.uint8)
        write_video(root / "data/mixed/videos" / name, picture, fps=8)
    ended = prepared(root, model, buckets=BUCKETS, shard_clips=3)
    assert ended.code == 0, ended.events
    told = [event["detail"] for event in ended.of("stage") if event["name"] == "buckets train"]
    assert told == ["32×64, 9 frames: 4 clips; 64×32, 5 frames: 2 clips; 64×32, 9 frames: 5 clips; 1 clip too short"]
    assert "has 5 frames and is 32×64, and the shortest bucket of that shape, 32x64x9, needs 9" in ended.warnings
    return root


def prepared(root: Path, model: Path, **values: Any) -> EndedHere:
    return through_the_door(root, "preprocess", data="data/mixed", model=str(model), device="cpu", **values)


def training(root: Path, model: Path, **values: Any) -> dict[str, Any]:
    usual = {"lora": True, "lora_rank": 4, "gradient_accumulation": 2, "warmup_steps": 0, "held_out_clips": 1}
    return usual | {"data": str(root / "data/mixed"), "model": str(model), "device": "cpu"} | values


def test_a_set_in_buckets_says_which_clip_is_in_which(workspace: Path, model: Path) -> None:
    latents = Dataset(workspace / "data/mixed").latents / "train"
    manifest = json.loads((latents / "manifest.json").read_text())
    assert (manifest["buckets"], manifest["bucket"], manifest["shape"]) == (SHARES, "64x32x9", [3, 8, 8, 16])
    for shard in latents.glob("shard-*"):
        assert len({row["bucket"] for row in read_metadata(shard)["rows"]}) == 1
    for in_memory in (False, True):
        store = LatentStore.open(Dataset(workspace / "data/mixed"), "train", in_memory=in_memory)
        assert sorted(store.shapes.values()) == sorted(SHARES.values())
        for rows in store.by_shape(range(len(store))):
            assert store.latents(rows).shape[1:] == store.shape_of(rows[0])
    again = prepared(workspace, model, buckets="64x32x5,64x32x9,32x64x9", shard_clips=3)
    assert (again.code, again.done["skipped"]) == (0, 13)
    (one,) = data_sets_here(Workspace(workspace))
    assert "in buckets: 32×64×9 4, 64×32×5 2, 64×32×9 5" in facts_of(one).plain


def test_it_is_trained_on_killed_resumed_to_the_bit_and_drawn_with(
    workspace: Path, model: Path, tmp_path: Path
) -> None:
    settings = training(workspace, model, epochs=3)
    child = begin(tmp_path, "train", **settings)
    child.wait_for(lambda event: event["kind"] == "checkpoint")
    child.signal(signal.SIGKILL)
    assert child.end().code == -signal.SIGKILL
    assert run_warm(tmp_path, "train", resume=True).code == 0
    ended = run_warm(tmp_path, "train", **settings | {"checkpoints": "whole"})
    assert ended.code == 0
    assert differing(tmp_path / "checkpoints/checkpoint_epoch_3", tmp_path / "whole/checkpoint_epoch_3") == []
    assert any("10 clips in 3 buckets" in event.get("detail", "") for event in ended.events)
    drawn = through_the_door(tmp_path, "generate", prompt="a", steps=2, device="cpu", output="a.mp4")
    assert drawn.code == 0, drawn.events
    assert read_all_frames(tmp_path / "a.mp4").frames.shape == (9, 32, 64, 3)


def test_an_estimate_counts_the_largest_bucket(workspace: Path, model: Path) -> None:
    given = {"data": "data/mixed", "model": str(model), "lora": True, "gpu": "L4", "probe": False, "held_out_clips": 0}
    result = Estimated.of(through_the_door(workspace, "estimate", **given).done)
    assert result is not None
    assert (result.data.is_preprocessed, result.data.shape[0]) == (True, 3)
    assert {share.clips for share in result.data.shares} == set(SHARES.values())
    assert result.time is not None
    assert result.time.steps_per_epoch == 3


def test_what_buckets_cannot_be_is_one_sentence(workspace: Path, model: Path, tmp_path: Path) -> None:
    for values, sentence, hint in (
        ({"buckets": "64x30x9"}, "--buckets: LTX-Video cannot take 64x30x9; its frames are", "use 64x32x9"),
        ({"buckets": "64x32"}, "--buckets: 64x32 is no size and length", "--buckets auto"),
        ({"buckets": BUCKETS, "frames": 9}, "--buckets names every size and length, and --frames another one", ""),
    ):
        ended = prepared(workspace, model, **values)
        assert ended.code == 2
        assert ended.sentence.startswith(sentence)
        assert hint in str(ended.events[-1])
    own = through_the_door(tmp_path, "train", data=str(workspace / "data/mixed"), preset="tiny", device="cpu")
    assert own.sentence == "the data set has clips of 3 sizes and lengths, and t2v's own models take one"
    bare = through_the_door(workspace, "preprocess", data="data/mixed", buckets=BUCKETS, device="cpu")
    assert bare.sentence == "--buckets is for an open model, and none is named"


def test_an_estimate_of_buckets_to_come_takes_the_largest_and_adds_up_all_clips(
    workspace: Path, model: Path, tmp_path: Path
) -> None:
    given = {"model": str(model), "lora": True, "gpu": "L4", "probe": False, "held_out_clips": 0, "batch_size": 1}

    def estimated(data: Path, **values: Any) -> Estimated:
        ended = through_the_door(tmp_path, "estimate", **given | {"data": str(data)} | values)
        result = Estimated.of(ended.done)
        assert result is not None
        return result

    made = estimated(workspace / "data/mixed")
    bare = tmp_path / "bare"
    for name in ("videos", "annotations"):
        shutil.copytree(workspace / "data/mixed" / name, bare / name)
    to_come = estimated(bare, buckets=BUCKETS)
    assert "in 3 buckets as 12 of them are" in to_come.data.source
    assert (made.data.is_preprocessed, to_come.data.is_preprocessed) == (True, False)
    assert (to_come.data.shape, set(to_come.data.shares)) == (made.data.shape, set(made.data.shares))
    assert to_come.memory.activations_bytes == made.memory.activations_bytes
    assert (to_come.time, to_come.data.clips) == (made.time, made.data.clips)
    one = estimated(bare, buckets="64x32x9")
    assert (one.data.clips, one.data.shares) == (9, ())  # those of the other aspect ratio are cut, short ones left out
    per_clip = one.data.latents_bytes / one.data.clips
    shares = {share.shape: share.clips for share in to_come.data.shares}
    sizes = sum(clips * math.prod(shape) for shape, clips in shares.items()) / math.prod(made.data.shape)
    assert to_come.data.latents_bytes == pytest.approx(per_clip * sizes, rel=1e-3)
    assert estimated(tmp_path / "nothing", buckets=BUCKETS).data.clips == 9000
    assert estimated(workspace / "data/mixed", buckets=BUCKETS).data == made.data
    assert not estimated(workspace / "data/mixed", buckets="64x64x9").data.is_preprocessed


def test_an_estimate_of_a_video_takes_the_largest_bucket(model: Path, tmp_path: Path) -> None:
    given = {"model": str(model), "gpu": "L4", "probe": False}
    largest = through_the_door(tmp_path, "estimate", **given, buckets=BUCKETS).done
    assert (largest["frames"], largest["height"] * largest["width"]) == (9, 64 * 32)
    alone = through_the_door(tmp_path, "estimate", **given, frames=9, height=32, width=64).done
    assert largest["sampling_bytes"] == alone["sampling_bytes"]


def test_what_an_estimate_of_buckets_cannot_be_is_one_sentence(workspace: Path, model: Path, tmp_path: Path) -> None:
    for lora in (False, True):
        for values, sentence in (
            ({"buckets": "64x30x9"}, "--buckets: LTX-Video cannot take 64x30x9; its frames are"),
            ({"buckets": "64x32"}, "--buckets: 64x32 is no size and length"),
            ({"buckets": BUCKETS, "frames": 9}, "--buckets names every size and length, and --frames another one"),
        ):
            ended = through_the_door(tmp_path, "estimate", model=str(model), lora=lora, probe=False, **values)
            assert ended.sentence.startswith(sentence)
    bare = shutil.copytree(workspace / "data/mixed/videos", tmp_path / "long/videos").parent
    shutil.copytree(workspace / "data/mixed/annotations", bare / "annotations")
    long = {"data": str(bare), "model": str(model), "lora": True, "buckets": "64x32x97"}
    ended = through_the_door(tmp_path, "estimate", **long)
    assert ended.sentence == "--buckets: none of 12 clips that were looked at fills one of 64x32x97"
    for name, value in (("buckets", BUCKETS), ("height", 32), ("width", 32)):
        ended = through_the_door(tmp_path, "estimate", preset="tiny", **{name: value})
        assert ended.sentence == f"--{name} is for an open model, and none is named"
