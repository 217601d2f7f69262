"""What one annotation file says: its rows, recognised by what stands in it, with file and row named when one is wrong.

list of rows      [{"video_id": "video0", "caption": "a man sings"}, …]; captions may be a list, rows may repeat an id
JSON lines        one such row a line
CSV               a header with video_id, and caption or sentence; without either it is a list of ids
MSR-VTT's own     {"videos": [{"video_id", "split", …}], "sentences": [{"video_id", "caption"}]}
Frozen in Time's  {"annotations": [{"image_id", "caption"}]}
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from t2v_core.data.annotations.annotation_table import Table
from t2v_core.data.annotations.text_file import read_text, whole_characters
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import CLIP_SUFFIXES

Split = Literal["train", "test"]
# What files call the parts of the official split: video0 … 6512, 6513 … 7009, 7010 … 9999.
Label = Literal["train", "validate", "test"]

LABELS: dict[str, Label] = {
    "train": "train", "training": "train",
    "validate": "validate", "validation": "validate", "val": "validate", "dev": "validate",
    "test": "test", "testing": "test",
}  # fmt: skip
ROW = '{"video_id": "video0", "caption": ["a man sings"]}'
CAPTION_KEYS = ("caption", "captions", "sentence")


@dataclass(frozen=True)
class CaptionedClip:
    """A clip as an annotation file has it, before anybody looked for its video.

    captions: blank ones dropped, in the order of the file
    file: the video's name, where the row gives it
    start_s, end_s: where the clip lay in the film it was cut from
    category: one of MSR-VTT's twenty
    label: the part of the split that the row says it belongs to
    """

    video_id: str
    captions: list[str] = field(default_factory=list)
    file: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    category: int | None = None
    label: Label | None = None


def read_rows(file: Path, encoding: str | None = None) -> list[CaptionedClip]:
    """Read every clip of a file, rows of one id merged.

    Raises InvalidRequest for anything that is none of the forms.

    encoding: of a file that is neither UTF-8 nor marked as something else
    """
    if file.suffix.lower() == ".csv":
        if not (clips := merged(_csv_rows(file, encoding))):
            raise InvalidRequest(f"{file} is empty but for its header", hint="fetch it again, whole")
        return clips
    value, is_lines = _parse(file, encoding)
    if isinstance(value, dict) and isinstance(value.get("videos"), list) and isinstance(value.get("sentences"), list):
        return merged(_msrvtt_rows(value["videos"], value["sentences"], file))
    if isinstance(value, dict) and isinstance(value.get("annotations"), list):
        return merged(_frozen_rows(value["annotations"], file))
    if not isinstance(value, list):
        raise InvalidRequest(f"{file} should be a list of rows, but is not", hint=f"it looks like this: [{ROW}, …]")
    unit = "line" if is_lines else "row"
    numbered = value if is_lines else enumerate(value, start=1)
    return merged(captioned_clip(row, f"{unit} {number} of {file}") for number, row in numbered)


def read_ids(file: Path, encoding: str | None = None) -> list[CaptionedClip]:
    """Read the clips of a text file with one id a line, without captions. Raises InvalidRequest when it names none."""
    ids = [_stem(line.strip()) for line in io.StringIO(read_text(file, encoding), newline=None) if line.strip()]
    if not ids:
        raise InvalidRequest(f"{file} is empty", hint="fetch it again, whole")
    return merged(CaptionedClip(video_id) for video_id in ids)


def _stem(name: str) -> str:
    """Without the suffix of a video, if it has one: an id may hold dots."""
    return Path(name).stem if Path(name).suffix.lower() in CLIP_SUFFIXES else name


def read_json_lines(file: Path) -> list[tuple[int, Any]]:
    """Return (line number, value) of each line that is not blank.

    Raises InvalidRequest that names the line that is broken.
    """
    return _json_lines(read_text(file), file)


def merged(rows: Iterable[CaptionedClip]) -> list[CaptionedClip]:
    """Return one clip an id, in the order in which ids first come.

    Captions add up, of the rest the first word counts.
    """
    clips: dict[str, CaptionedClip] = {}
    for row in rows:
        known = clips.get(row.video_id)
        clips[row.video_id] = row if known is None else _joined(known, row)
    return list(clips.values())


def _joined(known: CaptionedClip, row: CaptionedClip) -> CaptionedClip:
    known.captions.extend(row.captions)
    missing = {
        name: getattr(row, name)
        for name in ("file", "start_s", "end_s", "category", "label")
        if getattr(known, name) is None and getattr(row, name) is not None
    }
    return replace(known, **missing) if missing else known


def captioned_clip(row: Any, where: str) -> CaptionedClip:
    """Return the clip of one row: of a list, of JSON lines or of a CSV.

    Raises InvalidRequest, beginning with `where`, for what is none.
    """
    if wrong := _what_is_wrong(row):
        raise InvalidRequest(f"{where}: {wrong}", hint=f"rows look like this: {ROW}")
    named = row.get("file", row.get("video"))
    return CaptionedClip(
        whole_characters(row["video_id"].strip()),
        _captions(row),
        whole_characters(Path(named.strip()).name) if isinstance(named, str) and named.strip() else None,
        **_details(row),
        label=label_in(row, where),
    )


def _what_is_wrong(row: object) -> str | None:
    if not isinstance(row, dict):
        return "it should be an object with video_id and caption"
    if not isinstance(row.get("video_id"), str) or not row["video_id"].strip():
        return "video_id is missing or not a string"
    key = next((key for key in CAPTION_KEYS if key in row), None)
    if key is None:
        return "caption is missing"
    texts = [row[key]] if isinstance(row[key], str) else row[key]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return f"{key} should be a string or a list of strings"
    return None


def _captions(row: dict[str, Any]) -> list[str]:
    said = next(row[key] for key in CAPTION_KEYS if key in row)
    return [whole_characters(text.strip()) for text in ([said] if isinstance(said, str) else said) if text.strip()]


def _details(row: dict[str, Any]) -> dict[str, Any]:
    category = _finite(row.get("category"))
    return {
        "start_s": _finite(row.get("start_s", row.get("start time"))),
        "end_s": _finite(row.get("end_s", row.get("end time"))),
        "category": None if category is None else int(category),
    }


def _finite(value: object) -> float | None:
    """None for what is no finite number: times and category are carried along, and no work depends on them."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def label_in(row: dict[str, Any], where: str) -> Label | None:
    """Return what the row's `split` says; None without one. Raises InvalidRequest for a word that nobody knows."""
    said = row.get("split")
    if said is None or said == "":
        return None
    if not isinstance(said, str) or said.lower() not in LABELS:
        raise InvalidRequest(f"{where}: split is {said!r}", hint="it should be train, validate or test")
    return LABELS[said.lower()]


def label_of_name(name: str) -> Label | None:
    """Return the label in a name: `train_7k.json` → train, `val.csv` → validate; None for a name that says none."""
    for word, label in (("train", "train"), ("test", "test"), ("val", "validate")):
        if word in name.lower():
            return LABELS[label]
    return None


def _msrvtt_rows(videos: list[Any], sentences: list[Any], file: Path) -> Iterator[CaptionedClip]:
    """Videos in their order; sentences of videos that are not listed belong to another part and are not wanted."""
    said: dict[str, list[str]] = {}
    for number, row in enumerate(sentences, start=1):
        if wrong := _what_is_wrong(row):
            raise InvalidRequest(f"sentence {number} of {file}: {wrong}", hint=f"sentences look like this: {ROW}")
        said.setdefault(whole_characters(row["video_id"].strip()), []).extend(_captions(row))
    for number, row in enumerate(videos, start=1):
        where = f"video {number} of {file}"
        if not isinstance(row, dict) or not isinstance(row.get("video_id"), str) or not row["video_id"].strip():
            example = '{"video_id": "video0", "split": "train", "category": 9, "start time": 137.7, "end time": 149.4}'
            raise InvalidRequest(
                f"{where}: video_id is missing or not a string", hint=f"videos look like this: {example}"
            )
        video_id = whole_characters(row["video_id"].strip())
        captions = said.pop(video_id, [])  # popped: a video that is listed twice has its sentences once
        yield CaptionedClip(video_id, captions, **_details(row), label=label_in(row, where))


def _frozen_rows(rows: list[Any], file: Path) -> Iterator[CaptionedClip]:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("image_id", "caption")):
            raise InvalidRequest(
                f"annotation {number} of {file}: image_id or caption is missing or not a string",
                hint='annotations look like this: {"image_id": "video0", "caption": "a man sings"}',
            )
        said = whole_characters(row["caption"].strip())
        yield CaptionedClip(whole_characters(row["image_id"].strip()), [said] if said else [])


def _csv_rows(file: Path, encoding: str | None) -> Iterator[CaptionedClip]:
    """Rows with captions, or bare ids where the header has no column for captions."""
    table = Table(file, read_text(file, encoding))
    if "video_id" not in table.columns:
        raise InvalidRequest(
            f"{file} has no column video_id; its first line is {table.first_line[:60]!r}",
            hint="the first line names the columns: video_id, or key,vid_key,video_id,sentence",
        )
    has_captions = any(key in table.columns for key in CAPTION_KEYS)
    for where, row in table.rows():
        if has_captions:
            yield captioned_clip(row, where)
        elif video_id := row["video_id"].strip():
            yield CaptionedClip(video_id, **_details(row), label=label_in(row, where))
        else:
            raise InvalidRequest(f"{where}: video_id is missing", hint="each line names a clip, such as video0")


def _parse(file: Path, encoding: str | None) -> tuple[Any, bool]:
    """The value of a JSON file; or the numbered values of its lines, and True, when each line is one by itself."""
    text = read_text(file, encoding)
    if not text.strip():
        raise InvalidRequest(f"{file} is empty", hint="fetch it again, whole")
    if file.suffix.lower() == ".jsonl":
        return _json_lines(text, file), True
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            return _json_lines(text, file), True
        raise _not_json(str(file), error) from error
    except (ValueError, RecursionError) as error:
        raise _not_json(str(file), error) from error
    if value in ([], {}):
        raise InvalidRequest(f"{file} is empty", hint="fetch it again, whole")
    return value, False


def _json_lines(text: str, file: Path) -> list[tuple[int, Any]]:
    values = []
    # not splitlines(): a caption may hold U+2028, which JSON leaves as it is and splitlines takes for a line's end
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values.append((number, json.loads(line)))
        except (ValueError, RecursionError) as error:
            raise _not_json(f"line {number} of {file}", error) from error
    if not values:
        raise InvalidRequest(f"{file} is empty", hint="fetch it again, whole")
    return values


def _not_json(what: str, error: Exception) -> InvalidRequest:
    return InvalidRequest(f"{what} is not JSON: {error}", hint="fetch it again, whole")
