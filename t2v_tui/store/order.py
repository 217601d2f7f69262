"""Rows of any list: narrowed to those that have a few words, and put in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True)
class Order(Generic[Row]):
    """By what rows are sorted. by: returns None for a row that lacks it"""

    by: Callable[[Row], Any]
    largest_first: bool = False


def put_in_order(rows: Iterable[Row], order: Order[Row], *, is_reversed: bool = False) -> list[Row]:
    """Return the rows sorted; those that lack the figure come last either way, and equal ones stay as they stood."""
    rows = list(rows)
    known = [row for row in rows if order.by(row) is not None]
    known.sort(key=order.by, reverse=order.largest_first != is_reversed)
    return known + [row for row in rows if order.by(row) is None]


def has_words(columns: Mapping[str, str], wanted: str) -> bool:
    """Tell whether every word of a filter is in what a row says: `tiny running`, `preset:base -failed`.

    columns: name → text
    A word behind a colon is looked for in that column alone; one behind a minus must not be there.
    """
    return all(_has(columns, word.removeprefix("-")) is not word.startswith("-") for word in wanted.lower().split())


def _has(columns: Mapping[str, str], word: str) -> bool:
    column, colon, text = word.partition(":")
    if colon and column in columns:
        return text in columns[column].lower()
    return any(word in value.lower() for value in columns.values())
