"""What people call a run and what they noted of it: `.t2v/runs/HOST/JOB.json`, which its job knows nothing of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from t2v_core.disk.files import write_json
from t2v_core.disk.plain_json import read_table
from t2v_core.disk.plain_text import escaped
from t2v_core.disk.private import make_folder
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace
from t2v_tui.library.folders import once, stamp_of
from t2v_tui.store.state import JobKey

LONGEST_NAME, LONGEST_NOTE = 40, 400


@dataclass(frozen=True)
class Label:
    """Both may be empty."""

    name: str = ""
    note: str = ""


def label_of(workspace: Workspace, job: JobKey) -> Label:
    """Return a run's name and note; none where nobody gave it any, or somebody broke the file."""
    file = _file(workspace, job)
    stamp = stamp_of(str(file))
    return Label() if stamp is None else once("label", str(file), stamp, partial(_read_label, file))


def _read_label(file: Path) -> Label:
    try:
        said = read_table(file)
    except (OSError, ValueError):
        return Label()
    name, note = (one if isinstance(one := said.get(key), str) else "" for key in ("name", "note"))
    return Label(_one_line(name)[:LONGEST_NAME], _one_line(note)[:LONGEST_NOTE])


def why_unreadable(workspace: Workspace, job: JobKey) -> str:
    """Return in a few words why a run's name and note cannot be read; empty where they can, or nobody gave it any."""
    file = _file(workspace, job)
    try:
        read_table(file)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{file.relative_to(workspace.root)} cannot be read: {error.strerror}"
    except ValueError:
        return f"{file.relative_to(workspace.root)} is broken"
    return ""


def keep_label(workspace: Workspace, job: JobKey, label: Label) -> Label:
    """Keep a run's name and note; returns them as they are kept.

    Raises InvalidRequest when one is too long, EngineError when the file cannot be written.
    """
    kept = Label(_one_line(label.name), _one_line(label.note))
    for what, text, most in (("name", kept.name, LONGEST_NAME), ("note", kept.note, LONGEST_NOTE)):
        if len(text) > most:
            raise InvalidRequest(
                f"a run's {what} has at most {most} characters; this one has {len(text)}", "shorten it"
            )
    make_folder(_file(workspace, job).parent)
    write_json(_file(workspace, job), {"name": kept.name, "note": kept.note})
    return kept


def _one_line(text: str) -> str:
    return " ".join(escaped(text).split())


def _file(workspace: Workspace, job: JobKey) -> Path:
    return workspace.root / ".t2v" / "runs" / quote(job.host, safe="") / f"{quote(job.job, safe='')}.json"
