"""A folder in a bucket, or behind another address that fsspec reads; a fetch goes on from where one broke off."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from t2v_core.disk.plain_json import MOST_MANIFEST_BYTES
from t2v_core.errors import EngineError, InvalidRequest, WorkFailed
from t2v_core.processes.in_order import in_order

PIECE_BYTES = 8 << 20
THREADS = 4
# A store that is overloaded asks for a pause; what lasts longer is told.
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
FORBIDDEN = (401, 403)
SIGN_IN = {
    "gs": "gcloud auth application-default login, on the machine that trains",
    "gcs": "gcloud auth application-default login, on the machine that trains",
    "s3": "aws configure, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, on the machine that trains",
}
R = TypeVar("R")


def require_address(url: str) -> str:
    """Return the protocol of an address such as gs://bucket/folder. Raises InvalidRequest."""
    import fsspec  # only for who asks for it; so in `_files`
    from fsspec.registry import known_implementations

    protocol, mark, rest = url.partition("://")
    if not (protocol and mark and rest) or "::" in url:
        raise InvalidRequest(
            f"--latents = {url!r} is not an address", hint="gs://bucket/folder, s3://bucket/folder, https://host/folder"
        )
    if protocol not in known_implementations:
        raise InvalidRequest(
            f"--latents = {url!r}: fsspec knows no {protocol}://", hint="gs, s3, https, file and others of fsspec"
        )
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        package = _package_of(str(known_implementations[protocol]["class"]), error)
        raise InvalidRequest(
            f"{protocol}:// needs {package}, which is not installed here",
            hint=f"pip install {package}, in the environment of the engine on the machine that trains",
        ) from error
    return protocol


def _package_of(implementation: str, error: ImportError) -> str:
    """The package that fsspec wants: its table has `gcsfs.GCSFileSystem`, and of its own modules the missing one."""
    top = implementation.partition(".")[0]
    if top != "fsspec":
        return top
    return getattr(error.__cause__ or error, "name", None) or f"a package ({error})"


class Source:
    """One folder there. url: without a slash at its end"""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.protocol = require_address(self.url)
        self._system: tuple[int, Any] | None = None  # (process, file system): its thread does not live on in a fork

    def __str__(self) -> str:
        return self.url

    def at(self, name: str) -> Source:
        """Return a folder in it."""
        return Source(f"{self.url}/{name}")

    def read(self, name: str) -> bytes | None:
        """Return a small file whole; None where there is none. Raises InvalidRequest and WorkFailed."""
        address = f"{self.url}/{name}"

        try:  # not `open`, which takes whatever a web server refuses for a file that is not there
            return self._patiently(
                address, lambda: bytes(self._files().cat_file(address, start=0, end=MOST_MANIFEST_BYTES))
            )
        except FileNotFoundError:
            return None

    def fetch(self, name: str, size_bytes: int, to: Path) -> None:
        """Append what `to` lacks of a file; pieces come side by side and are written in order.

        Raises WorkFailed when the file there ends early, or cannot be read for a while.
        """
        address, begin = f"{self.url}/{name}", to.stat().st_size
        if begin > size_bytes:
            os.truncate(to, begin := 0)

        def piece(start: int) -> bytes:
            return self._patiently(address, lambda: self._piece(address, start, min(start + PIECE_BYTES, size_bytes)))

        starts = range(begin, size_bytes, PIECE_BYTES)
        try:
            with to.open("ab") as file, in_order(piece, starts, threads=THREADS, ahead=THREADS) as pieces:
                for data in pieces:
                    file.write(data)
        except FileNotFoundError:
            raise WorkFailed(f"{address} is gone", hint="its manifest names it: bring the folder there again") from None

    def _piece(self, address: str, start: int, stop: int) -> bytes:
        data = bytes(self._files().cat_file(address, start=start, end=stop))
        if len(data) > stop - start:  # a web server that knows no ranges sends all
            data = data[start:stop]
        if len(data) != stop - start:
            said = f"{address} ends after {start + len(data)} bytes, before its manifest says"
            raise WorkFailed(said, hint="bring the folder there again, whole")
        return data

    def _files(self) -> Any:
        import fsspec

        if self._system is None or self._system[0] != os.getpid():
            self._system = (os.getpid(), fsspec.filesystem(self.protocol))
        return self._system[1]

    def _patiently(self, address: str, ask: Callable[[], R]) -> R:
        """Ask again for a while where that may help. Raises FileNotFoundError, InvalidRequest, WorkFailed."""
        for pause_s in (*PAUSES_S, None):
            try:
                return ask()
            except (EngineError, FileNotFoundError):
                raise
            except Exception as error:  # every file system has its own kinds, and some derive from nothing in common
                if _is_refusal(error):
                    raise self._refused(address, error) from error
                if pause_s is None:
                    raise WorkFailed(
                        f"{address} cannot be read: {_in_a_line(error)}",
                        hint="what has come is kept: t2v train --resume goes on with it",
                    ) from error
            time.sleep(pause_s)
        raise AssertionError("the last pause is None")

    def _refused(self, address: str, error: Exception) -> InvalidRequest:
        return InvalidRequest(
            f"{address} may not be read from here: {_in_a_line(error)}",
            hint=SIGN_IN.get(self.protocol, "credentials that may read it, on the machine that trains"),
        )


def _is_refusal(error: Exception) -> bool:
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
    status = getattr(error, "status", None) or getattr(error, "code", None)
    return isinstance(error, PermissionError) or "Credential" in kinds or status in FORBIDDEN


def _in_a_line(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:200]}" if said else type(error).__name__
