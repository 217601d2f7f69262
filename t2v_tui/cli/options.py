"""Flags and arguments from a spec's fields: one definition of name, meaning, default and range."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from t2v_core import embedded
from t2v_core.presets import PRESET_TRAINING
from t2v_core.settings import flag_name
from t2v_core.specs import SPECS
from t2v_core.workspace import expanded

# More ways to type a flag.
ALIASES: dict[str, tuple[str, ...]] = {"output": ("-o",), "guidance_scale": ("--guidance",)}
# Texts that list several things with commas between them, and flags that may be given several times for it.
REPEATED = frozenset({"lora"})
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "a multiple of"}
_METAVARS = {int: "N", float: "X", Path: "PATH", str: "TEXT"}


def parameters(verb: str, positional: tuple[str, ...]) -> list[inspect.Parameter]:
    """Return the spec's fields as parameters of a Typer command, those of `positional` first and in that order.

    Values stay text: pydantic parses them, wherever they come from, and says what is wrong in one way.
    """
    fields = SPECS[verb].model_fields
    names = [*positional, *(name for name in fields if name not in positional)]
    return [_parameter(verb, name, fields[name], is_positional=name in positional) for name in names]


def _parameter(verb: str, name: str, field: FieldInfo, *, is_positional: bool) -> inspect.Parameter:
    default: Any
    if is_positional:
        annotation: Any = str | None  # a required one may stand in named settings: see engine/verb_command.py
        default = typer.Argument(
            None,
            metavar=name.upper(),
            help=_help(verb, name, field),
            show_default=False,
        )
    elif field.annotation is bool:
        annotation = bool | None
        switch = flag_name(name)
        default = typer.Option(None, f"{switch}/--no-{switch[2:]}", help=_help(verb, name, field), show_default=False)
    else:
        annotation = list[str] | None if name in REPEATED else str | None
        default = typer.Option(
            None,
            flag_name(name),
            *ALIASES.get(name, ()),
            metavar=metavar(field),
            help=_help(verb, name, field),
            show_default=False,
        )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def with_signature(function: Callable[..., int], extra: list[inspect.Parameter]) -> Callable[..., int]:
    """Give `function(ctx, **values)` the parameters that Typer shall read, in place of `**values`."""
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    listed = [context, *extra]
    vars(function)["__signature__"] = inspect.Signature(listed)
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in listed}
    return function


def as_meant_here(verb: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags that were given, with paths that hold wherever the engine runs.

    A relative path means the folder the command was typed in; 'embedded' and hub ids are no paths.
    """
    fields = SPECS[verb].model_fields
    return {
        name: ",".join(_path_here(one.strip()) for one in value.split(","))
        if name in REPEATED and isinstance(value, str)
        else _absolute(fields[name], value)
        for name, value in _given(values).items()
    }


def as_meant_there(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags that were given, for another host: a relative path is one of the workspace there."""
    return _given(values)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are there; of a flag that may be given several times, all in one text."""
    joined = {name: ",".join(value) if isinstance(value, list | tuple) else value for name, value in values.items()}
    return {name: value for name, value in joined.items() if value not in (None, "") or values[name] == ""}


def _absolute(field: FieldInfo, value: Any) -> Any:
    if not isinstance(value, str) or value in embedded.MODELS:
        return value
    is_path = Path in _types(field)
    is_encoder = "local folder" in (field.description or "") or "folder or" in (field.description or "")
    # A folder of ours beats a hub id of the same name only when it is there, or is written as a path.
    if is_path or (is_encoder and (value.startswith((".", "~")) or Path(value).is_dir())):
        return _path_here(value)
    return value


def _path_here(value: str) -> str:
    return os.path.abspath(expanded(Path(value)))  # noqa: PTH100  resolve() would follow links


def _types(field: FieldInfo) -> tuple[Any, ...]:
    parts = get_args(field.annotation)
    return (field.annotation, *(get_args(part)[0] if get_origin(part) is Annotated else part for part in parts))


def _words(field: FieldInfo) -> list[str]:
    """Those that may stand in a number's place, as `auto`."""
    return [word for part in get_args(field.annotation) if get_origin(part) is Literal for word in get_args(part)]


def _choices(field: FieldInfo) -> list[str]:
    return [str(choice) for choice in get_args(field.annotation)] if get_origin(field.annotation) is Literal else []


def metavar(field: FieldInfo) -> str:
    """Return the field's choices, as `auto|cpu`, else a word for its type."""
    if choices := _choices(field):
        return "|".join(choices)
    return "|".join([*_words(field), next((_METAVARS[kind] for kind in _types(field) if kind in _METAVARS), "TEXT")])


def _help(verb: str, name: str, field: FieldInfo) -> str:
    facts = [text for text in (allowed_range(field), default_words(verb, name, field)) if text]
    return " ".join([field.description or "", *(f"[{fact}]" for fact in facts)]).strip()


def allowed_range(field: FieldInfo) -> str:
    """Return the range of a number, as `0 … 1` or `≥ 1`; empty when it has none."""
    inner = [get_args(part)[1].metadata for part in get_args(field.annotation) if get_origin(part) is Annotated]
    known = [limit for metadata in (field.metadata, *inner) for limit in metadata]
    limits = {key: getattr(limit, key) for limit in known for key in _BOUNDS if hasattr(limit, key)}
    numbers = [value for key, value in limits.items() if key in ("ge", "le")]
    if len(numbers) == 2:
        step = f", {_BOUNDS['multiple_of']} {limits['multiple_of']}" if "multiple_of" in limits else ""
        return _unbroken(f"{_as_typed(limits['ge'])} … {_as_typed(limits['le'])}{step}")
    return _unbroken(", ".join(f"{_BOUNDS[key]} {_as_typed(value)}" for key, value in limits.items()))


def _as_typed(limit: float) -> str:
    """120, not 120.0."""
    return str(int(limit)) if limit == int(limit) else str(limit)


def _unbroken(text: str) -> str:
    """With no-break spaces, so that `0 … 1` stays on one line of the help."""
    return text.replace(" ", "\u00a0")


def default_words(verb: str, name: str, field: FieldInfo) -> str:
    """Return the default as typed; a field whose default is None says in its description what then happens."""
    if field.is_required():
        return ""
    by_preset = PRESET_TRAINING if verb in ("train", "estimate") else {}
    special = [f"{preset}: {_typed(own[name])}" for preset, own in by_preset.items() if own.get(name) is not None]
    general = [] if field.default in (None, "") else [f"default: {_typed(field.default)}"]
    return "; ".join([*general, *special])


def _typed(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
