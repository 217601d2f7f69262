"""Captions find their clip by id, and what does not fit together is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from t2v_core.data.annotations.msrvtt import join_annotations, present_splits, read_annotations, report
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Dataset


def make(root: Path, videos: list[str], rows: Any = None, name: str = "train_9k.json") -> Dataset:
    dataset = Dataset(root)
    dataset.videos.mkdir(parents=True, exist_ok=True)
    dataset.annotations.mkdir(exist_ok=True)
    for video in videos:
        (dataset.videos / video).write_bytes(b"x")
    if rows is not None:
        (dataset.annotations / name).write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return dataset


def row(number: int, caption: Any) -> dict[str, Any]:
    return {
        "video_id": f"video{number}",
        "video": f"video{number}.mp4",
        "caption": caption,
        "source": "MSR-VTT",
        "category": 3,
        "url": "https://example.invalid",
        "start time": 1.5,
        "end time": 9.0,
        "id": number,
    }


def test_a_hole_in_the_middle_never_shifts_captions(tmp_path: Path) -> None:
    rows = [row(number, [f"clip {number}"]) for number in range(10)]
    dataset = make(tmp_path, [f"video{number}.mp4" for number in range(10) if number not in (3, 4)], rows)

    joined = join_annotations(dataset, "train")

    assert [clip.captions for clip in joined.clips] == [[f"clip {n}"] for n in (0, 1, 2, 5, 6, 7, 8, 9)]
    assert all(clip.path.name == f"{clip.captions[0].replace('clip ', 'video')}.mp4" for clip in joined.clips)
    assert joined.without_file == ["video3", "video4"]


def test_the_order_of_rows_and_files_does_not_matter(tmp_path: Path) -> None:
    rows = [row(10, "ten"), row(2, "two"), row(0, "none")]
    dataset = make(tmp_path, ["video0.mp4", "video10.mp4", "video2.mp4"], rows)
    assert {c.video_id: c.captions for c in read_annotations(dataset, "train")} == {
        "video10": ["ten"],
        "video2": ["two"],
        "video0": ["none"],
    }


def test_a_caption_may_be_one_text_or_a_list_and_rows_of_one_id_merge(tmp_path: Path) -> None:
    dataset = make(tmp_path, ["video0.mp4"], [row(0, "a man sings"), row(0, [" a song ", "", "  "])])
    assert read_annotations(dataset, "train")[0].captions == ["a man sings", "a song"]


def test_keys_that_are_missing_or_unknown_are_no_matter(tmp_path: Path) -> None:
    dataset = make(tmp_path, ["video0.webm"], [{"video_id": "video0", "caption": "x", "mood": {"deep": [1]}}])
    assert read_annotations(dataset, "train")[0].path == dataset.videos / "video0.webm"


def test_a_file_named_otherwise_is_found_by_the_video_key_and_never_outside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "outside.mp4").write_bytes(b"x")
    rows = [
        {"video_id": "a", "video": "clips/first.mp4", "caption": "x"},
        {"video_id": "b", "video": "../../outside.mp4", "caption": "y"},
    ]
    joined = join_annotations(make(tmp_path / "set", ["first.mp4"], rows), "train")
    assert [clip.path.name for clip in joined.clips] == ["first.mp4"]
    assert joined.without_file == ["b"]


def test_both_names_of_the_files_are_known(tmp_path: Path) -> None:
    dataset = make(tmp_path, ["video0.mp4"], [row(0, "x")], "msrvtt_train_9k.json")
    assert present_splits(dataset) == ["train"]
    make(tmp_path, ["video1.mp4"], [row(1, "x")], "msrvtt_test_1k.json")
    assert present_splits(dataset) == ["train", "test"]
    assert read_annotations(dataset, "test")[0].video_id == "video1"


def test_what_does_not_fit_together_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    dataset = make(tmp_path, ["video0.mp4", "video7.mp4"], [row(0, "x"), row(1, "y"), row(2, ["z"])])
    make(tmp_path, ["video5.mp4"], [row(5, " "), row(0, "x")], "test_1k.json")
    sentences = report(dataset, [join_annotations(dataset, "train"), join_annotations(dataset, "test")])
    assert sentences == [
        "2 captioned train clips (video1, video2) without a video file",
        "1 test clip (video5) with blank captions only",
        "1 video file (video7) without a caption",
        "1 clip (video0) in both train and test: test scores will look too good",
    ]


WRONG = {
    "empty": ("", "is empty"),
    "no rows": ([], "is empty"),
    "torn": ('[{"video_id": "vid', "is not JSON"),
    "too deep": ("[" * 100_000, "is not JSON"),
    "an object": ({"videos": []}, "should be a list of rows"),
    "a row of text": ([row(0, "x"), "video1"], "row 2 of .*should be an object"),
    "no id": ([{"caption": "x"}], "row 1 of .*video_id is missing"),
    "number as id": ([{"video_id": 7, "caption": "x"}], "row 1 of .*video_id"),
    "no caption": ([row(0, "x"), {"video_id": "video1"}], "row 2 of .*caption is missing"),
    "number as caption": ([row(0, [1])], "row 1 of .*caption should be"),
    "nothing fits": ([row(3, "x"), row(4, "y")], "none of the 2 captioned clips"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_annotation_file_gets_one_sentence_and_a_hint(tmp_path: Path, name: str) -> None:
    rows, expected = WRONG[name]
    with pytest.raises(InvalidRequest, match=expected) as caught:
        read_annotations(make(tmp_path, ["video0.mp4"], rows), "train")
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_missing_folder_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="there is no data set at"):
        read_annotations(Dataset(tmp_path / "nowhere"), "train")
    with pytest.raises(InvalidRequest, match="annotations is missing"):
        read_annotations(Dataset(tmp_path), "train")
    dataset = make(tmp_path, [])
    with pytest.raises(InvalidRequest, match="holds no train captions") as caught:
        read_annotations(dataset, "train")
    assert "train_9k.json or msrvtt_train_9k.json" in caught.value.hint
    make(tmp_path, [], [row(0, "x")])
    dataset.videos.rmdir()
    with pytest.raises(InvalidRequest, match="videos is missing"):
        read_annotations(dataset, "train")
