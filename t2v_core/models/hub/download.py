"""One file of a repository into the hub's cache: whole, checked, and from where an earlier try broke off.

huggingface_hub begins a file anew after an interruption, and a shard of an open model has 5 to 10 GB. What lies in the
cache afterwards is what its own download leaves there.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path

from huggingface_hub import get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from t2v_core.disk.files import describe_os_error, sync
from t2v_core.disk.private import make_folder
from t2v_core.errors import WorkFailed
from t2v_core.format import size
from t2v_core.models.hub.incoming import Incoming, incoming
from t2v_core.models.hub.repository import HubFile, Repository
from t2v_core.models.hub.sentences import AGAIN, Interrupted, hub_error

SILENCE_S = 30.0
# In a row, without a byte that came.
TRIES, PAUSE_S = 5, 1.0
# Told how many bytes have come since it was told last; may raise, and what has come is kept.
Moved = Callable[[int], None]


def missing_bytes(repository: Repository, files: Iterable[HubFile]) -> int:
    """Return how much of some files has still to come."""
    return sum(file.size_bytes - _has(repository, file) for file in files)


def fetch_file(repository: Repository, file: HubFile, moved: Moved) -> Path:
    """Bring a file here and return its path; one that is here already costs nothing.

    Raises what `moved` raises, InvalidRequest while another process fetches it, and WorkFailed for a full disk, a hub
    that is not reached, or one that sends something else. What has come is kept for the next time.
    """
    blob, path = _blob(repository, file), repository.folder / file.name
    if path.exists() and path.stat().st_size == file.size_bytes:
        return path
    try:
        make_folder(blob.parent)
        make_folder(path.parent)
        if not blob.exists():
            with incoming(_partial(blob), file) as coming:
                _receive(repository, file, coming, moved)
                coming.land(blob)
            sync(blob.parent)
        _name(blob, path)
        _remember(repository)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise describe_os_error(error, path) from error
        raise WorkFailed(
            f"the disk is full: of {file.name}, {size(_has(repository, file))} have come and are kept in {blob.parent}",
            hint=f"free some space and {AGAIN}",
        ) from error
    return path


def _has(repository: Repository, file: HubFile) -> int:
    """Bytes of a file that are here already."""
    blob = _blob(repository, file)
    for path in (blob, _partial(blob), repository.folder / file.name):
        if path.exists():
            return min(file.size_bytes, path.stat().st_size)
    return 0


def _blob(repository: Repository, file: HubFile) -> Path:
    return repository.cached_at / "blobs" / file.checksum


def _partial(blob: Path) -> Path:
    """As the hub's client named what it went on with, when it still did: whoever cleans a cache knows the name."""
    return blob.with_name(f"{blob.name}.incomplete")


def _receive(repository: Repository, file: HubFile, coming: Incoming, moved: Moved) -> None:
    """Take what is missing, over as many connections as it takes while something comes of each few."""
    tries = 0
    while coming.size_bytes < file.size_bytes:
        before = coming.size_bytes
        try:
            _stream(repository, file, coming, moved)
        except Interrupted as error:
            tries = 1 if coming.size_bytes > before else tries + 1
            if tries == TRIES:
                raise hub_error(repository.id, error, during=f"fetching {file.name}") from error
            moved(0)
            time.sleep(PAUSE_S)
        else:
            if coming.size_bytes == before:
                break
    if damage := coming.damage:
        moved(-coming.size_bytes)
        coming.begin_anew()
        raise WorkFailed(
            f"{file.name} of {repository.id} arrived damaged: {damage}",
            hint="run the same command again: this file is fetched anew",
        )


def _stream(repository: Repository, file: HubFile, coming: Incoming, moved: Moved) -> None:
    begin = coming.size_bytes
    # No compression: a range is one of the file's own bytes.
    headers = build_hf_headers() | {"Accept-Encoding": "identity", "Range": f"bytes={begin}-"}
    url = hf_hub_url(repository.id, file.name, revision=repository.revision)
    with get_session().stream("GET", url, headers=headers, timeout=SILENCE_S, follow_redirects=True) as answer:
        try:
            hf_raise_for_status(answer)
        except Exception as error:
            raise hub_error(repository.id, error) from error
        if begin and answer.status_code != HTTPStatus.PARTIAL_CONTENT:  # a server that knows no ranges
            moved(-begin)
            coming.begin_anew()
        for piece in answer.iter_bytes():
            coming.add(piece)
            moved(len(piece))
            if coming.size_bytes > file.size_bytes:
                return


def _name(blob: Path, path: Path) -> None:
    """Give a blob its name in a revision: a link, or where there are none, the file itself."""
    path.unlink(missing_ok=True)
    try:
        path.symlink_to(os.path.relpath(blob, path.parent))
    except OSError:  # a file system without links, as the hub's client does it there
        blob.replace(path)


def _remember(repository: Repository) -> None:
    """Say which revision is the newest one, for those who ask without a network."""
    ref = repository.cached_at / "refs" / "main"
    make_folder(ref.parent)
    ref.write_text(repository.revision)
