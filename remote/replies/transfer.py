"""What an agent says of files that are to come from it, or to go there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from t2v_core.disk.typed_json import Amount, Sha256

SEALED = "sealed"


@dataclass(frozen=True)
class FarFile:
    """A file as it was when it was offered.

    name:   below its unit; "" when it is the unit
    sha256: by whoever wrote it; None when nobody has taken it yet
    """

    name: str
    size: Amount
    mtime_ns: int
    inode: int
    sha256: Sha256 | None

    @property
    def identity(self) -> str:
        """Return what identifies its content: another content has another one."""
        return self.sha256 or f"{self.inode}-{self.size}-{self.mtime_ns}"


@dataclass(frozen=True)
class OfferedUnit:
    """What lands at once, before its names were looked at. kind: file, or sealed: a folder with its manifest"""

    path: str
    kind: str
    files: tuple[FarFile, ...]
    step: int | None = None

    def __post_init__(self) -> None:
        if not self.files or (self.kind != SEALED and (len(self.files) > 1 or self.files[0].name)):
            raise ValueError(f"is a {'folder' if self.kind == SEALED else 'file'} with other files than it can have")


@dataclass(frozen=True)
class Skipped:
    """What is not offered. is_asked: it was named, and is not there; is_refused: it cannot be read there"""

    path: str
    why: str
    is_asked: bool = False
    is_refused: bool = False


@dataclass(frozen=True)
class SameOffer:
    """Nothing has changed since the offer of that digest."""

    is_same: Literal[True]
    digest: str


@dataclass(frozen=True)
class FullOffer:
    """Everything below some paths. digest: of all of it; programs: of those that can transfer, the ones it has"""

    workspace: str
    units: tuple[OfferedUnit, ...]
    skipped: tuple[Skipped, ...] = ()
    programs: tuple[str, ...] = ()
    digest: str = ""
    is_same: Literal[False] = False


@dataclass(frozen=True)
class FileSum:
    """A file, and the sha256 of what was in it then; None when it was written to meanwhile."""

    path: str
    size: int
    mtime_ns: int
    inode: int
    sha256: Sha256 | None


@dataclass(frozen=True)
class FileSums:
    """In the order in which they were asked for."""

    files: tuple[FileSum, ...]


@dataclass(frozen=True)
class Wanted:
    """A file that has to go there.

    at:       its place in the question; there: what of it an earlier try brought
    has_twin: its bytes are there under another name
    """

    at: Amount
    there: tuple[tuple[int, int], ...]
    has_twin: bool = False


@dataclass(frozen=True)
class RefusedFile:
    """is_anothers: another workspace, which shares the folder, pushed it"""

    path: str
    why: str
    is_anothers: bool = False


@dataclass(frozen=True)
class WantedFiles:
    """gone: what was pushed before and is no more among what is asked about"""

    needed: tuple[Wanted, ...]
    refused: tuple[RefusedFile, ...]
    gone: tuple[str, ...]
    disk_free_bytes: int


@dataclass(frozen=True)
class Landed:
    """Whether a file got its name, and why not. checked: so many bytes from its beginning on are there and taken in"""

    is_landed: bool
    why: str
    checked: Amount = 0


@dataclass(frozen=True)
class RangeBegins:
    """Stands before a range's bytes, or in their place.

    n:        so many come
    changed:  the range's number, when none come: it is another file now, or cannot be read, and why
    is_final: asking again does not help
    """

    n: int | None = None
    changed: int | None = None
    why: str = ""
    is_final: bool = False


@dataclass(frozen=True)
class RangeEnds:
    """Stands after a range's bytes.

    is_same:  it was all the while the file that was meant; why not
    is_final: asking again does not help
    """

    is_same: bool
    why: str = ""
    is_final: bool = False
    sha256: Sha256 | None = None


@dataclass(frozen=True)
class RangeGot:
    """A range was written there. why: what was wrong with it; empty when nothing was"""

    why: str = ""
