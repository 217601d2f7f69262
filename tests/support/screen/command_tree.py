"""Every command of `t2v` with every field that it takes, read from the command tree itself: a new one is there at once.

A field is an option or an argument. What kind of value it takes comes from the spec's field, where the command is made
from a spec, and else from the function's own signature.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from t2v_core.specs import SPECS
from t2v_tui.cli.lazy import LazyGroup, function_of, load
from t2v_tui.cli.main import app

KINDS: dict[Any, str] = {bool: "flag", int: "number", float: "number", Path: "path", str: "text"}
HOSTS = {"host", "host_", "forward"}


@dataclass(frozen=True)
class Field:
    """kind: flag, number, choice, path, text, host or job; flag: as it is typed, "" for an argument"""

    name: str
    flag: str
    kind: str
    is_required: bool = False
    of_spec: bool = False

    @property
    def shown(self) -> str:
        return self.flag or self.name.upper()


@dataclass(frozen=True)
class Command:
    """words: what calls it, such as ("vm", "status"); () is `t2v` itself, before a command's name"""

    words: tuple[str, ...]
    fields: tuple[Field, ...]

    @property
    def verb(self) -> str:
        return self.words[-1] if self.words else ""

    @property
    def arguments(self) -> list[Field]:
        return [field for field in self.fields if not field.flag]

    def __str__(self) -> str:
        return " ".join(("t2v", *self.words))


def commands() -> list[Command]:
    """All of them, `t2v` itself first."""
    group = typer.main.get_command(app)
    hints = typing.get_type_hints(app.registered_callback.callback) if app.registered_callback else {}
    root = Command((), tuple(field_of("", parameter, hints) for parameter in group.params))
    return [root, *_below(group, ())]


def _below(group: Any, words: tuple[str, ...]) -> Iterator[Command]:
    own: dict[str, Any] = dict.fromkeys(group.entries) if isinstance(group, LazyGroup) else {}
    for name, command in (own | dict(group.commands)).items():
        if command is not None and hasattr(command, "commands"):
            yield from _below(command, (*words, name))
            continue
        hints = typing.get_type_hints(function_of(group.entries[name]))
        parameters = load(name, group.entries[name]).params
        yield Command((*words, name), tuple(field_of(name, parameter, hints) for parameter in parameters))


def field_of(verb: str, parameter: Any, hints: dict[str, Any]) -> Field:
    spec = SPECS[verb].model_fields if verb in SPECS else {}
    is_option = parameter.param_type_name == "option"
    of_spec = parameter.name in spec
    annotation = spec[parameter.name].annotation if of_spec else hints[parameter.name]
    flag = max(parameter.opts, key=len) if is_option else ""
    is_required = spec[parameter.name].is_required() if of_spec else parameter.required
    return Field(parameter.name, flag, kind_of(parameter, annotation), is_required, of_spec)


def kind_of(parameter: Any, annotation: Any) -> str:
    if parameter.name in HOSTS or parameter.metavar == "HOST":
        return "host"
    if parameter.metavar in ("JOB", "[JOB]"):
        return "job"
    types = [annotation, *get_args(annotation)]
    if any(get_origin(one) is Literal for one in types):
        return "choice"
    return next((KINDS[one] for one in types if one in KINDS), "text")
