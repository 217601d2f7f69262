"""Clips that are there twice: the same bytes, or the same picture under other bytes."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from t2v_core.data.check.check_clip import ClipFacts

# Of 255, in every field of every frame. Encoding again at a third to twice the size and crf 28 moved a field by 8 at
# most (two films, two drawn clips); of 1,510 clips of the built-in world, which all look alike, the nearest two differ
# by 22. Worse copies (crf 38: up to 23) are not found.
TOLERANCE = 10


def same_bytes(clips: Mapping[str, ClipFacts]) -> list[list[str]]:
    """Return groups of ids with one checksum."""
    by_hash: defaultdict[str, list[str]] = defaultdict(list)
    for name, facts in clips.items():
        by_hash[facts.sha256].append(name)
    return [names for names in by_hash.values() if len(names) > 1]


def same_picture(clips: Mapping[str, ClipFacts]) -> list[list[str]]:
    """Return groups of ids whose tiny pictures agree within TOLERANCE and whose bytes do not.

    Such clips were encoded or scaled again.

    Clips of one look are one group, though the first and the last of it may differ by more.
    """
    names = list({clips[name].sha256: name for name in reversed(list(clips))}.values())
    if len(names) < 2:
        return []
    pictures = np.stack([_picture(clips[name]) for name in names])
    groups = [[names[i] for i in group] for group in _connected(len(names), _close_pairs(pictures))]
    order = {name: position for position, name in enumerate(clips)}
    return sorted((sorted(group, key=order.__getitem__) for group in groups), key=lambda group: order[group[0]])


def _picture(facts: ClipFacts) -> NDArray[np.int16]:
    return np.frombuffer(base64.b64decode(facts.picture), np.uint8).astype(np.int16)


def _close_pairs(pictures: NDArray[np.int16]) -> Iterable[tuple[int, int]]:
    """Pairs of rows that differ by TOLERANCE at most everywhere; then their means do so too, which sorting finds."""
    frames_and_colours = pictures.reshape(len(pictures), -1, 64, 3).mean(2).reshape(len(pictures), -1)
    overall = frames_and_colours.mean(1)
    order = np.argsort(overall)
    pictures, frames_and_colours, overall = pictures[order], frames_and_colours[order], overall[order]
    ends = np.searchsorted(overall, overall + TOLERANCE, side="right")
    for i, end in enumerate(ends):
        means = np.abs(frames_and_colours[i + 1 : end] - frames_and_colours[i]) <= TOLERANCE
        near = np.flatnonzero(means.all(1)) + i + 1
        same = near[(np.abs(pictures[near] - pictures[i]) <= TOLERANCE).all(1)]
        yield from ((int(order[i]), int(order[j])) for j in same)


def _connected(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Groups of two and more that pairs hold together."""
    leader = list(range(count))

    def find(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for one, other in pairs:
        leader[find(one)] = find(other)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for i in range(count):
        groups[find(i)].append(i)
    return [group for group in groups.values() if len(group) > 1]
