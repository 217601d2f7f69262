"""A small MSR-VTT: its clips, and its annotations in the forms that go round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from t2v_core.data.annotations.annotation_rows import Split
from t2v_core.data.annotations.msrvtt import read_annotations
from t2v_core.workspace import Dataset

# A small MSR-VTT: videos 0 … 3 train, 4 validate, 5 … 7 test, of which 7 is 1k-A's.
PARTS = {"train": (0, 1, 2, 3), "validate": (4,), "test": (5, 6, 7)}


TRAIN_9K, TRAIN_7K, TEST_1K = (0, 1, 2, 3, 4, 5, 6), (0, 1, 2, 3, 4), (7,)


def captions(number: int) -> list[str]:
    return [f"clip {number}", f"a film of {number}"]


def names(numbers: tuple[int, ...]) -> list[str]:
    return [f"video{number}" for number in numbers]


def said(numbers: tuple[int, ...]) -> dict[str, list[str]]:
    return {f"video{number}": captions(number) for number in numbers}


@pytest.fixture
def small_msr_vtt(tmp_path: Path) -> Dataset:
    """Eight clips, nothing annotated."""
    dataset = Dataset(tmp_path / "data")
    dataset.videos.mkdir(parents=True)
    dataset.annotations.mkdir()
    for number in range(8):
        (dataset.videos / f"video{number}.mp4").write_bytes(b"x")
    return dataset


def write(dataset: Dataset, name: str, content: Any) -> Path:
    path = dataset.annotations / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def raw(*parts: str) -> dict[str, Any]:
    """MSR-VTT's own form; sentences lie mixed, as they do there."""
    listed = [(part, number) for part in parts for number in PARTS[part]]
    videos = [
        {
            "id": number, "video_id": f"video{number}", "category": number, "url": "https://example.invalid",
            "start time": 1.5 * number, "end time": 1.5 * number + 10, "split": part,
        }
        for part, number in listed
    ]  # fmt: skip
    sentences = [
        {"sen_id": which * 100 + number, "video_id": f"video{number}", "caption": captions(number)[which]}
        for which in (0, 1)
        for _, number in reversed(listed)
    ]
    return {"info": {"year": "2016"}, "videos": videos, "sentences": sentences}


def flat(numbers: tuple[int, ...]) -> list[dict[str, Any]]:
    return [
        {
            "video_id": f"video{n}",
            "video": f"video{n}.mp4",
            "caption": captions(n),
            "category": n,
            "start time": 1.5 * n,
        }
        for n in numbers
    ]


def listed(dataset: Dataset, split: Split) -> dict[str, list[str]]:
    return {clip.video_id: clip.captions for clip in read_annotations(dataset, split)}


def csv_of(numbers: tuple[int, ...]) -> str:
    return "\r\n".join(["video_id", *names(numbers)]) + "\r\n"


JSFUSION = 'key,vid_key,video_id,sentence\nret0,msr9770,video7,"a man, seen from afar"\n'
