"""Prompts that were asked for in this workspace, the newest first: `.t2v/prompts.json`."""

from __future__ import annotations

from pathlib import Path

from t2v_core.disk.files import write_json
from t2v_core.disk.opening import read_bytes
from t2v_core.disk.plain_json import parsed
from t2v_core.disk.plain_text import escaped, prompts_in
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace, expanded

MOST = 200
MOST_LIST_BYTES = 2**20


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


def prompts_of(text: str, folder: Path = Path()) -> str:
    """Return a text of prompts, a line each; of `@FILE` the prompts in that file, below `folder` when it is relative.

    Raises InvalidRequest for a file that cannot be read, is no text, or holds no prompt.
    """
    if not text.startswith("@"):
        return text
    path = folder / expanded(Path(text[1:].strip()))
    try:
        said = read_bytes(path, MOST_LIST_BYTES).decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{path} is not UTF-8 text", "write a prompt on each line of it") from error
    except (OSError, ValueError) as error:
        raise InvalidRequest(
            f"the prompts in {path} cannot be read: {error}", "name a text file, as @prompts.txt"
        ) from error
    prompts = prompts_in(said.removeprefix("\ufeff"))
    if not prompts:
        raise InvalidRequest(f"{path} holds no prompt", "write one on each line; # begins a comment")
    return "\n".join(prompts)
