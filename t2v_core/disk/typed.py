"""Whether a dataclass that was built from a file holds what its fields say: Python itself never looks."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints


def require_types(one: Any) -> None:
    """Raise TypeError for the first field that holds something else than it says."""
    hints = get_type_hints(type(one))
    for field in dataclasses.fields(one):
        if not _is_a(getattr(one, field.name), hints[field.name]):
            raise TypeError(f"{type(one).__name__}.{field.name} is a {type(getattr(one, field.name)).__name__}")


def _is_a(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_is_a(value, one) for one in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        parts = inner[:1] * len(value) if inner[1:] == (...,) else inner
        return len(parts) == len(value) and all(map(_is_a, value, parts))
    if origin is not None:
        return isinstance(value, dict if issubclass(origin, Mapping) else origin)
    if hint in (int, float):
        return type(value) in (int, hint)
    return hint is Any or isinstance(value, hint)
