"""Which job is meant for a cluster: one that is here, or a new one from a verb and its flags."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from remote.cluster.torchrun import SHARED_VERBS
from t2v_core.errors import InvalidRequest
from t2v_core.specs import SPECS, Spec, make_spec, read_spec
from t2v_core.workspace import Workspace
from t2v_tui.cli.engine import verbs

MADE_HERE = re.compile(r"\d{8}-\d{6}-(?P<verb>[a-z0-9-]+)-[0-9a-f]+")
ELSEWHERE = ("host_", "hosts_", "min_hosts_", "detach_", "after_")


@dataclass(frozen=True)
class Asked:
    """A verb with its spec. directory: of the job that is here already; None for a new one"""

    verb: str
    spec: Spec
    directory: Path | None


def asked_job(
    words: Sequence[str], workspace: Workspace, values: Callable[[str, Mapping[str, Any]], dict[str, Any]]
) -> Asked:
    """Return what words mean: `train --preset base` a new job, `3f2a` one that is here.

    values: from a verb and its flags to the settings that count
    Raises InvalidRequest for another verb, for flags that it does not have, and for a job that is not here.
    """
    first, *rest = words
    if not first.strip():
        raise InvalidRequest("JOB|VERB is empty", f"a job, or {'|'.join(SHARED_VERBS)} with flags")
    if first in SHARED_VERBS:
        given = _flags(first, rest)
        return Asked(first, make_spec(first, values(first, given)), None)
    if first in SPECS:
        raise InvalidRequest(f"{first} is not work for a cluster", f"those are: {', '.join(SHARED_VERBS)}")
    if rest:
        raise InvalidRequest(f"'{rest[0]}' is too much behind a job", f"a job, or {'|'.join(SHARED_VERBS)} with flags")
    directory = _job_here(first, workspace)
    named = MADE_HERE.fullmatch(directory.name)
    verb = named["verb"] if named else ""
    if verb not in SHARED_VERBS:
        raise InvalidRequest(f"{directory.name} is not work for a cluster", f"jobs of {', '.join(SHARED_VERBS)} are")
    return Asked(verb, read_spec(verb, directory / "spec.json"), directory)


def _flags(verb: str, words: Sequence[str]) -> dict[str, Any]:
    """What was given of a verb's own flags, as its command reads them."""
    app = typer.Typer(add_completion=False)
    app.command(verb)(getattr(verbs, verb))
    context = typer.main.get_command(app).make_context(verb, list(words))
    if any(context.params.get(name) for name in ELSEWHERE):
        raise InvalidRequest("a cluster is not a host of t2v.toml", "leave --host, --hosts, --detach and --after out")
    return {name: value for name, value in context.params.items() if name in SPECS[verb].model_fields}


def _job_here(asked: str, workspace: Workspace) -> Path:
    found = [one.parent for one in sorted(workspace.jobs.glob("*/spec.json")) if asked in one.parent.name]
    exact = [one for one in found if one.name == asked]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        names = ", ".join(one.name for one in found[:5])
        raise InvalidRequest(f"'{asked}' matches {len(found)} jobs: {names}", "type more of the id")
    raise InvalidRequest(
        f"there is no job '{asked}' here", f"t2v jobs lists them; or name a verb: {', '.join(SHARED_VERBS)}"
    )
