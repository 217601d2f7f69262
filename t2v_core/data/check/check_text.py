"""The report of a check as people read it: `check/report.txt`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from t2v_core.data.annotations.overlap import first_ids
from t2v_core.format import duration, size

WIDTH = 18
MOST = 6


def in_text(report: Mapping[str, Any]) -> str:
    """Write the report out, one line a subject, under a heading that says how many clips can be used."""
    return "\n".join([*_head(report), "", *_film(report), "", *_picked(report["picked"]), "", *_captions(report), ""])


def _head(report: Mapping[str, Any]) -> Iterator[str]:
    clips, usable = report["clips"], report["usable"]
    yield f"{report['data']}, checked {report['checked_at'][:16].replace('T', ' ')}"
    yield f"{usable:,} of {clips:,} clips can be used" + (
        "" if usable == clips else "; quarantine.csv lists the others"
    )
    if report["reasons"]:
        yield _labelled("why not", _counts(report["reasons"]))


def _film(report: Mapping[str, Any]) -> Iterator[str]:
    if not report["usable"]:
        return
    length, frames = report["duration_s"], report["frames"]
    yield _labelled("together", f"{duration(length['total'])}, {size(report['size_bytes'])}")
    yield _labelled("length", f"{_range(length, '.3g')} s")
    yield _labelled("frames", _range(frames, ",.0f"))
    yield _labelled("size", _counts(report["sizes"]))
    yield _labelled("frame rate", _counts(report["fps"]))
    yield _labelled("codec", _counts(report["codecs"]))
    yield _labelled("turned", f"{report['turned']:,} clips ask to be rotated or mirrored, and are")
    if report["not_square"]:
        yield _labelled("pixels", f"not square ({_counts(report['not_square'])}); shown as wide as players show them")
    yield _labelled("sound", f"{report['with_audio']:,} clips have it")


def _picked(picked: Mapping[str, Any]) -> Iterator[str]:
    how = "evenly spaced" if picked["stride"] is None else f"{picked['stride']} apart around the middle"
    yield f"{picked['frames']} frames of each clip, {how}"
    if picked["effective_fps"]:
        yield _labelled("effective rate", f"{_range(picked['effective_fps'], '.2f')} frames per second")
    if picked["clips_with_fewer_frames"] and picked["stride"] is None:
        yield _labelled(
            "few frames", f"{picked['clips_with_fewer_frames']:,} clips have fewer, so some frames are used twice"
        )
    if picked["clips_too_short"]:
        yield _labelled("too short", _some(picked["clips_too_short"], "clips"))


def _captions(report: Mapping[str, Any]) -> Iterator[str]:
    captions, duplicates = report["captions"], report["duplicates"]
    for split, part in captions["splits"].items():
        per_clip = f"{_range(part['per_clip'], '.3g')} a clip"
        yield _labelled(
            split, f"{part['clips']:,} clips, {part['usable']:,} usable; {part['captions']:,} captions, {per_clip}"
        )
        yield _labelled("", f"from {part['source']}")
        if part["without_file"]:
            yield _labelled("", _some(part["without_file"], "captioned clips without a file"))
        if part["blank_only"]:
            yield _labelled("", _some(part["blank_only"], "clips with blank captions only"))
    if captions["clips_without"]:
        yield _labelled("without caption", _some(captions["clips_without"], "files"))
    if captions["in_both_splits"]:
        yield _labelled("in both splits", _some(captions["in_both_splits"], "clips"))
    yield from _groups("same bytes", duplicates["same_bytes"])
    yield from _groups("same picture", duplicates["same_picture"])
    if duplicates["across_splits"]:
        yield _labelled("", f"{len(duplicates['across_splits']):,} of these groups have clips of both train and test")


def _groups(label: str, groups: list[list[str]]) -> Iterator[str]:
    yield _labelled(label, f"{len(groups):,} groups" if groups else "none")
    yield from (
        _labelled("", " = ".join(group[:MOST]) + (" = …" if len(group) > MOST else "")) for group in groups[:MOST]
    )
    if len(groups) > MOST:
        yield _labelled("", "… all of them are in report.json")


def _labelled(label: str, value: str) -> str:
    return f"  {label:<{WIDTH}}{value}"


def _some(names: list[str], what: str) -> str:
    return f"{len(names):,} {what}: {first_ids(names)}"


def _counts(counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name}: {count:,}" for name, count in list(counts.items())[:MOST])
    return shown + (f", and {len(counts) - MOST} others" if len(counts) > MOST else "")


def _range(spread: Mapping[str, float], style: str) -> str:
    least, middle, most = (format(spread[key], style) for key in ("min", "median", "max"))
    return middle if least == most else f"{least} … {most}, median {middle}"
