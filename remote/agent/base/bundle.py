"""The agent as one piece of bytes: what travels to a host, and what its hash is taken of on either side."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def bundle(folder: Path) -> bytes:
    """Return every module by its path below the folder; the same bytes wherever and whenever the same modules lie."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    modules = {name: path.read_text(encoding="utf-8") for name, path in found.items()}
    return json.dumps(modules, sort_keys=True).encode()


def bundle_sha256(folder: Path) -> str:
    """Return the sha256 of `bundle`, in hex."""
    return hashlib.sha256(bundle(folder)).hexdigest()
