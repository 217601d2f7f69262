"""`t2v models`: a line for each open model, here or on a host."""

from __future__ import annotations

import os
import sys
from typing import Any

from remote.hosts.settings import LOCAL
from t2v_core.events.models_listed import ListedModel, ModelsListed
from t2v_core.format import size
from t2v_core.workspace import Workspace
from t2v_tui.cli.engine.run import Followed, run_verb
from t2v_tui.cli.main import Common
from t2v_tui.cli.narrate import Narrator
from t2v_tui.cli.options import as_meant_here, as_meant_there
from t2v_tui.find_workspace import find_workspace

HEAD = ("model", "family", "size", "licence", "")


def list_models(common: Common, *, folder: str | None, host: str | None, as_json: bool) -> int:
    """List them. Returns the exit code of the work."""
    given = {"folder": folder}
    flags = as_meant_here("models", given) if host in (None, LOCAL) else as_meant_there(given)
    told: dict[str, Any] = {
        "workspace": find_workspace(common.workspace, os.environ),
        "flag_names": {},
        "as_json": as_json,
        "is_verbose": False,
        "tell": tell_models,
    }
    if host is None:
        return run_verb("models", flags, **told)
    from t2v_tui.cli.engine.on_host import run_there  # what runs here needs no host

    return run_there("models", flags, host, after=None, is_detached=False, **told)


def tell_models(followed: Followed, _workspace: Workspace, _teller: Narrator, *, as_json: bool) -> None:
    """Write a table, or everything as JSON, to stdout."""
    if as_json:
        print(followed.as_json())
    else:
        listed = followed.result_as(ModelsListed)
        print("\n".join(table(listed.models)) if listed.models else _none(listed))
    sys.stdout.flush()


def table(models: tuple[ListedModel, ...]) -> list[str]:
    """Return columns aligned, a line for each model."""
    rows = [HEAD, *(_cells(model) for model in models)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cells(model: ListedModel) -> tuple[str, ...]:
    more = f" and {len(model.missing) - 1} more" if len(model.missing) > 1 else ""
    state = f"incomplete: {model.missing[0]} is missing{more}" if model.missing else "whole"
    licence = model.licence if model.is_open else f"{model.licence} (not open)"
    return (model.id, model.family, size(model.size_bytes), licence, state)


def _none(listed: ModelsListed) -> str:
    return f"no open model in {listed.cache} or {listed.folder}\nbring one: t2v models fetch OWNER/NAME"
