"""What pydantic refuses, in words for people."""

from __future__ import annotations

import difflib

from pydantic import BaseModel, ValidationError


def in_words(model: type[BaseModel], error: ValidationError) -> tuple[str, str]:
    """The first thing that is wrong, as a sentence and a hint."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or model.__name__
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        return f"there is no setting '{name}' here", f"did you mean '{near[0]}'?" if near else ""
    described = model.model_fields.get(name)
    hint = f"{name}: {described.description}" if described else ""
    if first["type"] == "missing":
        return f"{name} is missing", hint
    return f"{name} = {first['input']!r}: {_lower_first(first['msg'])}", hint


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
