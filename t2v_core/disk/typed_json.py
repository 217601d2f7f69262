"""JSON as a dataclass: checked by the types of its fields where it comes in, so that nobody need look at it again.

What has no field is passed over, and a field with a default may be missing: an older writer and a newer reader
understand each other, and so do a newer writer and an older reader.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from t2v_core.disk.plain_text import escaped

R = TypeVar("R")
Take = Callable[[Any], Any]
LATEST_T = 1e11  # the last second that a calendar has lies some way behind it
HEX = frozenset("0123456789abcdef")
KINDS = {NoneType: "empty", bool: "true or false", str: "a text", list: "a list", dict: "an object"}


class Misfit(ValueError):
    """What does not fit its field, in a few words that repeat nothing of it: it may be a megabyte.

    is_alternative: it may be another of several kinds, told apart by that field
    """

    def __init__(self, wrong: str, where: str = "", *, is_alternative: bool = False) -> None:
        super().__init__(f"{where or 'it'} {wrong}")
        self.wrong, self.where, self.is_alternative = wrong, where, is_alternative

    def inside(self, place: str) -> Misfit:
        """Return the same, said from one level further out. place: a field's name, or `[3]`"""
        where = place if not self.where else f"{place}{self.where if self.where[0] == '[' else f'.{self.where}'}"
        return Misfit(self.wrong, where, is_alternative=self.is_alternative and not self.where)


@dataclass(frozen=True)
class Refined:
    """Stands in Annotated: more than a type. take: returns the value that is meant, or raises ValueError"""

    words: str
    take: Take


def _time(seconds: float) -> float:
    if abs(seconds) < LATEST_T:
        return seconds
    raise ValueError


def _sha256(text: str) -> str:
    if len(text) == 64 and HEX.issuperset(text):
        return text
    raise ValueError


def _amount(number: int) -> int:
    if number >= 0:
        return number
    raise ValueError


UnixTime = Annotated[float, Refined("a time", _time)]
Sha256 = Annotated[str, Refined("a sha256", _sha256)]
Amount = Annotated[int, Refined("a number of 0 or more", _amount)]
# Half characters, which nobody could write down or show, are written out; names of files need theirs.
ShownText = Annotated[str, Refined("a text", escaped)]


def read_as(kind: type[R] | UnionType, said: object) -> R:
    """Return what JSON says, as that dataclass, or as the one of several that it fits. Raises Misfit."""
    hint: Any = kind
    read: R = _form(hint).read(said)
    return read


@dataclass(frozen=True)
class _Form:
    """What a field takes.

    plain:  types that are taken as they are; others: how those of other types are read
    is_tag: it takes one value only, by which a dataclass is told from its alternatives
    """

    plain: frozenset[type]
    others: Mapping[type, Take]
    words: str
    is_tag: bool = False

    def read(self, said: Any) -> Any:
        if type(said) in self.plain:
            return said
        take = self.others.get(type(said))
        if take is None:
            raise Misfit(f"is {KINDS.get(type(said), 'a number')} instead of {self.words}")
        return take(said)


def _refining(refined: Refined) -> Take:
    def take(said: Any) -> Any:
        try:
            return refined.take(said)
        except ValueError:
            raise Misfit(f"is none: {refined.words} is expected") from None

    return take


PLAIN: dict[Any, _Form] = {
    str: _Form(frozenset([str]), {}, "a text"),
    int: _Form(frozenset([int]), {}, "a whole number"),
    float: _Form(frozenset([int, float]), {}, "a number"),
    bool: _Form(frozenset([bool]), {}, "true or false"),
    dict: _Form(frozenset([dict]), {}, "an object"),
    Mapping: _Form(frozenset([dict]), {}, "an object"),
    bytes: _Form(frozenset(), {str: _refining(Refined("base64", base64.b64decode))}, "base64"),
    NoneType: _Form(frozenset([NoneType]), {}, "nothing"),
}


@cache
def _form(hint: Any) -> _Form:
    origin, arguments = get_origin(hint), get_args(hint)
    if (plain := PLAIN.get(origin or hint)) is not None:
        return plain
    if origin in (Union, UnionType):
        return _any_of([_form(one) for one in arguments])
    if origin is Annotated:
        return _refined(_form(arguments[0]), *hint.__metadata__)
    if origin is Literal:
        return _literal(*arguments)
    if origin is tuple:
        take = _list_of(_form(arguments[0])) if arguments[1:] == (...,) else _row_of([_form(one) for one in arguments])
        return _Form(frozenset(), {list: take}, "a list")
    return _form_of_class(hint)


def _form_of_class(kind: type) -> _Form:
    if issubclass(kind, StrEnum):
        return _refined(PLAIN[str], Refined(f"one of {', '.join(kind)}", kind))
    return _Form(frozenset(), {dict: _object(kind)}, "an object")


def _any_of(forms: list[_Form]) -> _Form:
    others: dict[type, Take] = {}
    for form in forms:
        for sort, take in form.others.items():
            others[sort] = _either(others[sort], take) if sort in others else take
    plain = frozenset[type]().union(*(form.plain for form in forms))
    return _Form(plain, others, " or ".join(dict.fromkeys(form.words for form in forms)))


def _either(one: Take, other: Take) -> Take:
    def take(said: Any) -> Any:
        try:
            return one(said)
        except Misfit as wrong:
            if not wrong.is_alternative:
                raise
            return other(said)

    return take


def _refined(form: _Form, refined: Refined) -> _Form:
    return _Form(frozenset(), dict.fromkeys(form.plain, _refining(refined)), refined.words)


def _literal(value: Any) -> _Form:
    def take(said: Any) -> Any:
        if said == value:
            return said
        raise Misfit(f"is not {value!r}", is_alternative=True)

    return _Form(frozenset(), {type(value): take}, repr(value), is_tag=True)


def _list_of(form: _Form) -> Take:
    def take(said: list[Any]) -> tuple[Any, ...]:
        found: list[Any] = []
        try:
            for one in said:
                found.append(form.read(one))  # noqa: PERF401 - how far it came says which one was wrong
        except Misfit as wrong:
            raise wrong.inside(f"[{len(found)}]") from None
        return tuple(found)

    return take


def _row_of(forms: list[_Form]) -> Take:
    def take(said: list[Any]) -> tuple[Any, ...]:
        if len(said) != len(forms):
            raise Misfit(f"has {len(said)} values instead of {len(forms)}")
        return tuple(form.read(one) for form, one in zip(forms, said, strict=True))

    return take


def _object(kind: type) -> Take:
    hints = get_type_hints(kind, include_extras=True)
    forms = [
        (field.name, _form(hints[field.name]), field.default is MISSING and field.default_factory is MISSING)
        for field in fields(kind)
    ]

    def take(said: dict[str, Any]) -> Any:
        values: dict[str, Any] = {}
        for name, form, is_required in forms:
            if name not in said:
                if is_required:
                    raise Misfit(f"says no {name}", is_alternative=form.is_tag)
                continue
            value = said[name]
            try:
                values[name] = value if type(value) in form.plain else form.read(value)
            except Misfit as wrong:
                raise wrong.inside(name) from None
        try:
            return kind(**values)
        except ValueError as error:  # of its own rules
            raise Misfit(str(error)) from None

    return take
