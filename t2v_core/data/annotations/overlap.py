"""No clip is trained on and tested on: a model that has seen its test scores too well."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from t2v_core.errors import InvalidRequest
from t2v_core.specs import OnOverlap


def shared_ids(train: Iterable[str], test: Iterable[str]) -> list[str]:
    """Return the ids of both splits, video9 before video10."""
    return in_natural_order(set(train) & set(test))


def in_natural_order(ids: Iterable[str]) -> list[str]:
    """Sort the ids by the numbers in them: video9 before video10."""
    return sorted(ids, key=_natural)


def ids_to_drop(
    train: Collection[str], test: Collection[str], on_overlap: OnOverlap, names: tuple[str, str]
) -> set[str]:
    """Return the ids to leave out of training: none, or those of both splits when that was asked for.

    names: where train and test were read from
    Raises InvalidRequest when the splits overlap and that was not asked for. MSR-VTT's own case: train_9k holds 1,990
    of the 2,990 clips of the official test.
    """
    shared = shared_ids(train, test)
    if shared and on_overlap == "refuse":
        raise InvalidRequest(
            f"{len(shared)} of {len(train)} training clips, of {names[0]}, are test clips of {names[1]} too: "
            f"{first_ids(shared)}",
            hint="test on test_1k.json or MSRVTT_JSFUSION_test.csv, or train on train_7k.json; "
            "or leave them out of training: --on-overlap drop-from-train",
        )
    return set(shared)


def first_ids(ids: list[str]) -> str:
    """List the first five ids, with a … when there are more."""
    return ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
