"""Prompts that were asked for in this workspace, the newest first: `.t2v/prompts.json`."""

from __future__ import annotations

from pathlib import Path

from t2v_core.disk.files import write_json
from t2v_core.disk.opening import read_bytes
from t2v_core.disk.plain_json import parsed
from t2v_core.disk.plain_text import escaped
from t2v_core.workspace import Workspace

MOST = 200


def file_of(workspace: Workspace) -> Path:
    """Return where the prompts are kept."""
    return workspace.root / ".t2v" / "prompts.json"


def read_prompts(workspace: Workspace) -> list[str]:
    """Return the prompts; nothing when there are none, or somebody broke the file."""
    try:
        said = parsed(read_bytes(file_of(workspace)))
    except (OSError, ValueError):
        return []
    return [escaped(one) for one in said if isinstance(one, str)][:MOST] if isinstance(said, list) else []


def remember_prompt(workspace: Workspace, prompt: str) -> list[str]:
    """Put it first, once. Raises EngineError when the file cannot be written."""
    prompts = [prompt, *(one for one in read_prompts(workspace) if one != prompt)][:MOST]
    write_json(file_of(workspace), prompts)
    return prompts
