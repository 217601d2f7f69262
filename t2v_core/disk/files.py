"""Everything lands whole or not at all: staging names, manifests, disk-space preflight.

A file is written under a staging name, synced and renamed. A directory is complete when its `manifest.json` (names,
sizes, sha256), written last, is there and fits.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from t2v_core.disk.opening import read_bytes
from t2v_core.disk.plain_json import MOST_MANIFEST_BYTES, parsed
from t2v_core.disk.private import make_folder, make_new
from t2v_core.errors import EngineError, InvalidRequest, NotFinite, WorkFailed
from t2v_core.format import size

MANIFEST = "manifest.json"
STAGING = ".partial-"
# The place was chosen wrongly, the disk is fine; EEXIST is what mkdir says of a file where a folder should be.
WRONG_PLACE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EEXIST, errno.ENAMETOOLONG,
    errno.ELOOP,
)  # fmt: skip
# Several machines may see one folder, and each counts its processes by itself.
MACHINE_ID_FILE = Path(os.environ.get("T2V_MACHINE_ID_FILE", "/etc/machine-id"))
LEFT_BEHIND = re.compile(
    rf"{re.escape(STAGING)}(?:(?P<machine>[0-9a-f]{{8}})\.)?(?P<pid>\d+)(?:\.\d+)?-(?P<aside>old-|gone-)?(?P<name>.+)"
)
# safetensors has its own error type and says the operating system's number in its text only.
OS_ERROR = re.compile(r"\(os error (\d+)\)$")


class NameTaken(Exception):
    """Something has the name of a file that must not replace anything."""


_STAGED = itertools.count(1)
# Gives a staged file its name: `land(partial, path)`.
Land = Callable[[Path, Path], object]


@contextmanager
def staged_file(path: Path, *, land: Land = os.replace, mode: int = 0o666) -> Iterator[Path]:
    """Yield an empty file beside `path` (same suffix), new and ours; on success it is synced and renamed to `path`.

    land: how it gets its name; `land_new` never replaces a file, `NewName` takes the next free name
    mode: less what the umask takes; 0o600 for what is nobody else's
    On any exception the staging file is removed and `path` stays as it was.
    Raises InvalidRequest when the folder cannot be written, WorkFailed when the disk is full.
    """
    partial = _staging_name(path)
    with _disk_errors(path):
        make_folder(path.parent)
        try:
            make_new(partial, mode)
            yield partial
            sync(partial)
            land(partial, path)
            sync(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def _staging_name(path: Path) -> Path:
    """One that no other process of any machine, and no other thread of this one, takes for the same file."""
    return path.with_name(f"{STAGING}{_this_process()}.{next(_STAGED)}-{path.name}")


def _this_process() -> str:
    return f"{this_machine()}.{os.getpid()}"


@cache
def this_machine() -> str:
    """Name this machine by eight hexadecimal digits, the first of those by which the agent knows it."""
    said = ""
    with suppress(OSError):
        said = MACHINE_ID_FILE.read_text().strip()
    return hashlib.sha256(f"t2v {said or os.uname().nodename}".encode()).hexdigest()[:8]


def land_new(partial: Path, path: Path) -> None:
    """Rename `partial` to `path` unless something is there by then, whoever writes meanwhile. Raises NameTaken."""
    try:
        try:
            os.link(partial, path)  # a rename would replace what came a moment before
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links: the name is taken first, and then filled
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            partial.replace(path)
    except FileExistsError as error:
        raise NameTaken(path.name) from error
    partial.unlink(missing_ok=True)


class NewName:
    """Lands a staged file under the first free one of `NAME`, `NAME-2`, `NAME-3`, …

    is_free: what else must hold of a name
    path:    where it landed
    """

    path: Path

    def __init__(self, is_free: Callable[[Path], bool]) -> None:
        self._is_free = is_free

    def __call__(self, partial: Path, wanted: Path) -> None:
        number = 1
        while True:
            path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
            number += 1
            if path.exists() or not self._is_free(path):
                continue
            with suppress(NameTaken):
                land_new(partial, path)
                self.path = path
                return


@contextmanager
def staged_directory(path: Path, *, sha256_of: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Yield a staging directory; on success write its manifest, sync everything and rename it to `path`.

    A directory that is already at `path` is replaced only after the new one is whole. Raises as `staged_file`.

    sha256_of: checksums by file name that are known by the end, since files of gigabytes are hashed while written
    """
    partial = _staging_name(path)
    with _disk_errors(path):
        make_folder(path.parent)
        try:
            partial.mkdir()
            yield partial
            seal(partial, sha256_of or {})
            replace_directory(partial, path)
            sync(path.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def replace_directory(new: Path, path: Path) -> None:
    """Put `new` in the place of `path`.

    `rename` cannot replace a directory that holds files, so the old one steps aside first.
    """
    if path.exists():
        old = path.with_name(f"{STAGING}{_this_process()}-old-{path.name}")
        path.replace(old)
        new.replace(path)
        shutil.rmtree(old)
    else:
        new.replace(path)


def remove_directory(path: Path) -> None:
    """Remove a directory so that a kill on the way never leaves half of it under its name."""
    gone = path.with_name(f"{STAGING}{_this_process()}-gone-{path.name}")
    path.replace(gone)
    shutil.rmtree(gone)


def sweep_staging(folder: Path) -> None:
    """Clear away what killed processes of this machine left under staging names; what is another machine's stays.

    A directory that had just stepped aside for its successor, when that did not get there any more, comes back.
    """
    for path in folder.glob(f"{STAGING}*"):
        parts = left_behind(path)
        if parts is None:
            continue
        if parts["aside"] == "old-" and not path.with_name(parts["name"]).exists():
            path.replace(path.with_name(parts["name"]))
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def left_behind(path: Path) -> re.Match[str] | None:
    """Return the parts of a staging name, by LEFT_BEHIND; None while its process runs, and for another machine's."""
    parts = LEFT_BEHIND.fullmatch(path.name)
    if parts is None or (parts["machine"] or this_machine()) != this_machine() or is_running(int(parts["pid"])):
        return None
    return parts


def is_running(pid: int) -> bool:
    """Tell whether a process of that id runs, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def seal(directory: Path, sha256_of: Mapping[str, str]) -> None:
    """Write `manifest.json` for the files of `directory`, last, after they are all on disk.

    sha256_of: what need not be read back
    """
    names = sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())
    files = {
        name: {
            "size_bytes": (directory / name).stat().st_size,
            "sha256": sha256_of.get(name) or sha256(directory / name),
        }
        for name in names
        if name != MANIFEST
    }
    for name in files:
        sync(directory / name)
    write_json(directory / MANIFEST, {"files": files})


class Incomplete(Exception):
    """A directory is not whole; the text says why, in a few words."""


def incompleteness(directory: Path, *, checksums: bool = False) -> str | None:
    """Return why `directory` is not complete, in a few words; None when it is.

    checksums: also read every file and compare its sha256 (about 1 GB/s)
    """
    try:
        complete_manifest(directory, checksums=checksums)
    except Incomplete as why:
        return str(why)
    return None


def complete_manifest(
    directory: Path, *, checksums: bool = False, object_hook: Callable[[dict[str, Any]], Any] | None = None
) -> dict[str, Any]:
    """Return the manifest of a directory whose files are all there in their sizes. Raises Incomplete.

    object_hook: what to keep of each JSON object, as `json.loads` has it; the manifest of 100,000 clips is 60 MB
    """
    try:
        text = read_bytes(directory / MANIFEST, MOST_MANIFEST_BYTES)
        manifest: dict[str, Any] = parsed(text, object_hook=object_hook)
        files = manifest["files"]
    except FileNotFoundError:
        raise Incomplete(f"no {MANIFEST}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise Incomplete(f"{MANIFEST} cannot be read") from None
    try:
        for name, entry in files.items():
            _require_whole(directory / name, name, entry["size_bytes"], entry["sha256"] if checksums else None)
    except (ValueError, KeyError, TypeError, AttributeError):  # a flipped bit can make another key of a key
        raise Incomplete(f"{MANIFEST} is damaged") from None
    return manifest


def _require_whole(file: Path, name: str, size_bytes: int, sha256_hex: str | None) -> None:
    """Raise Incomplete when a file is not what the manifest says; without a checksum, by its size alone."""
    try:
        if not file.is_file():
            raise Incomplete(f"{name} is missing")
        if file.stat().st_size != size_bytes:
            raise Incomplete(f"{name} has {file.stat().st_size} bytes instead of {size_bytes}")
        if sha256_hex is not None and sha256(file) != sha256_hex:
            raise Incomplete(f"{name} does not match its checksum")
    except OSError as error:
        raise Incomplete(f"{name} cannot be read: {error.strerror}") from error


def write_json(path: Path, value: Any, *, land: Land = os.replace) -> None:
    """Write `value` as readable JSON, whole or not at all. Raises NotFinite for a NaN, which JSON does not have."""
    text = json_text(path, value, indent=2)
    with staged_file(path, land=land) as partial:
        partial.write_text(text + "\n")


def json_text(path: Path, value: Any, **style: Any) -> str:
    """Return `value` as JSON that is meant for `path`; style: as of `json.dumps`.

    Raises NotFinite as `write_json` does.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, **style)
    except ValueError as error:
        if "float" not in str(error):
            raise
        raise NotFinite(
            f"{path} is not written: a value in it is not finite", hint="what was there before is untouched"
        ) from error


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote; a number that is none, as NaN, is None. Raises OSError, ValueError."""
    return parsed(read_bytes(path))


def sha256(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file, or a directory's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_writable(folder: Path) -> None:
    """Make `folder` and a file in it, and take the file away. Raises InvalidRequest when that cannot be done."""
    probe = folder / f"{STAGING}{_this_process()}-probe"
    with _disk_errors(folder):
        make_folder(folder)
        make_new(probe)
        probe.unlink()


def require_space(path: Path, size_bytes: int, what: str) -> None:
    """Raise WorkFailed before the work starts when `size_bytes` will not fit where `path` lies."""
    existing = next(p for p in (path, *path.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < size_bytes:
        raise WorkFailed(
            f"{what} needs {size(size_bytes)} at {existing}, and {size(free)} is free",
            hint="free some space, or use a workspace on a larger disk (--workspace)",
        )


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's word about the disk into one of ours."""
    try:
        yield
    except OSError as error:
        raise describe_os_error(error, path) from error
    except Exception as error:
        if number := OS_ERROR.search(str(error)):
            code = int(number[1])
            raise describe_os_error(OSError(code, os.strerror(code)), path) from error
        raise


def wrong_place(error: OSError) -> InvalidRequest | None:
    """Return the error for a path that cannot be used, whatever was to be done with it; None for another OSError."""
    if error.errno not in WRONG_PLACE or error.filename is None:
        return None
    said = error.strerror or os.strerror(error.errno)
    return InvalidRequest(f"{os.fsdecode(error.filename)}: {said}", hint="name another place, or fix what is wrong")


def describe_os_error(error: OSError, path: Path) -> EngineError:
    """Return the typed error for an OSError met while writing `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkFailed(
            f"the disk is full: {path} was not written; what was there before is untouched",
            hint="free some space and run the same command again",
        )
    if error.errno in WRONG_PLACE:
        return InvalidRequest(
            f"cannot write {path}: {error.strerror}", hint="choose another place, or fix its permissions"
        )
    return WorkFailed(f"writing {path} failed: {error.strerror or error}", hint="check the disk, then run again")
