"""Taking apart what was asked: every wrong parameter is a sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .files import Json, Problem
from .keys import JOB_ID

MISSING: Any = object()
WORDS = {str: "a text", int: "a number", dict: "an object", list: "a list", bool: "true or false", float: "a number"}


def take(parameters: Json, name: str, kind: Any, default: Any = MISSING) -> Any:
    """Return a parameter, or its default. Raises Problem when it is missing or not of type `kind`.

    kind: float takes an int as well
    """
    value = parameters.get(name, default)
    if value is MISSING:
        raise Problem("asked-wrongly", f"{name} is missing")
    if value is default or (kind is float and type(value) is int) or type(value) is kind:
        return value
    raise Problem("asked-wrongly", f"{name} must be {WORDS[kind]}, not {json.dumps(value)[:80]}")


def arguments_in(texts: Sequence[Any], name: str) -> list[str]:
    """Check that the system takes texts as arguments and paths: no NUL, nothing that has no bytes. Raises Problem."""
    for text in texts:
        try:
            fits = isinstance(text, str) and b"\0" not in os.fsencode(text)
        except UnicodeEncodeError:
            fits = False
        if not fits:
            raise Problem("asked-wrongly", f"{name} must be strings without NUL characters or unpaired surrogates")
    return list(texts)


def workspace(parameters: Json) -> Path:
    """Return the workspace that was asked for, resolved; the home folder when none is named."""
    return expanded(arguments_in([take(parameters, "workspace", str, "~")], "workspace")[0]).resolve()


def expanded(path: str) -> Path:
    """Expand `~` at the beginning to the home folder; `./~` is a file of that name, which Path would forget."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's own raises RuntimeError


def job_directory(parameters: Json, name: str = "job") -> Path:
    """Return the directory of the job that was asked for. Raises Problem when there is none."""
    job = take(parameters, name, str)
    directory = workspace(parameters) / "jobs" / job
    if not JOB_ID.fullmatch(job) or not directory.is_dir():
        raise Problem("not-found", f"there is no job {job!r} in {directory.parent.parent}", "t2v jobs lists them")
    return directory


def path_in(parameters: Json, path: str) -> Path:
    """Return a path of the workspace; `~` and absolute paths are meant as they are."""
    return workspace(parameters) / expanded(arguments_in([path], "path")[0])
