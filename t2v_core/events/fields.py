"""Dataclasses whose fields stand in a JSON object: what of it they take, and how they are written back.

A field whose default is None is written when it says something, every other one whatever it says. What a line says
beyond the fields, or with another type, is kept as it is in `extra`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeAlias, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

# They are about the line, and do not stand in it under these names.
ASIDE = ("t", "extra")


@cache
def _takes(kind: type[DataclassInstance]) -> dict[str, frozenset[type]]:
    """By name, the types that a field takes."""
    hints = get_type_hints(kind)
    return {one.name: _types(hints[one.name], one) for one in _fields(kind)}


def _types(hint: Any, field: dataclasses.Field[Any]) -> frozenset[type]:
    parts = set(get_args(hint) if get_origin(hint) is UnionType else [hint])
    parts = {get_origin(part) or part for part in parts} | ({int} if float in parts else set())
    return frozenset(parts - {NoneType} if field.default is None else parts)


@cache
def _needed(kind: type[DataclassInstance]) -> frozenset[str]:
    return frozenset(one.name for one in _fields(kind) if one.default is dataclasses.MISSING)


@cache
def _written(kind: type[DataclassInstance]) -> tuple[tuple[str, bool], ...]:
    """In order, the names of the fields, and whether None is written too."""
    return tuple((one.name, one.default is not None) for one in _fields(kind))


def _fields(kind: type[DataclassInstance]) -> list[dataclasses.Field[Any]]:
    return [one for one in dataclasses.fields(kind) if one.name not in ASIDE]


def split(kind: type[DataclassInstance], said: Mapping[str, Json]) -> tuple[dict[str, Json], dict[str, Json]]:
    """Return what of an object fits the fields of `kind`, and everything else."""
    takes = _takes(kind)
    known = {name: value for name, value in said.items() if type(value) in takes.get(name, ())}
    return known, {name: value for name, value in said.items() if name not in known}


def lacks(kind: type[DataclassInstance], names: Iterable[str]) -> frozenset[str]:
    """Return the fields of `kind` that have no default and are not named."""
    return _needed(kind).difference(names)


def fits(kind: type[DataclassInstance], said: Mapping[str, Json]) -> bool:
    """Tell whether an object is a `kind`, and nothing beside; at once for one like another that was asked about."""
    return _fits(kind, tuple(said), tuple(map(type, said.values())))


@lru_cache(maxsize=256)
def _fits(kind: type[DataclassInstance], names: tuple[str, ...], types: tuple[type, ...]) -> bool:
    takes = _takes(kind)
    return not lacks(kind, names) and all(one in takes.get(name, ()) for name, one in zip(names, types, strict=True))


def plain(one: DataclassInstance) -> dict[str, Json]:
    """Return the fields by name, in order, as they are written."""
    values = ((name, getattr(one, name), is_null_said) for name, is_null_said in _written(type(one)))
    return {name: _json(value) for name, value, is_null_said in values if value is not None or is_null_said}


def _json(value: Any) -> Json:
    if isinstance(value, tuple):
        return [_json(part) for part in value]
    return plain(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
