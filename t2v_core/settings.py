"""What a verb is given: flag > named settings > `T2V_*` environment > `t2v.toml` > the spec's default.

`t2v.toml`: a key at the top applies to every verb that has such a setting; a section per verb overrides it. A section
within a verb's is a set of settings that counts when it is asked for by its name (`t2v refine --settings epoch100`).

    device = "cuda"
    [train]
    epochs = 10
    [refine.epoch100]
    checkpoint = "checkpoints/checkpoint_epoch_100.pt"

Environment: `T2V_DEVICE` as the key at the top, `T2V_TRAIN_EPOCHS` as the key in its section. An empty variable counts
as unset. Paths from either are relative to the workspace.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from t2v_core.disk.plain_toml import read_toml
from t2v_core.errors import InvalidRequest
from t2v_core.specs import SPECS, SamplingSpec
from t2v_core.validation import reason_of, shown
from t2v_core.workspace import Workspace

PREFIX = "T2V_"
# Variables with that prefix that are no verb's setting. A `t2v` that is started by a job or a notice inherits theirs.
RESERVED_VARIABLES = frozenset(
    PREFIX + name
    for name in (
        *(
            "WORKSPACE",
            "WEB_AUTH",
            "RESIDENT",
            "JOB",
            "COMPUTE_ENDPOINT",
            "GANG",
            "PLACE",
            "STARTED_AGAIN",
            "SKY",
            "SPEC_JSON",
        ),
        *("HOST", "VERB", "STATE", "REASON", "ALARM", "TEXT", "CLIPS"),
        *(
            "BOOT_ID_FILE",
            "GUARD_EVERY_S",
            "MACHINE_ID_FILE",
            "METADATA_HOST",
            "POWER_OFF",
            "PROC",
            "PRODUCT_FILE",
            "SYSTEMD_MARK",
            "SYSTEMD_UNITS",
        ),
        "TERMINALS",
    )
)

# Sections of t2v.toml that speak of no verb: where work runs is read by those who take it there.
OTHER_SECTIONS = frozenset({"host", "tui"})

# Verbs that also read other verbs' sections, the last of which that has a setting decides; their own goes before these.
ALSO_READS: dict[str, tuple[str, ...]] = {"estimate": ("preprocess", "train"), "sheet": ("generate",)}

# What says the same in another way: a flag displaces what the file or a variable says of these.
SIZES = frozenset({"frames", "size", "height", "width"})
RIVALS: dict[str, frozenset[str]] = {"buckets": SIZES} | dict.fromkeys(SIZES, frozenset({"buckets"}))

ENCODERS = frozenset({"vae", "text_encoder"})

FIELDS = frozenset(name for spec in SPECS.values() for name in spec.model_fields)


@dataclass(frozen=True)
class _Given:
    """A value and the words for where it came from."""

    value: Any
    origin: str


def values_for(
    verb: str,
    workspace: Workspace,
    environ: Mapping[str, str],
    flags: Mapping[str, Any],
    *,
    flag_names: Mapping[str, str] | None = None,
    named: str | None = None,
) -> dict[str, Any]:
    """Return everything that was asked of `verb`, by whatever way, ready for `make_spec`.

    flags:      setting → value, only those actually given
    named:      which of the file's named settings for this verb were asked for
    flag_names: setting → how it was typed, where that is not `--its-name` (a positional argument)
    Returns setting → value. Raises InvalidRequest that names the flag, the variable, or the file and line.
    """
    names = flag_names or {}
    given = _from_file(verb, workspace.settings_file) | _from_environment(verb, environ)
    if named is not None:
        given |= _from_named(verb, named, workspace.settings_file)
    given = {name: entry for name, entry in given.items() if not RIVALS.get(name, frozenset()) & flags.keys()}
    given |= {name: _Given(value, names.get(name, flag_name(name))) for name, value in flags.items()}
    _check(verb, given)
    return {name: entry.value for name, entry in given.items()}


def flag_name(field: str) -> str:
    """Return `batch_size` as it is typed: `--batch-size`."""
    return "--" + field.replace("_", "-")


def _from_environment(verb: str, environ: Mapping[str, str]) -> dict[str, _Given]:
    known = {variable_name(None, field) for field in FIELDS}
    known |= {variable_name(other, field) for other, spec in SPECS.items() for field in spec.model_fields}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known | RESERVED_VARIABLES:
            raise InvalidRequest(f"there is no setting for the environment variable {name}", _nearest(name, known))
    given = {}
    for field in SPECS[verb].model_fields:
        names = [variable_name(section, field) for section in _sections_for(verb, field)]
        for name in ([variable_name(None, field)] if is_for_all(verb, field) else []) + names:
            if environ.get(name):
                given[field] = _Given(environ[name], name)
    return given


def is_for_all(verb: str, field: str) -> bool:
    """Tell whether a value said for no verb counts for this one.

    Encoders said so are the data's: a checkpoint names its own.
    """
    return not (field in ENCODERS and issubclass(SPECS[verb], SamplingSpec))


def variable_name(verb: str | None, field: str) -> str:
    """Return `T2V_TRAIN_EPOCHS`, or `T2V_EPOCHS` for every verb that has it."""
    return PREFIX + "_".join(part for part in (verb, field) if part).upper().replace("-", "_")


def _from_file(verb: str, file: Path) -> dict[str, _Given]:
    text, values = read_toml(file)
    fields = SPECS[verb].model_fields
    top: dict[str, _Given] = {}
    for key, value in values.items():
        where = f"{file} line {_line_of(text, None, key)}"
        if key in OTHER_SECTIONS:
            continue
        if key in SPECS:
            if not isinstance(value, dict):
                raise InvalidRequest(
                    f"{where}: '{key}' is a section, not a value", hint=f"write [{key}] on its own line"
                )
            _check_section(key, value, file, text)
        elif isinstance(value, dict):
            raise InvalidRequest(f"{where}: there is no section [{key}]", _nearest(key, {*SPECS, *OTHER_SECTIONS}))
        elif key not in FIELDS:
            raise InvalidRequest(f"{where}: there is no setting '{key}'", _nearest(key, {*FIELDS, *SPECS}))
        elif key in fields and is_for_all(verb, key):
            top[key] = _Given(value, f"{where}: {key}")
    for field in fields:
        for section in _sections_for(verb, field):
            if field in values.get(section, {}):
                where = f"{file} line {_line_of(text, section, field)}: {field}"
                top[field] = _Given(values[section][field], where)
    return top


def _from_named(verb: str, name: str, file: Path) -> dict[str, _Given]:
    """The settings of `[VERB.NAME]`. Raises InvalidRequest with the nearest name when there are none."""
    text, values = read_toml(file)
    section = values.get(verb, {})
    sets = {key: value for key, value in section.items() if isinstance(value, dict)}
    if name not in sets:
        near = _nearest(name, sets)
        hint = near or f"write [{verb}.{name}] with its settings below, one a line"
        raise InvalidRequest(f"{file} has no section [{verb}.{name}]", hint)
    where = f"{verb}.{name}"
    return {key: _Given(value, f"{file} line {_line_of(text, where, key)}: {key}") for key, value in sets[name].items()}


def _sections_for(verb: str, field: str) -> list[str]:
    """The sections that speak of a verb's setting, the last one goes before the others."""
    others = [other for other in ALSO_READS.get(verb, ()) if field in SPECS[other].model_fields]
    return [*others[-1:], verb]


def _check_section(verb: str, section: Mapping[str, Any], file: Path, text: str) -> None:
    """Raise InvalidRequest for a key that is no setting of the verb, in its section or in named settings within it."""
    fields = SPECS[verb].model_fields
    named = {key: value for key, value in section.items() if isinstance(value, dict) and key not in fields}
    for where, keys in [(verb, section.keys() - named.keys()), *((f"{verb}.{name}", named[name]) for name in named)]:
        for key in keys:
            if key not in fields:
                line = f"{file} line {_line_of(text, where, key)}"
                raise InvalidRequest(f"{line}: [{where}] has no setting '{key}'", _nearest(key, fields))


_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"\s*([^=#\[\]]+?)\s*=")


def _line_of(text: str, section: str | None, key: str) -> int:
    """The line on which `key` of `section` is set (tomllib does not tell); for a section, its header's line."""
    wanted = key if section is None else f"{section}.{key}"
    within = 1  # of `epoch100 = { steps = 20 }` the line is the section's
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            current = _bare(header.group(1))
            name = current
        elif assignment := _KEY.match(line):
            name = ".".join(part for part in (current, _bare(assignment.group(1))) if part)
        else:
            continue
        if name == wanted or name.startswith(wanted + "."):
            return number
        if name == section:
            within = number
    return within


def _bare(dotted: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in dotted.split("."))


def _check(verb: str, given: Mapping[str, _Given]) -> None:
    """Raise InvalidRequest for the first value that does not fit; what is missing is for `make_spec` to say."""
    fields = SPECS[verb].model_fields
    for name, entry in given.items():
        if isinstance(entry.value, bool) and name in fields and fields[name].annotation is not bool:
            message = f"{entry.origin} = {_shown(entry.value)}: true or false does not fit here"
            raise InvalidRequest(message, _about(fields[name]))
        if not isinstance(entry.value, str | int | float | Path):
            message = f"{entry.origin}: one value is expected, not {_kind(entry.value)}"
            raise InvalidRequest(message, _about(fields.get(name)))
    try:
        SPECS[verb].model_validate({name: entry.value for name, entry in given.items()})
    except ValidationError as error:
        for wrong in error.errors():
            name = str(wrong["loc"][0]) if wrong["loc"] else ""
            if name in given and wrong["type"] != "extra_forbidden":
                message = reason_of(wrong["type"], wrong["msg"])
                hint = _nearest_choice(fields[name], given[name].value) or _about(fields[name])
                raise InvalidRequest(f"{given[name].origin} = {_shown(wrong['input'])}: {message}", hint) from error


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return shown(str(value) if isinstance(value, Path) else value)


def _kind(value: object) -> str:
    return {"list": "a list", "dict": "a section"}.get(type(value).__name__, "a date")


def _about(field: FieldInfo | None) -> str:
    return f"it is: {field.description}" if field and field.description else ""


def _nearest_choice(field: FieldInfo, value: object) -> str:
    choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
    return _nearest(str(value), choices) if choices else ""


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean '{near[0]}'?" if near else ""
