"""What pydantic refuses, in words for people."""

from __future__ import annotations

import difflib

from pydantic import BaseModel, ValidationError

from t2v_core.disk.formats import UPDATE

LONGEST_SHOWN = 200
# pydantic says "unable to parse string as an integer".
EXPECTED = {
    "int_parsing": "a whole number is expected", "int_type": "a whole number is expected",
    "int_from_float": "a whole number is expected", "float_parsing": "a number is expected",
    "float_type": "a number is expected", "bool_parsing": "true or false is expected",
    "bool_type": "true or false is expected", "string_type": "text is expected",
}  # fmt: skip


def sentence_of(model: type[BaseModel], error: ValidationError) -> tuple[str, str]:
    """Return the first thing that is wrong, as a sentence and a hint."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or model.__name__
    if first["loc"] and first["loc"][0] in model.model_fields:  # what follows names one of several types it may have
        name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"leave it out, or, if a later t2v wrote it, {UPDATE}"
        return f"there is no setting '{name}' here", hint
    described = model.model_fields.get(name)
    hint = f"{name}: {described.description}" if described else ""
    if first["type"] == "missing":
        return f"{name} is missing", hint
    return f"{name} = {shown(first['input'])}: {reason_of(first['type'], first['msg'])}", hint


def shown(value: object) -> str:
    """Return what was given, as Python writes it.

    Of a long one, and of a number with more digits than can be read, it is a part.
    """
    try:
        text = repr(value)
    except ValueError:  # Python writes 4300 digits and no more
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


def reason_of(kind: str, message: str) -> str:
    """Return why pydantic refuses a value, by its kind of error and its message: `a whole number is expected`."""
    return EXPECTED.get(kind) or message[:1].lower() + message[1:]
