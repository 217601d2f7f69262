"""Files that nobody means to name: each kind made on demand, in a folder of its own or in the place of a good file."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import socket
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MARK = "code-was-run"


class _RunsCode:
    """Unpickled by whoever trusts it, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.mark),)


def _pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(_RunsCode(path.parent / MARK)))


def _torch_zip(path: Path) -> None:
    """As torch.save writes it, with a pickle that wants code run."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(_RunsCode(path.parent / MARK), protocol=2))
        file.writestr("archive/version", "3\n")
        file.writestr("archive/byteorder", "little")


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../outside.txt", "no")
        file.writestr("inside.txt", "yes")


def _mp4(path: Path, size_bytes: int) -> None:
    box = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\x10\0\0mdat" + bytes(range(256)) * 40
    path.write_bytes(box[:size_bytes])


def _socket(path: Path) -> None:
    """A socket's address may have 107 bytes, and a test's folder has more."""
    before = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.fchdir(before)
        os.close(before)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _full_folder(path: Path) -> None:
    path.mkdir()
    (path / "a file in it.txt").write_text("mine")


def _closed_folder(path: Path) -> None:
    _full_folder(path)
    path.chmod(0o500)


def _unreadable(path: Path) -> None:
    path.write_text("secret")
    path.chmod(0)


def _text(content: str | bytes) -> Callable[[Path], None]:
    data = content if isinstance(content, bytes) else content.encode()

    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


def _safetensors(header: bytes, size: int | None = None) -> bytes:
    return (len(header) if size is None else size).to_bytes(8, "little") + header


def _huge(path: Path) -> None:
    """A terabyte, of which nothing is on the disk."""
    with path.open("wb") as file:
        file.truncate(2**40)


# What can lie where a file or a folder is expected.
FORMS: dict[str, Callable[[Path], None]] = {
    "nothing": lambda _path: None,
    "an empty file": _text(b""),
    "random bytes": _text(random.Random(7).randbytes(5000)),
    "zeros": _text(bytes(5000)),
    "a folder": Path.mkdir,
    "a folder with something": _full_folder,
    "a closed folder": _closed_folder,
    "a FIFO": os.mkfifo,
    "a socket": _socket,
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": _loop,
    "a link to a device": lambda path: path.symlink_to("/dev/full"),
    "an unreadable file": _unreadable,
    "a cut mp4": lambda path: _mp4(path, 5000),
    "the head of an mp4": lambda path: _mp4(path, 24),
    "a zip": _zip,
    "a pickle that wants code run": _pickle,
    "a .pt that wants code run": _torch_zip,
    "a file of a terabyte": _huge,
    "JSON: null": _text("null"),
    "JSON: a number": _text("1e999"),
    "JSON: NaN": _text('{"step": NaN, "files": NaN, "settings": NaN}'),
    "JSON: a list": _text('[1, "two", null, [], {}]'),
    "JSON: a list of lists": _text("[[[]]]"),
    "JSON: an empty object": _text("{}"),
    "JSON: deep": _text("[" * 100_000),
    "JSON: half": _text('{"files": {"a": {"size_bytes": 1'),
    "JSON: other types": _text(json.dumps({
        "format": "one", "step": "x", "epoch": None, "files": [1], "spec": 3, "model": [], "sampler": "s", "state": 7,
        "latents": {"shape": "x", "encoder": 1}, "text": 4, "videos": 5, "sentences": {}, "settings": [], "t": "now",
        "pid": "me", "code": "zero", "ended": [], "paths": 1, "kind": 3, "video_id": {}, "caption": 5, "hosts": 5,
        "jobs": {"a": 1}, "rows": "x", "clips": 3, "size_bytes": "big", "started": "today", "verb": 8, "argv": 1,
    })),
    "JSON: negative": _text('{"format": -1, "step": -5, "epoch": -1, "pid": -1, "code": -300, "ended": -1e308}'),
    "a line of 5,000 digits": _text("9" * 5000),
    "half a UTF-8 sign": _text("caf\u00e9".encode()[:-1]),
    "UTF-16": _text("a = 1\n".encode("utf-16")),
    "a NUL": _text(b"a\0b\n"),
    "escape sequences": _text("\x1b[2J\x1b]0;x\x07 = 3\n"),
    "TOML of wrong types": _text('data = 5\n[train]\nepochs = "many"\n[host]\nx = 3\n'),
    "TOML: sections are values": _text("train = 1\nhost = 2\ntui = 3\n"),
    "a header of safetensors that is too long": _text(_safetensors(b"{}", 2**62)),
    "safetensors of nothing": _text(_safetensors(b"{}")),
    "safetensors of wrong types": _text(
        _safetensors(b'{"latents":{"dtype":"F16","shape":[-1],"data_offsets":[9,1]},"__metadata__":{"settings":"5"}}')
    ),
}  # fmt: skip
# What can be named and is no file of ours.
NAMED: dict[str, str] = {
    "nothing there": "no/such/place.mp4", "the root": "/", "/dev/null": "/dev/null", "/dev/full": "/dev/full",
    "/dev/zero": "/dev/zero", "its own memory": "/proc/self/mem", "its own folder": ".", "below a file": "in.mp4/x.mp4",
    "a name too long": "n" * 300 + ".mp4", "a path too long": "/".join(["deep"] * 1200) + "/x.mp4",
    "a name that is no UTF-8": "caf\udce9.mp4", "a file of something else": "notes.txt", "a good video": "in.mp4",
    "a good checkpoint": "checkpoints", "a video of emoji": "👩‍👩‍👧‍👦.gif", "the settings": "t2v.toml",
}  # fmt: skip


def put(form: str, path: Path) -> None:
    """Make `path` that form of thing; a folder that is not there yet is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    FORMS[form](path)


def take_away(path: Path) -> None:
    """Whatever it is, out of a folder that was closed as well."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        path.parent.chmod(0o700)
    if path.is_dir() and not path.is_symlink():
        for folder in [path, *(one for one in path.rglob("*") if one.is_dir() and not one.is_symlink())]:
            with suppress(OSError):
                folder.chmod(0o700)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
