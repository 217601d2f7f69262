"""A manifest says what the annotations it was made of say, and training clips that are test clips are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.engine.annotation_files import (
    JSFUSION,
    PARTS,
    TRAIN_7K,
    TRAIN_9K,
    captions,
    csv_of,
    flat,
    listed,
    names,
    raw,
    said,
    small_msr_vtt,
    write,
)
from support.hosts.door import through_the_door

from t2v_core.data.annotations.msrvtt import join_splits, present_splits, read_annotations, report
from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.errors import InvalidRequest
from t2v_core.specs import ShapesSpec
from t2v_core.workspace import Dataset

dataset = small_msr_vtt


# --- the manifest ---


def manifest(root: Path, **values: Any) -> Any:
    return through_the_door(root, "manifest", **({"data": "data"} | values))


@pytest.mark.parametrize("form", ["raw", "flat", "csv"])
def test_a_manifest_says_just_what_the_form_it_was_made_of_says(dataset: Dataset, tmp_path: Path, form: str) -> None:
    (dataset.videos / "video2.mp4").unlink()
    if form == "raw":
        write(dataset, "MSRVTT_data.json", raw("train", "validate", "test"))
    elif form == "flat":
        write(dataset, "train_7k.json", [*flat(TRAIN_7K), {"video_id": "video99", "caption": " "}])
        write(dataset, "test_1k.json", [{"video_id": "video7", "caption": 'seven \u2028 über "alles"'}])
    else:
        write(dataset, "MSRVTT_data.json", raw("train", "validate", "test"))
        write(dataset, "MSRVTT_train.7k.csv", csv_of(TRAIN_7K))
        write(dataset, "MSRVTT_JSFUSION_test.csv", JSFUSION)
    before = join_splits(dataset, "refuse")

    ended = manifest(tmp_path)

    assert (ended.code, ended.done["written"]) == (0, 2)
    assert ended.done["paths"] == [f"data/annotations/{split}.manifest.jsonl" for split in ("train", "test")]
    after = join_splits(dataset, "refuse")
    assert [part.source for part in after] == [f"{s}.manifest.jsonl (manifest)" for s in ("train", "test")]
    for left, right in zip(before, after, strict=True):
        assert left.clips == right.clips
        assert (left.without_file, left.without_caption) == (right.without_file, right.without_caption)


def test_a_manifest_carries_file_time_and_category_and_round_trips_to_the_byte(
    dataset: Dataset, tmp_path: Path
) -> None:
    (dataset.videos / "video1.mp4").rename(dataset.videos / "video1.webm")
    write(dataset, "MSRVTT_data.json", raw("train"))
    manifest(tmp_path)
    path = dataset.annotations / "train.manifest.jsonl"
    written = path.read_bytes()
    rows = [json.loads(line) for line in written.decode().splitlines()]
    assert rows[1] == {
        "video_id": "video1", "file": "video1.webm", "captions": captions(1), "split": "train",
        "start_s": 1.5, "end_s": 11.5, "category": 1,
    }  # fmt: skip
    assert present_splits(dataset) == ["train"]
    (dataset.annotations / "MSRVTT_data.json").unlink()
    assert manifest(tmp_path, replace=True).code == 0
    assert path.read_bytes() == written


def test_a_manifest_that_says_something_else_is_replaced_only_when_asked(dataset: Dataset, tmp_path: Path) -> None:
    write(dataset, "train_9k.json", flat(TRAIN_9K))
    mine = write(dataset, "train.manifest.jsonl", '{"video_id": "video3", "caption": "mine"}\n')
    assert manifest(tmp_path).sentence == f"{mine} already exists and says something else"
    assert "mine" in mine.read_text()
    assert manifest(tmp_path, replace=True).done["written"] == 1
    assert listed(dataset, "train") == said(TRAIN_9K)
    assert manifest(tmp_path).done["written"] == 0


BAD_LINES = {
    "torn": ('{"video_id": "vid', "is not JSON"),
    "a text": ('"video1"', "it should be an object"),
    "no id": ('{"captions": ["x"]}', "video_id is missing"),
    "no captions": ('{"video_id": "video1"}', "caption is missing"),
    "captions of numbers": ('{"video_id": "video1", "captions": [1]}', "captions should be a string or a list"),
    "of the test": ('{"video_id": "video1", "captions": ["x"], "split": "test"}', "split is 'test' in the manifest of"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_broken_line_of_a_manifest_is_named(dataset: Dataset, name: str) -> None:
    line, expected = BAD_LINES[name]
    good = json.dumps({"video_id": "video0", "captions": ["x"], "split": "train"})
    file = write(dataset, "train.manifest.jsonl", f"{good}\n\n{line}\n{good}\n")
    with pytest.raises(InvalidRequest, match=f"line 3 of {file}.*{expected}") as caught:
        read_annotations(dataset, "train")
    assert caught.value.hint


def test_the_built_in_world_made_anew_does_not_keep_the_manifest_of_the_old(tmp_path: Path) -> None:
    from support.engine.engine import job_here

    values = {"data": Path("data"), "clips": 3, "test_clips": 2, "frames": 4, "size": 32}
    make_set(ShapesSpec.model_validate(values), job_here(tmp_path))
    assert manifest(tmp_path).done["clips"] == 5
    make_set(ShapesSpec.model_validate(values | {"seed": 1, "clips": 4}), job_here(tmp_path))
    assert len(read_annotations(Dataset(tmp_path / "data"), "train")) == 4


# --- training clips that are test clips ---


def overlapping(dataset: Dataset) -> None:
    write(dataset, "train_9k.json", flat(TRAIN_9K))
    write(dataset, "test_videodatainfo.json", raw("test"))


@pytest.mark.parametrize("verb", ["preprocess", "manifest"])
def test_training_clips_that_are_test_clips_are_refused_with_the_way_out(
    dataset: Dataset, tmp_path: Path, verb: str
) -> None:
    overlapping(dataset)
    ended = through_the_door(tmp_path, verb, data="data")
    assert ended.sentence == (
        "2 of 7 training clips, of train_9k.json (flat list), are test clips of test_videodatainfo.json "
        "(rows with captions) too: video5, video6"
    )
    assert "test_1k.json or MSRVTT_JSFUSION_test.csv" in ended.error["hint"]
    assert "--on-overlap drop-from-train" in ended.error["hint"]
    assert sorted(path.name for path in dataset.root.iterdir()) == ["annotations", "videos"]


def test_they_can_be_left_out_of_training_and_it_is_said(dataset: Dataset, tmp_path: Path) -> None:
    overlapping(dataset)
    train, test = join_splits(dataset, "drop-from-train")
    assert [clip.video_id for clip in train.clips] == names(TRAIN_7K)
    assert [clip.video_id for clip in test.clips] == names(PARTS["test"])
    assert report(dataset, [train, test]) == ["2 clips are left out of train: they are test clips"]
    ended = manifest(tmp_path, on_overlap="drop-from-train")
    assert ended.warnings == "2 clips are left out of train: they are test clips"
    assert [clip.video_id for clip in join_splits(dataset, "refuse")[0].clips] == names(TRAIN_7K)


def test_the_ways_out_work(dataset: Dataset) -> None:
    overlapping(dataset)
    write(dataset, "MSRVTT_JSFUSION_test.csv", JSFUSION)
    assert len(join_splits(dataset, "refuse")) == 2
    (dataset.annotations / "MSRVTT_JSFUSION_test.csv").unlink()
    (dataset.annotations / "train_9k.json").rename(dataset.annotations / "train_7k.json")
    write(dataset, "train_7k.json", flat(TRAIN_7K))
    assert len(join_splits(dataset, "refuse")) == 2


def test_a_training_set_of_test_clips_only_is_refused_even_then(dataset: Dataset) -> None:
    write(dataset, "train_9k.json", flat((5, 6)))
    write(dataset, "test_videodatainfo.json", raw("test"))
    with pytest.raises(InvalidRequest, match=r"every training clip of train_9k\.json .* is a test clip too"):
        join_splits(dataset, "drop-from-train")
