"""What an agent may reply to a question, generated from the dataclass that the reply is read into."""

from __future__ import annotations

import base64
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from remote.replies import questions
from remote.replies.job_row import ShownEvent
from remote.replies.question import Question
from remote.replies.transfer import SEALED, FarFile, OfferedUnit
from t2v_core.disk.typed_json import Amount, Sha256, ShownText, UnixTime

Json = dict[str, Any]
QUESTIONS: dict[str, Question[Any]] = {one.name: one for one in vars(questions).values() if isinstance(one, Question)}
TEXT = st.text(max_size=8)
WHOLE = st.integers(-(2**60), 2**60)
NUMBER = WHOLE | st.floats(-1e9, 1e9)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
PLAIN: dict[Any, SearchStrategy[Any]] = {
    NoneType: st.none(), bool: st.booleans(), int: WHOLE, float: NUMBER, str: TEXT,
    bytes: st.binary(max_size=9).map(lambda data: base64.b64encode(data).decode()),
    UnixTime: st.floats(0, 1e10), Amount: st.integers(0, 2**60), ShownText: TEXT,
    Sha256: st.text("0123456789abcdef", min_size=64, max_size=64), ShownEvent: st.just({"t": 1.7e9, "kind": "step"}),
}  # fmt: skip


def is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def kinds_of(question: Question[Any]) -> tuple[type, ...]:
    """The dataclasses that its reply may be read into."""
    return get_args(question.reply) or (question.reply,)


def replies_of(hint: Any) -> SearchStrategy[Any]:
    """JSON that fits a type."""
    if hint in PLAIN or hint is OfferedUnit:
        return PLAIN[hint] if hint in PLAIN else _units()
    arguments = get_args(hint)
    if isinstance(hint, UnionType) or NoneType in arguments:
        return st.one_of([replies_of(one) for one in arguments])
    if get_origin(hint) is Literal:
        return st.just(arguments[0])
    if get_origin(hint) is tuple:
        is_any_number = arguments[1:] == (...,)
        inner = [replies_of(one) for one in arguments if one is not ...]
        return st.lists(inner[0], max_size=3) if is_any_number else st.tuples(*inner).map(list)
    return st.sampled_from([str(one) for one in hint]) if issubclass(hint, StrEnum) else _objects(hint)


def _objects(kind: Any) -> SearchStrategy[Json]:
    hints = get_type_hints(kind, include_extras=True)
    named = {field: replies_of(hints[field.name]) for field in fields(kind)}
    return st.fixed_dictionaries(
        {field.name: strategy for field, strategy in named.items() if is_required(field)},
        optional={field.name: strategy for field, strategy in named.items() if not is_required(field)},
    )


def _units() -> SearchStrategy[Json]:
    """A file has itself, a folder has at least its manifest."""
    files = _objects(FarFile)
    alone = files.map(lambda file: {"path": "a", "kind": "file", "files": [file | {"name": ""}]})
    return alone | st.lists(files, min_size=1, max_size=3).map(
        lambda found: {"path": "b", "kind": SEALED, "step": 3, "files": found}
    )


def with_more(said: Any, more: Any) -> Any:
    """As a newer agent says it: every object of it has a field that nobody here knows."""
    if isinstance(said, list):
        return [with_more(one, more) for one in said]
    if isinstance(said, dict):
        return {name: with_more(one, more) for name, one in said.items()} | {"a field of tomorrow": more}
    return said


def without_what_came_later(reply: Any) -> Any:
    """As an older agent says it: every field that has a default is not there."""
    if isinstance(reply, tuple):
        return [without_what_came_later(one) for one in reply]
    if isinstance(reply, bytes):
        return base64.b64encode(reply).decode()
    if not is_dataclass(reply):
        return str(reply) if isinstance(reply, str) else reply
    return {one.name: without_what_came_later(getattr(reply, one.name)) for one in fields(reply) if is_required(one)}


def places(said: Any, inside: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in it, each the keys and numbers that lead there."""
    found = [inside]
    if isinstance(said, dict | list):
        for key, one in said.items() if isinstance(said, dict) else enumerate(said):
            found += places(one, (*inside, key))
    return found


def replaced(said: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The same with another value at that place."""
    if not place:
        return value
    copy = said.copy()
    copy[place[0]] = replaced(said[place[0]], place[1:], value)
    return copy
