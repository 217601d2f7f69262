"""The previous system's `.pt` checkpoints as files: their names, and whether one is whole, without torch."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

from t2v_core.disk.opening import open_file

FINAL = "final_model.pt"
NAME = re.compile(r"checkpoint_epoch_(\d+)\.pt$")
ORIGIN = "previous system"


def epoch_in_name(path: Path) -> int | None:
    """Return N of `checkpoint_epoch_N.pt`; None for another name."""
    found = NAME.fullmatch(path.name)
    return int(found[1]) if found else None


def old_files(folder: Path) -> list[Path]:
    """List the `.pt` checkpoints of a folder by their names, the newest epoch last; `final_model.pt` stands first."""
    found = [path for path in folder.glob("*.pt") if path.is_file() and (NAME.fullmatch(path.name) or _is_final(path))]
    return sorted(found, key=lambda path: (epoch_in_name(path) or -1, path.name))


def _is_final(path: Path) -> bool:
    return path.name == FINAL


def wrong_with(path: Path) -> str | None:
    """Return why a file is not whole, in a few words, from its directory alone; None when it seems to be."""
    try:
        with open_file(path) as file:
            start = file.read(4)
        if not start:
            return "it has no bytes"
        if start != b"PK\x03\x04":
            return "it is not a file that torch.save wrote"
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, EOFError):
        return "it is cut off or damaged: its end is missing"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return None if any(name.endswith("/data.pkl") for name in names) else "it is an archive of something else"
