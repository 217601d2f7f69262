"""A folder's files into a repository of the hub: what it has already is not sent again, and all appear at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, get_token

from t2v_core.errors import EngineError, InvalidRequest
from t2v_core.models.hub.repository import HubFile
from t2v_core.models.hub.sentences import LOG_IN, hub_error

NEW, REPLACES, SAME = "new", "replaces", "same"


@dataclass(frozen=True)
class Outgoing:
    """A file to be sent. name: in the repository; state: `new`, `replaces` or `same`"""

    path: Path
    name: str
    size_bytes: int
    state: str


def compared(folder: Path, names: Iterable[str], there: Mapping[str, HubFile]) -> list[Outgoing]:
    """Return a folder's files with what they are to a repository. there: what it has, by name"""
    return [
        Outgoing(folder / name, name, (folder / name).stat().st_size, _state(folder / name, there.get(name)))
        for name in names
    ]


def _state(path: Path, there: HubFile | None) -> str:
    if there is None:
        return NEW
    return SAME if there.size_bytes == path.stat().st_size and there.checksum == _checksum(path, there) else REPLACES


def _checksum(path: Path, there: HubFile) -> str:
    """As the hub has made its own: sha256 of a large file, else git's."""
    is_large = len(there.checksum) == len(hashlib.sha256().hexdigest())
    with path.open("rb") as file:
        if is_large:
            return hashlib.file_digest(file, "sha256").hexdigest()
        header = f"blob {path.stat().st_size}\0".encode()
        return hashlib.sha1(header + file.read(), usedforsecurity=False).hexdigest()


def require_login() -> None:
    """Raise InvalidRequest where nobody is logged in to the hub."""
    if get_token() is None:
        raise InvalidRequest("nobody is logged in to the hub here, and it takes files from those who are", hint=LOG_IN)


def upload(asked: str, files: Iterable[Outgoing], *, is_private: bool, moved: Callable[[int], None]) -> str:
    """Send files and make them appear in one commit; returns the repository's address.

    is_private: of a repository that is made now; one that is there stays what it is
    moved: told the bytes of each file once it is there; what it raises ends the work, and what was sent stays there
    Raises as `hub_error`.
    """
    api, during = HfApi(), ""
    try:
        url = api.create_repo(asked, private=is_private, exist_ok=True)
        operations = []
        for file in files:
            operation = CommitOperationAdd(file.name, str(file.path))
            during = f"sending {file.name}"
            api.preupload_lfs_files(asked, [operation])
            operations.append(operation)
            moved(file.size_bytes)
        during = "naming what was sent"
        if operations:
            api.create_commit(asked, operations, commit_message="Upload what t2v exported")
    except EngineError:
        raise
    except Exception as error:
        raise hub_error(asked, error, during=during) from error
    return str(url)
