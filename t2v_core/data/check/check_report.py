"""What a check found, as figures: `check/report.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from t2v_core.data.annotations.msrvtt import Annotations
from t2v_core.data.annotations.overlap import in_natural_order, shared_ids
from t2v_core.data.check.check_clip import ClipFacts
from t2v_core.data.check.checked_clips import Checked
from t2v_core.data.check.duplicates import same_bytes, same_picture
from t2v_core.data.video.frame_rule import frame_rule, pick_frames
from t2v_core.specs import DataCheckSpec
from t2v_core.workspace import Dataset


@dataclass(frozen=True)
class CheckedSet:
    """A data set whose files have all been decoded. clips: by the file's name without suffix, video9 before video10"""

    dataset: Dataset
    splits: Sequence[Annotations]
    clips: dict[str, Checked]

    @property
    def usable(self) -> dict[str, ClipFacts]:
        """Return the facts of the clips that can be used, by name."""
        return {name: checked.facts for name, checked in self.clips.items() if checked.facts is not None}


def make_report(found: CheckedSet, spec: DataCheckSpec) -> dict[str, Any]:
    """Describe the set, JSON-ready; lengths in seconds, sizes in pixels, rates in frames a second."""
    usable = found.usable
    facts = list(usable.values())
    bad = {name: checked for name, checked in found.clips.items() if checked.facts is None}
    return {
        "data": str(found.dataset.root),
        "checked_at": f"{datetime.now().astimezone():%Y-%m-%dT%H:%M:%S%z}",
        "clips": len(found.clips),
        "usable": len(usable),
        "size_bytes": sum(checked.size_bytes for checked in found.clips.values()),
        "reasons": _counted(checked.reason for checked in bad.values()),
        "unusable": {name: {"reason": checked.reason, "detail": checked.detail} for name, checked in bad.items()},
        "duration_s": _spread(clip.duration_s for clip in facts) | {"total": sum(clip.duration_s for clip in facts)},
        "frames": _spread(clip.frames for clip in facts),
        "sizes": _counted(f"{clip.width} × {clip.height}" for clip in facts),
        "fps": _counted(f"{clip.fps:.6g}" for clip in facts),
        "codecs": _counted(f"{clip.codec} {clip.pixel_format}" for clip in facts),
        "turned": sum(clip.is_turned for clip in facts),
        "not_square": _counted(f"{clip.pixel_aspect:.4g} : 1" for clip in facts if clip.pixel_aspect != 1),
        "with_audio": sum(clip.has_audio for clip in facts),
        "picked": _picked(usable, spec),
        "captions": _captions(found),
        "duplicates": _duplicates(found),
    }


def _picked(usable: dict[str, ClipFacts], spec: DataCheckSpec) -> dict[str, Any]:
    """What `preprocess` would take of each clip with these settings."""
    rates, repeated, too_short = [], 0, []
    for name, clip in usable.items():
        try:
            indices = pick_frames(clip.frames, spec.frames, spec.stride)
        except ValueError:
            too_short.append(name)
            continue
        repeated += clip.frames < spec.frames
        share = (indices[-1] - indices[0]) / max(1, clip.frames - 1)
        picked_s = clip.span_s * share  # by even times; exact for the first and last frame
        rates.append((spec.frames - 1) / picked_s if picked_s > 0 else clip.fps)
    return {
        "frames": spec.frames,
        "stride": spec.stride,
        "rule": frame_rule(spec.stride),
        "effective_fps": _spread(rates),
        "clips_with_fewer_frames": repeated,
        "clips_too_short": too_short,
    }


def _captions(found: CheckedSet) -> dict[str, Any]:
    """Which clips have captions, split by split, and what does not fit together."""
    captioned = {clip.path.name for part in found.splits for clip in part.clips}
    usable = {checked.file for checked in found.clips.values() if checked.facts is not None}
    without = [name for name, checked in found.clips.items() if checked.file not in captioned]
    listed = [part.listed for part in found.splits]
    return {
        "splits": {
            part.split: {
                "source": part.source,
                "clips": len(part.clips),
                "usable": sum(clip.path.name in usable for clip in part.clips),
                "captions": sum(len(clip.captions) for clip in part.clips),
                "per_clip": _spread(len(clip.captions) for clip in part.clips),
                "blank_only": part.without_caption,
                "without_file": in_natural_order(part.without_file),
            }
            for part in found.splits
        },
        "clips_without": without if found.splits else [],
        "in_both_splits": shared_ids(*listed) if len(listed) == 2 else [],
    }


def _duplicates(found: CheckedSet) -> dict[str, list[list[str]]]:
    """Groups of clips; those with clips of both splits let a model be tested on what it was trained on."""
    bytes_, pictures = same_bytes(found.usable), same_picture(found.usable)
    ids = {part.split: {clip.path.stem for clip in part.clips} for part in found.splits}
    across = [
        group for group in [*bytes_, *pictures] if len(ids) == 2 and all(ids[split] & set(group) for split in ids)
    ]
    return {"same_bytes": bytes_, "same_picture": pictures, "across_splits": across}


def _counted(values: Iterable[str]) -> dict[str, int]:
    """How often each comes, the most frequent first."""
    return dict(Counter(values).most_common())


def _spread(values: Iterable[float]) -> dict[str, float]:
    """Least, median and greatest; empty of nothing."""
    numbers = list(values)
    if not numbers:
        return {}
    return {"min": min(numbers), "median": float(np.median(numbers)), "max": max(numbers)}
