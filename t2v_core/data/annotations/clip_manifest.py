"""The manifest of a split: JSON lines, one object a clip, read before any other form.

    {"video_id": "video0", "file": "video0.mp4", "captions": ["a man sings"], "split": "train",
     "start_s": 137.72, "end_s": 149.44, "category": 9}

`file`, `start_s`, `end_s` and `category` may be left out; `caption` and `video` are read as well.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2v_core.data.annotations.annotation_rows import CaptionedClip, Split, captioned_clip, merged, read_json_lines
from t2v_core.disk.files import staged_file
from t2v_core.errors import InvalidRequest

MANIFEST_FILES: dict[Split, str] = {"train": "train.manifest.jsonl", "test": "test.manifest.jsonl"}


def read_manifest_file(file: Path, split: Split) -> list[CaptionedClip]:
    """Read the clips of a manifest, lines of one id merged. Raises InvalidRequest that names the line that is wrong."""
    clips = []
    for number, row in read_json_lines(file):
        where = f"line {number} of {file}"
        clip = captioned_clip(row, where)
        if clip.label not in (None, split):
            raise InvalidRequest(
                f"{where}: split is {row['split']!r} in the manifest of {split}",
                hint=f"move the line to the other manifest, or make it {split!r}",
            )
        clips.append(replace(clip, label=split))
    return merged(clips)


def manifest_text(clips: list[CaptionedClip], split: Split) -> str:
    """Return the text that `read_manifest_file` reads back as the same clips."""
    return "".join(json.dumps(_row_of_clip(clip, split), ensure_ascii=False) + "\n" for clip in clips)


def write_manifest_file(file: Path, text: str) -> None:
    """Write a manifest, whole or not at all."""
    with staged_file(file) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _row_of_clip(clip: CaptionedClip, split: Split) -> dict[str, Any]:
    row = {
        "video_id": clip.video_id,
        "file": clip.file,
        "captions": clip.captions,
        "split": split,
        "start_s": clip.start_s,
        "end_s": clip.end_s,
        "category": clip.category,
    }
    return {key: value for key, value in row.items() if value is not None}
