"""The workspace, its settings, and its disk."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from t2v_core.diagnosis.check import Check, bad, good, odd
from t2v_core.errors import InvalidRequest
from t2v_core.format import size
from t2v_core.settings import values_for
from t2v_core.specs import SPECS, PreprocessSpec, TrainSpec, make_spec
from t2v_core.workspace import SETTINGS_FILE, Workspace

LEAST_FREE_BYTES = 2_000_000_000
WORTH_TELLING_BYTES = 5_000_000
PLACE = re.compile(r"(?P<file>.+) line (?P<line>\d+): ")


def examine_settings(workspace: Workspace, environ: Mapping[str, str]) -> Iterator[Check]:
    """Examine t2v.toml and T2V_* variables, for every verb: each thing that is wrong once."""
    told: set[str] = set()
    for verb in SPECS:
        try:
            values_for(verb, workspace, environ, {})
        except InvalidRequest as error:
            if error.message not in told:
                told.add(error.message)
                yield bad("settings", _in_short(error, workspace), mending_of(error, environ))
    if told:
        return
    if workspace.settings_file.is_file():
        yield good("settings", f"{SETTINGS_FILE} is read, every key is known")
    else:
        line = f"t2v init {shlex.quote(str(workspace.root))}"
        yield odd("settings", f"there is no {SETTINGS_FILE} in {workspace.root}: the defaults hold", line)


def _in_short(error: InvalidRequest, workspace: Workspace) -> str:
    text = error.message.replace(str(workspace.settings_file), SETTINGS_FILE)
    return f"{text}; {error.hint}" if error.hint else text


def mending_of(error: InvalidRequest, environ: Mapping[str, str]) -> str:
    """Put the nearest name in the line's place, or make a comment of the line; for a variable, forget it."""
    variable = next((name for name in environ if name.startswith("T2V_") and name in error.message), None)
    if variable:
        return f"unset {variable}"
    place = PLACE.match(error.message)
    if place is None:
        return ""
    wrong = re.search(r"(?:there is no setting|has no setting|there is no section) ['\[]([^'\]]+)['\]]", error.message)
    meant = re.search(r"did you mean '([^']+)'", error.hint)
    change = f"s/{re.escape(wrong[1])}/{meant[1]}/" if wrong and meant else "s/^/# /"
    # -i.bak is what both GNU's and BSD's sed understand.
    return f"sed -i.bak {shlex.quote(place['line'] + change)} {shlex.quote(place['file'])}"


def preprocess_settings(workspace: Workspace, environ: Mapping[str, str]) -> PreprocessSpec:
    """Return what `t2v preprocess` would take; the defaults where they are wrong, which `examine_settings` says."""
    return cast(PreprocessSpec, _spec("preprocess", workspace, environ))


def train_settings(workspace: Workspace, environ: Mapping[str, str]) -> TrainSpec:
    """Return what `t2v train` would take; the defaults where they are wrong, which `examine_settings` says."""
    return cast(TrainSpec, _spec("train", workspace, environ))


def _spec(verb: str, workspace: Workspace, environ: Mapping[str, str]) -> object:
    try:
        return make_spec(verb, values_for(verb, workspace, environ, {}))
    except InvalidRequest:
        return make_spec(verb, {})


def examine_workspace(workspace: Workspace) -> Iterator[Check]:
    """Examine whether something can be written there."""
    root = workspace.root
    try:
        with tempfile.NamedTemporaryFile(dir=root, prefix=".partial-"):
            pass
    except OSError as error:
        line = f"chmod u+rwx {shlex.quote(str(root))}"
        if root.exists() and root.stat().st_uid != os.getuid():
            line = f'sudo chown -R "$USER" {shlex.quote(str(root))}'
        yield bad("workspace", f"nothing can be written to {root}: {error.strerror}", line)
        return
    yield good("workspace", f"{root}, writable")


def examine_disk(workspace: Workspace, checkpoint_bytes: int, parts: Mapping[str, Path]) -> Check:
    """Examine how much is free, and what takes the rest.

    parts: folders by what they are called; checkpoint_bytes: of the newest one, 0 when there is none
    """
    free = shutil.disk_usage(workspace.root).free
    sizes = {name: bytes_of(folder) for name, folder in parts.items()}
    told_parts = [f"{name} {size(taken)}" for name, taken in sizes.items() if taken >= WORTH_TELLING_BYTES]
    told = f"{size(free)} free" + (f"; here: {', '.join(told_parts)}" if told_parts else "")
    there = " ".join(shlex.quote(str(folder)) for folder in parts.values() if folder.exists())
    look = f"du -sh {there}" if there else f"df -h {shlex.quote(str(workspace.root))}"
    if free < checkpoint_bytes:
        return bad("disk", f"{told}; the next checkpoint needs {size(checkpoint_bytes)}", look)
    if free < LEAST_FREE_BYTES:
        return odd("disk", told, look)
    return good("disk", told)


def bytes_of(folder: Path) -> int:
    """Return the bytes of all files in it; one that goes away meanwhile does not count."""
    total = 0
    for file in folder.rglob("*") if folder.is_dir() else []:
        try:
            total += file.lstat().st_size
        except OSError:
            continue
    return total
