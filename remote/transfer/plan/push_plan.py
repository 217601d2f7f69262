"""What a push would send, before it sends it, and what it leaves alone on the host."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from remote.agent.transfer.parts import Interval
from remote.agent.transfer.sums import cache_key, read_cache, remember
from remote.errors import DiskFull
from remote.jobs.client import HostJobs
from remote.replies.question import bad_reply
from remote.replies.questions import WANT
from remote.text import shown
from remote.transfer.plan.git_list import listed_by_git
from remote.transfer.plan.memory import ArrivedFiles
from remote.transfer.plan.names import STAGED
from remote.transfer.plan.pull_plan import MARGIN_BYTES, SLOW_HASH_BYTES_PER_S
from remote.transfer.ranges import SMALL_BYTES
from t2v_core.disk.files import sha256
from t2v_core.errors import InvalidRequest
from t2v_core.format import size
from t2v_core.workspace import SETTINGS_FILE, Workspace, expanded

CODE, DATA, VIDEOS, PATHS = "code", "data", "videos", "path"
FOLDERS = {DATA: "data", VIDEOS: "outputs"}
WANT_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class LocalFile:
    """A file as it was when its sha256 was taken. path: relative to the workspace, here and there"""

    path: str
    size: int
    mtime_ns: int
    inode: int
    mode: int
    sha256: str

    def row(self, kind: str, by: str) -> dict[str, Any]:
        """Return it as the agent takes it. by: id of this workspace"""
        said = {"path": self.path, "size": self.size, "sha256": self.sha256}
        return {**said, "kind": kind, "mode": self.mode, "by": by}


@dataclass(frozen=True)
class PushPlan:
    """needed: the files that the host lacks, each with the intervals that an earlier try brought

    refused:     (path, why): there is something there that this workspace did not push, or that was edited there
    is_shared:   some of that was pushed from another workspace, whose folder there it is as well
    passed_over: (path, why): it is not sent
    gone:        what was pushed before and is no more; removed there in the end
    copies:      paths of those needed whose bytes are there under another name, or will be once another of them is
    """

    host: str
    kind: str
    total_files: int
    needed: tuple[tuple[LocalFile, tuple[Interval, ...]], ...]
    refused: tuple[tuple[str, str], ...]
    passed_over: tuple[tuple[str, str], ...]
    gone: tuple[str, ...]
    free_bytes: int
    seconds: float | None
    is_shared: bool = False
    copies: frozenset[str] = frozenset()

    @property
    def to_send(self) -> int:
        """Return the bytes that have to go, without those that an earlier try brought, and without copies."""
        return sum(_left(*one) for one in self.needed if one[0].path not in self.copies)

    @property
    def to_copy(self) -> int:
        """Return the bytes that are copied there."""
        return sum(file.size for file, _ in self.needed if file.path in self.copies)

    @property
    def fits(self) -> bool:
        """Tell whether the disk there has room for it, and a margin."""
        to_write = self.to_send + self.to_copy
        return to_write == 0 or self.free_bytes >= to_write + MARGIN_BYTES

    def require_space(self) -> None:
        """Check the host's disk. Raises DiskFull before anything is sent that it cannot hold."""
        if not self.fits:
            whole, free = size(self.to_send + self.to_copy), size(self.free_bytes)
            raise DiskFull(
                f"{whole} would be pushed to {self.host}, which has {free} free",
                hint="free some space there, or set workdir in t2v.toml to a larger disk",
            )


def plan_push(jobs: HostJobs, what: Sequence[str], *, is_replacing: bool = False) -> PushPlan:
    """Look at every file here, ask the host once, and return what a push would send.

    what:         `code`, `data`, `videos`, or paths of the workspace; code goes alone
    is_replacing: what is there under the same name and was not pushed, or was edited there, gives way
    Raises InvalidRequest, HostUnreachable, AgentError.
    """
    workspace = jobs.workspace
    if CODE in what and len(what) > 1:
        raise InvalidRequest(
            "code is pushed by itself: git decides what belongs to it", "push the rest with a second command"
        )
    kind = what[0] if len(what) == 1 and what[0] in (CODE, *FOLDERS) else PATHS
    passed_over: list[tuple[str, str]] = []
    if kind == CODE:
        listed = listed_by_git(workspace.root)
        names, passed_over = list(listed.paths), list(listed.passed_over)
    else:
        names = sorted({name for word in what for name in _below(workspace, FOLDERS.get(word, word), passed_over)})
    plan = plan_files(jobs, kind, names, is_replacing=is_replacing)
    return replace(plan, passed_over=tuple((shown(path), why) for path, why in passed_over))


def plan_files(
    jobs: HostJobs, kind: str, names: Sequence[str], *, is_replacing: bool, sends_all: bool = False
) -> PushPlan:
    """Plan for files of the workspace by name, as they are now. Raises as `plan_push`.

    sends_all: also what is there under another name
    """
    files = _looked_at(jobs.workspace, names)
    rows = [file.row(kind, jobs.identity.get("id", "")) for file in files]
    timeout_s = WANT_TIMEOUT_S + sum(file.size for file in files) / SLOW_HASH_BYTES_PER_S
    said = jobs.ask(WANT, timeout_s=timeout_s, kind=kind, files=rows, is_replacing=is_replacing)
    if any(one.at >= len(files) for one in said.needed):
        raise bad_reply(jobs.host.name, WANT.name, "it wants other files than it was asked about")
    needed = tuple((files[one.at], one.there) for one in said.needed)
    twins = frozenset(files[one.at].path for one in said.needed if one.has_twin)
    plan = PushPlan(
        host=jobs.host.name, kind=kind, total_files=len(files), needed=needed,
        refused=tuple((shown(one.path), shown(one.why)) for one in said.refused), passed_over=(),
        gone=said.gone if kind == CODE else (), free_bytes=said.disk_free_bytes, seconds=None,
        is_shared=any(one.is_anothers for one in said.refused),
        copies=frozenset() if sends_all else twins | _seconds([file for file, _ in needed]),
    )  # fmt: skip
    rate = ArrivedFiles(jobs.workspace, jobs.host.name).bytes_per_s("up")
    return plan if rate is None else replace(plan, seconds=plan.to_send / rate)


def _left(file: LocalFile, there: Sequence[Interval]) -> int:
    return file.size - sum(end - begin for begin, end in there)


def _seconds(files: Sequence[LocalFile]) -> frozenset[str]:
    """The large ones whose bytes an earlier one has as well: once that one is there, they are copied."""
    first: dict[str, str] = {}
    large = [file for file in files if file.size > SMALL_BYTES]
    return frozenset(file.path for file in large if first.setdefault(file.sha256, file.path) != file.path)


def _below(workspace: Workspace, word: str, passed_over: list[tuple[str, str]]) -> Iterator[str]:
    """The finished files that `word` is or holds. Raises InvalidRequest."""
    given = expanded(Path(word))
    path = given if given.is_absolute() else _as_meant(workspace, given)
    if not path.is_relative_to(workspace.root) or ".." in path.parts:
        raise InvalidRequest(
            f"{shown(word)} is not in the workspace {workspace.root}", "only what is in it has a place there"
        )
    if not path.exists():
        raise InvalidRequest(f"there is no {shown(word)} in {workspace.root}", "name a file or folder of the workspace")
    if path.is_file():
        yield str(PurePosixPath(path.relative_to(workspace.root)))
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name not in (".t2v", ".git") and not _is_unfinished(name))
        links = [Path(folder) / name for name in folders if (Path(folder) / name).is_symlink()]
        passed_over += [(str(link.relative_to(workspace.root)), "it is a link to a folder") for link in links]
        for name in names:
            file = Path(folder) / name
            if not _is_unfinished(name) and _is_plain(file, workspace, passed_over):
                yield str(PurePosixPath(file.relative_to(workspace.root)))


def _as_meant(workspace: Workspace, path: Path) -> Path:
    """A relative path is one of the folder the command was typed in, or else of the workspace."""
    here = Path.cwd() / path
    return here if here.exists() and here.is_relative_to(workspace.root) else workspace.root / path


def _is_unfinished(name: str) -> bool:
    return name.startswith(".partial-") or name.endswith(STAGED)


def _is_plain(file: Path, workspace: Workspace, passed_over: list[tuple[str, str]]) -> bool:
    """A file, or a link to one: what it holds is sent. A fifo would be waited for for ever."""
    try:
        is_plain = stat.S_ISREG(file.stat().st_mode)
    except OSError as error:
        passed_over.append((str(file.relative_to(workspace.root)), str(error.strerror)))
        return False
    if not is_plain:
        passed_over.append((str(file.relative_to(workspace.root)), "it is not a regular file"))
    return is_plain


def _looked_at(workspace: Workspace, names: Sequence[str]) -> list[LocalFile]:
    """Each with its sha256, which is taken once as long as nobody writes to it."""
    known, new, files = dict(read_cache()), {}, []
    try:
        for name in names:
            path = workspace.root / name
            status = path.stat()
            key = cache_key(path, status)
            digest = known.get(key)
            if digest is None:
                digest = new[key] = sha256(path)
            mode = 0o600 if name == SETTINGS_FILE else 0o755 if status.st_mode & stat.S_IXUSR else 0o644
            files.append(LocalFile(name, status.st_size, status.st_mtime_ns, status.st_ino, mode, digest))
    except OSError as error:
        raise InvalidRequest(f"{error.filename} cannot be read: {error.strerror}", "fix its permissions") from error
    finally:
        if new:
            remember(new)
    return files
