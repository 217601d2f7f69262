"""How a training was set: what it was asked, over what its preset and the defaults say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from t2v_core.disk.files import write_json
from t2v_core.disk.plain_json import read_table, table
from t2v_core.disk.private import make_folder
from t2v_core.errors import EngineError
from t2v_core.workspace import Workspace
from t2v_tui.store.state import LOCAL, JobKey

if TYPE_CHECKING:
    from remote.jobs.client import HostJobs

SPEC = "spec.json"


def asked_here(workspace: Workspace, job: JobKey) -> Mapping[str, Any] | None:
    """Return what a run was asked, as far as it lies on this machine; None when it does not."""
    from remote.jobs.spool import Spool

    folder = workspace.jobs / job.job if job.host == LOCAL else Spool.of(workspace, job.host, job.job).directory
    try:
        return read_table(folder / SPEC)
    except (OSError, ValueError):
        return None


def asked_there(workspace: Workspace, job: JobKey, jobs: HostJobs) -> Mapping[str, Any] | None:
    """Ask its host once, and keep the reply beside what came of its events; None when it cannot say."""
    from remote.jobs.spool import Spool
    from remote.replies.questions import READ

    if (known := asked_here(workspace, job)) is not None:
        return known
    try:
        said = table(jobs.ask(READ, path=f"jobs/{job.job}/{SPEC}").data)
        place = Spool.of(workspace, job.host, job.job).directory
        make_folder(place)
        write_json(place / SPEC, said)
    except (EngineError, ValueError):
        return None
    return said


def with_defaults(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return every setting of a training that was asked this; what another version asked stands as it is."""
    from t2v_core.specs import all_values, make_spec

    try:
        return all_values(make_spec("train", dict(asked)))
    except EngineError:
        return dict(asked)


def differing(settings: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """Return (setting, its value in each run) of those settings that are not the same in all of them.

    A run that lacks a setting has None there.
    """
    names = dict.fromkeys(name for one in settings for name in one)
    rows = [(name, [one.get(name) for one in settings]) for name in names]
    return [(name, values) for name, values in rows if any(value != values[0] for value in values[1:])]
