"""Which file an annotation means: names in either Unicode form, with any video's suffix, and bytes that are no text."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest
from support.engine.odd_videos import PLAIN, encode, numbered_frames
from support.hosts.door import EndedHere, through_the_door

from remote.agent.listing.kinds import BY_SUFFIX, VIDEO
from t2v_core.data.annotations.msrvtt import join_splits, report
from t2v_core.disk.plain_text import escaped
from t2v_core.errors import InvalidRequest
from t2v_core.events import Event, WarningEvent
from t2v_core.specs import make_spec
from t2v_core.workspace import CLIP_SUFFIXES, Dataset

NAMES = ("café", "ångström", "한국어", "Việt", "ｆｕｌｌ", "plain")


def data(root: Path, files: list[str | bytes], ids: list[str]) -> Dataset:
    """Files that hold nothing, and a caption for each id."""
    dataset = Dataset(root / "data")
    dataset.videos.mkdir(parents=True)
    dataset.annotations.mkdir()
    for name in files:
        Path(os.fsdecode(os.fsencode(dataset.videos) + b"/" + os.fsencode(name))).write_bytes(b"x")
    rows = [{"video_id": name, "caption": "a"} for name in ids]
    (dataset.annotations / "train_9k.json").write_text(json.dumps(rows))
    return dataset


def joined(dataset: Dataset) -> dict[str, str]:
    return {clip.video_id: clip.path.name for clip in join_splits(dataset, "refuse")[0].clips}


def preprocess(root: Path) -> EndedHere:
    embedded = {"vae": "embedded", "text_encoder": "embedded"}
    return through_the_door(root, "preprocess", data="data", frames=4, size=64, device="cpu", **embedded)


@pytest.mark.parametrize(("on_disk", "written"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_names_meet_in_whichever_form_they_are_written(tmp_path: Path, on_disk: str, written: str) -> None:
    files = [f"{unicodedata.normalize(on_disk, name)}.mp4" for name in NAMES]
    ids = [unicodedata.normalize(written, name) for name in NAMES]
    dataset = data(tmp_path, files, ids)
    assert joined(dataset) == dict(zip(ids, files, strict=True))
    assert report(dataset, join_splits(dataset, "refuse")) == []


def test_of_two_files_that_look_the_same_the_one_that_is_written_so_is_meant(tmp_path: Path) -> None:
    composed, apart = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    dataset = data(tmp_path, [f"{composed}.mp4", f"{apart}.mp4"], [apart, composed])
    assert joined(dataset) == {apart: f"{apart}.mp4", composed: f"{composed}.mp4"}


@pytest.mark.parametrize("suffix", [*CLIP_SUFFIXES, ".MP4", ".Mov"])
def test_a_video_is_found_under_any_suffix_of_videos(tmp_path: Path, suffix: str) -> None:
    dataset = data(tmp_path, [f"a{suffix}"], ["a"])
    assert joined(dataset) == {"a": f"a{suffix}"}


def test_an_id_may_carry_the_suffix(tmp_path: Path) -> None:
    assert joined(data(tmp_path, ["a.mp4", "b.webm"], ["a.mp4", "b"])) == {"a.mp4": "a.mp4", "b": "b.webm"}


@pytest.mark.parametrize("suffix", [".xyz", ".mp3", ".zip", ".mp4.part"])
def test_a_file_with_another_suffix_is_named(tmp_path: Path, suffix: str) -> None:
    dataset = data(tmp_path, [f"a{suffix}", "b.mp4"], ["a" if suffix != ".mp4.part" else "a.mp4", "b"])
    sentences = report(dataset, join_splits(dataset, "refuse"))
    assert any(f"1 file (a{suffix}) is there, but only .mp4 .m4v" in sentence for sentence in sentences)
    (dataset.videos / "b.mp4").unlink()
    with pytest.raises(InvalidRequest, match="is there, but only"):
        join_splits(dataset, "refuse")


def test_of_two_suffixes_the_first_is_used_and_the_other_said(tmp_path: Path) -> None:
    dataset = data(tmp_path, ["a.gif", "a.mp4", "a.webm"], ["a"])
    assert joined(dataset) == {"a": "a.mp4"}
    assert report(dataset, join_splits(dataset, "refuse")) == [
        "2 video files (a.gif, a.webm) left out: another has the same name but for its suffix"
    ]


def test_a_name_that_is_not_utf8_is_left_out_with_escapes_by_every_verb(tmp_path: Path) -> None:
    dataset = data(tmp_path, [b"caf\xe9.mp4", b"\xff\xfe.mp4"], ["a"])
    encode(dataset.videos / "a.mp4", *PLAIN, frames=numbered_frames(8))
    said = r"2 video files (caf\xe9.mp4, \xff\xfe.mp4) left out: the name is not UTF-8 text; rename what is wanted"
    ended = preprocess(tmp_path)
    assert (ended.code, ended.warnings, ended.done["clips"]) == (0, said, 1)
    checked = through_the_door(tmp_path, "check", data="data", workers=1)
    assert (checked.code, checked.done["usable"]) == (0, 1)
    assert said in checked.warnings
    assert through_the_door(tmp_path, "manifest", data="data").code == 0


def test_half_an_emoji_in_a_caption_is_said_before_the_work_and_ends_nothing(tmp_path: Path) -> None:
    dataset = data(tmp_path, [], ["a"])
    encode(dataset.videos / "a.mp4", *PLAIN, frames=numbered_frames(8))
    (dataset.annotations / "train_9k.json").write_text('[{"video_id": "a", "caption": "a dog \\ud83d runs"}]')
    ended = preprocess(tmp_path)
    assert ended.code == 0
    assert ended.warnings == "1 train clip (a) with broken characters in a caption, read as \ufffd (U+FFFD)"


def test_a_host_calls_the_same_files_videos() -> None:
    theirs = {suffix for suffix, kind in BY_SUFFIX.items() if kind == VIDEO}
    assert theirs == set(CLIP_SUFFIXES) - {".ts"}  # which is TypeScript as well


PLACES = [
    ("add-noise", {"input": "{}.mp4", "output": "out.mp4"}),
    ("add-noise", {"input": "in.mp4", "output": "{}.mp4"}),
    ("refine", {"input": "{}.mp4", "output": "out.mp4", "prompt": "x"}),
    ("refine", {"input": "in.mp4", "output": "out.mp4", "prompt": "x", "checkpoint": "{}"}),
    ("generate", {"prompt": "x", "output": "{}.mp4"}),
    ("generate", {"prompt": "{}"}),
    ("preprocess", {"data": "{}"}),
    ("preprocess", {"data": "data", "vae": "{}"}),
    ("check", {"data": "{}"}),
    ("manifest", {"data": "{}"}),
    ("train", {"data": "{}"}),
    ("evaluate", {"data": "{}"}),
]


@pytest.mark.parametrize("name", ["caf\udce9", "half \ud83d", "\udcff\udcfe"])
@pytest.mark.parametrize(("verb", "values"), PLACES)
def test_a_name_that_cannot_be_written_down_is_refused_with_escapes(
    verb: str, values: dict[str, str], name: str
) -> None:
    with pytest.raises(InvalidRequest, match="is not UTF-8 text") as caught:
        make_spec(verb, {key: value.format(name) for key, value in values.items()})
    caught.value.message.encode()
    assert "\\" in caught.value.message


@pytest.mark.parametrize("name", ["caf\udce9.mp4", "half \ud83d"])
def test_an_event_can_always_be_written_and_read(name: str) -> None:
    event = Event.from_line(WarningEvent(name, extra={"paths": [name], "file": Path(name)}).to_line())
    assert event is not None
    assert event.plain()["message"] == event.plain()["file"] == escaped(name)
    escaped(name).encode()
