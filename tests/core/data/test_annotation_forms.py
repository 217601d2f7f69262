"""Every form in which MSR-VTT's annotations go round gives the same clips and captions, without a flag."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.engine.annotation_files import (
    JSFUSION,
    PARTS,
    TEST_1K,
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

from t2v_core.data.annotations.msrvtt import join_annotations, join_splits, read_annotations, report
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Dataset

dataset = small_msr_vtt


def test_msr_vtt_s_own_file_gives_train_and_test_and_never_trains_on_validation(dataset: Dataset) -> None:
    write(dataset, "MSRVTT_data.json", raw("train", "validate", "test"))
    assert listed(dataset, "train") == said(PARTS["train"])
    assert listed(dataset, "test") == said(PARTS["test"])
    assert join_annotations(dataset, "train").source == "MSRVTT_data.json (rows with captions)"


def test_the_challenge_s_two_files_give_the_same_and_validation_tests_where_nothing_else_does(dataset: Dataset) -> None:
    write(dataset, "train_val_videodatainfo.json", raw("train", "validate"))
    assert listed(dataset, "train") == said(PARTS["train"])
    assert listed(dataset, "test") == said(PARTS["validate"])
    write(dataset, "test_videodatainfo.json", raw("test"))
    assert listed(dataset, "train") == said(PARTS["train"])
    assert listed(dataset, "test") == said(PARTS["test"])


def test_csv_splits_take_training_captions_from_the_raw_file_and_the_test_keeps_its_own_sentence(
    dataset: Dataset,
) -> None:
    write(dataset, "MSRVTT_data.json", raw("train", "validate", "test"))
    write(dataset, "MSRVTT_train.7k.csv", csv_of(TRAIN_7K))
    write(dataset, "MSRVTT_JSFUSION_test.csv", JSFUSION)
    assert listed(dataset, "train") == said(TRAIN_7K)
    write(dataset, "MSRVTT_train.9k.csv", csv_of(TRAIN_9K))
    assert listed(dataset, "train") == said(TRAIN_9K)
    assert listed(dataset, "test") == {"video7": ["a man, seen from afar"]}
    assert join_annotations(dataset, "train").source == "MSRVTT_train.9k.csv (CSV)"
    (dataset.annotations / "MSRVTT_data.json").unlink()
    write(dataset, "train_val_videodatainfo.json", raw("train", "validate"))
    write(dataset, "test_videodatainfo.json", raw("test"))
    assert listed(dataset, "train") == said(TRAIN_9K)


@pytest.mark.parametrize("root", ["annotations", "."])
@pytest.mark.parametrize("folder", ["high-quality/structured-symlinks", "structured-symlinks"])
def test_frozen_in_time_s_lists_are_joined_with_its_captions(dataset: Dataset, root: str, folder: str) -> None:
    base = dataset.root / root
    rows = [{"image_id": f"video{n}", "caption": text, "id": n} for n in range(8) for text in captions(n)]
    (base / folder).mkdir(parents=True)
    (base / "annotation").mkdir()
    (base / "annotation/MSR_VTT.json").write_text(json.dumps({"info": {}, "images": [], "annotations": rows}))
    lists = {"train_list_jsfusion": TRAIN_9K, "val_list_jsfusion": TEST_1K, "train_list_full": PARTS["train"]}
    for name, numbers in (lists | {"test_list_full": PARTS["test"]}).items():
        (base / folder / f"{name}.txt").write_text("\n".join(names(numbers)))
    train, test = join_splits(dataset, "refuse")
    assert {clip.video_id: clip.captions for clip in train.clips} == said(TRAIN_9K)
    assert {clip.video_id: clip.captions for clip in test.clips} == said(TEST_1K)
    assert [text for text in report(dataset, [train, test]) if "1k-A scores one sentence" in text]
    write(dataset, "MSRVTT_JSFUSION_test.csv", JSFUSION)
    assert listed(dataset, "test") == {"video7": ["a man, seen from afar"]}


def test_frozen_in_time_s_folder_of_videos_is_found(dataset: Dataset) -> None:
    write(dataset, "train_9k.json", flat(TRAIN_9K))
    (dataset.videos / "all").mkdir()
    for path in list(dataset.videos.glob("*.mp4")):
        path.rename(dataset.videos / "all" / path.name)
    assert read_annotations(dataset, "train")[0].path == dataset.videos / "all/video0.mp4"


def one_row_a_video(numbers: tuple[int, ...], kind: str) -> str:
    rows = [{"video_id": f"video{n}", "caption": f"clip {n}, one", "sen_id": 100 + n} for n in numbers]
    if kind == "json":
        return json.dumps(rows)
    if kind == "jsonl":
        return "\n".join(json.dumps(row) for row in rows)
    separator = ";" if kind == "semicolons.csv" else ","
    lines = [separator.join((row["video_id"], f'"{row["caption"]}"', str(row["sen_id"]))) for row in rows]
    return "\n".join([separator.join(("video_id", "caption", "sen_id")), *lines]) + "\n"


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv", "semicolons.csv"])
def test_one_row_a_video_with_a_single_caption(dataset: Dataset, kind: str) -> None:
    write(dataset, f"train.{kind}", one_row_a_video(PARTS["train"], kind))
    write(dataset, f"val.{kind}", one_row_a_video(PARTS["validate"], kind))
    assert listed(dataset, "train") == {f"video{n}": [f"clip {n}, one"] for n in PARTS["train"]}
    assert listed(dataset, "test") == {"video4": ["clip 4, one"]}


def test_json_lines_in_a_file_named_json_are_read_as_such(dataset: Dataset) -> None:
    write(dataset, "train.json", one_row_a_video(PARTS["train"], "jsonl"))
    assert len(read_annotations(dataset, "train")) == 4


def test_a_test_split_without_any_video_is_no_hindrance_and_said(dataset: Dataset) -> None:
    write(dataset, "MSRVTT_data.json", raw("train", "validate", "test"))
    for number in PARTS["test"]:
        (dataset.videos / f"video{number}.mp4").unlink()
    [train] = join_splits(dataset, "refuse")
    assert len(train.clips) == 4
    assert report(dataset, [train])[0] == (
        "none of the 3 test clips of MSRVTT_data.json (rows with captions) has a video file: no test split"
    )


def test_rows_that_say_their_split_need_no_name_that_does(dataset: Dataset) -> None:
    rows = [row | {"split": part} for part, numbers in PARTS.items() for row in flat(numbers)]
    write(dataset, "captions.json", rows)
    assert listed(dataset, "train") == said(PARTS["train"])
    assert listed(dataset, "test") == said(PARTS["test"])


def test_what_is_preferred_when_several_forms_lie_there(dataset: Dataset) -> None:
    """Each form says something else of the clips, worst first; every better one that comes takes its place."""
    forms: list[tuple[str, Any, str]] = [
        ("captions.json", [{"video_id": "video0", "caption": "a name that says nothing"}], "rows with captions"),
        ("MSRVTT_data.json", raw("train"), "rows with captions"),
        ("structured-symlinks/train_list_full.txt", "video0\n", "Frozen in Time's list"),
        ("MSRVTT_train.9k.csv", "video_id\nvideo0\n", "CSV"),
        ("msrvtt_train_7k.json", flat((0,)), "flat list"),
        ("train_9k.json", flat((0,)), "flat list"),
        ("train.manifest.jsonl", json.dumps({"video_id": "video0", "captions": ["x"], "split": "train"}), "manifest"),
    ]
    for name, content, form in forms:
        write(dataset, name, content)
        assert join_annotations(dataset, "train").source == f"{Path(name).name} ({form})"


def test_the_used_files_are_said_when_preprocessing(dataset: Dataset, tmp_path: Path) -> None:
    write(dataset, "train_7k.json", flat(TRAIN_7K))
    write(dataset, "MSRVTT_JSFUSION_test.csv", JSFUSION)
    ended = through_the_door(tmp_path, "preprocess", data="data", vae="./none", text_encoder="./none", device="cpu")
    stage = next(event for event in ended.of("stage") if event["name"] == "captions")
    assert stage["detail"] == "train: train_7k.json (flat list); test: MSRVTT_JSFUSION_test.csv (CSV)"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "ids without captions": (
        {"MSRVTT_train.9k.csv": csv_of((0, 1))},
        "MSRVTT_train.9k.csv lists 2 clips, and no file beside it has their captions",
    ),
    "ids with broken captions": (
        {"MSRVTT_train.9k.csv": csv_of((0, 1)), "MSRVTT_data.json": '{"videos": ['},
        "no file beside it has their captions .*MSRVTT_data.json is not JSON",
    ),
    "no header": ({"MSRVTT_train.9k.csv": "video0\nvideo1\n"}, "has no column video_id; its first line is 'video0'"),
    "an empty csv": ({"train.csv": "\n"}, "train.csv is empty"),
    "a csv row without id": ({"train.csv": "video_id,caption\nvideo0,x\n,y\n"}, "line 3 of .*train.csv: video_id is"),
    "a csv row cut short": ({"train.csv": "video_id,caption\nvideo0,x\nvideo1\n"}, "line 3 of .*caption is missing"),
    "a csv of a header": ({"train.csv": "video_id,caption\n"}, "train.csv is empty but for its header"),
    "an empty list": ({"structured-symlinks/train_list.txt": "\n"}, "train_list.txt is empty"),
    "a raw video without id": (
        {"MSRVTT_data.json": {"videos": [{"id": 1}], "sentences": []}}, "video 1 of .*MSRVTT_data.json: video_id is"
    ),
    "a raw sentence without caption": (
        {"MSRVTT_data.json": {"videos": [], "sentences": [{"video_id": "video0"}]}},
        "sentence 1 of .*caption is missing",
    ),
    "an unknown split": (
        {"MSRVTT_data.json": {"videos": [{"video_id": "video0", "split": "extra"}], "sentences": []}},
        "video 1 of .*split is 'extra'",
    ),
    "a frozen annotation": ({"MSR_VTT.json": {"annotations": [{"caption": "x"}]}}, "annotation 1 of .*image_id or"),
    "a broken line": ({"train.jsonl": '{"video_id": "video0", "caption": "x"}\n{"video'}, "line 2 of .*is not JSON"),
    "another dictionary": ({"stats.json": {"clips": 8}}, "stats.json should be a list of rows"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_named_with_its_row_and_what_it_should_look_like(dataset: Dataset, name: str) -> None:
    files, expected = WRONG[name]
    for file, content in files.items():
        write(dataset, file, content)
    with pytest.raises(InvalidRequest, match=expected) as caught:
        read_annotations(dataset, "train")
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_strange_file_beside_good_ones_is_no_matter(dataset: Dataset) -> None:
    write(dataset, "aaa.json", '{"torn')
    write(dataset, "train_val_videodatainfo.json", raw("train", "validate"))
    assert listed(dataset, "train") == said(PARTS["train"])
