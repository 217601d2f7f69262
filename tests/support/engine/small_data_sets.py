"""Data sets of a few files, as screens list them."""

from __future__ import annotations

from pathlib import Path


def add_data_set(root: Path, name: str, *, is_world: bool = False, has_captions: bool = True) -> Path:
    data = root / "data" / name
    for folder in ("videos", "annotations"):
        (data / folder).mkdir(parents=True)
    for number in range(3):
        (data / "videos" / f"video{number}.mp4").write_bytes(b"a clip")
    if has_captions:
        (data / "annotations" / "train_9k.json").write_text("[]")
    if is_world:
        (data / "shapes.json").write_text("{}")
    return data
