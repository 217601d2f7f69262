"""The .json beside a video, which makes it again: its name, and whose it is.

`clip.mp4` has `clip.json`. Where that is another video's, or no settings of ours, the name is `clip.mp4.json`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from t2v_core.disk.files import NameTaken, land_new, write_json
from t2v_core.disk.plain_json import MOST_LINE_BYTES, read_table
from t2v_core.errors import InvalidRequest

LONGEST_NAME = 250
VIDEO_SUFFIXES = (".mp4", ".gif", ".webp")


def names_beside(video: str) -> tuple[str, str]:
    """Return the two names a video's settings may have; a folder before the name stays.

    `clip.gif` → `clip.json`, `clip.gif.json`
    """
    return str(PurePosixPath(video).with_suffix(".json")), f"{video}.json"


def is_free(video: Path) -> bool:
    """Tell whether nothing has the name that the settings of a new video get."""
    return not any(video.with_name(name).exists() for name in names_beside(video.name))


def read_settings(path: Path) -> Mapping[str, Any]:
    """Return what a .json says; what is no table is as good as not there."""
    try:
        return read_table(path, MOST_LINE_BYTES)
    except (OSError, ValueError):
        return {}


def video_named(said: Mapping[str, Any]) -> str | None:
    """Return the video that settings are of, as they say it; None for what is no file's name."""
    video = said.get("video")
    name = video.get("file") if isinstance(video, dict) else None
    if not isinstance(name, str) or "\0" in name or not 0 < len(name) <= LONGEST_NAME:
        return None
    return name if PurePosixPath(name).name == name else None


def find_settings(video: Path) -> Path | None:
    """Return the .json of a video that is there; None without one.

    A video that was renamed together with its .json keeps it.
    """
    short, full = (video.with_name(name) for name in names_beside(video.name))
    if video_named(read_settings(full)) == video.name:
        return full
    named = video_named(read_settings(short))
    if named is None:
        return None
    return short if named == video.name or not video.with_name(named).exists() else None


def settings_by_name(names: Collection[str]) -> dict[str, str]:
    """Return the .json of each video by the names that there are alone.

    A video is left out whose .json may be another's.

    names: paths of everything in the folders of the videos
    """
    known = set(names)
    videos = [name for name in names if PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES]
    sharing = Counter(names_beside(video)[0] for video in videos)
    found: dict[str, str] = {}
    for video in videos:
        short, full = names_beside(video)
        if full in known:
            found[video] = full
        elif short in known and sharing[short] == 1:
            found[video] = short
    return found


def require_settings_place(video: Path) -> None:
    """Raise InvalidRequest when both names of a video's .json are somebody else's; known before the work."""
    if all(_is_anothers(video.with_name(name), video) for name in names_beside(video.name)):
        short, full = names_beside(video.name)
        raise InvalidRequest(
            f"{short} and {full} in {video.parent} are not this video's, and one of them would be written over",
            hint="name another file, or move them",
        )


def write_settings(video: Path, said: Mapping[str, Any]) -> Path:
    """Write the .json of a video and return its path; another's is left alone, whoever writes it meanwhile.

    said: `video.file` is the video's name
    Raises InvalidRequest as `require_settings_place`.
    """
    for name in names_beside(video.name):
        path = video.with_name(name)
        try:
            if video_named(read_settings(path)) == video.name:
                write_json(path, said)
            else:
                write_json(path, said, land=land_new)
        except NameTaken:
            continue
        return path
    require_settings_place(video)
    return write_settings(video, said)  # one of the two has gone meanwhile


def _is_anothers(path: Path, video: Path) -> bool:
    return path.exists() and video_named(read_settings(path)) != video.name
