"""What gcloud's own configuration says: read from its files and variables, since a call of gcloud takes two seconds."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

# Section and key in the file, by what we ask for; the variable is CLOUDSDK_SECTION_KEY.
PLACES = {"project": ("core", "project"), "zone": ("compute", "zone"), "account": ("core", "account")}


def gcloud_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return `~/.config/gcloud`, or where CLOUDSDK_CONFIG says."""
    return Path(environ.get("CLOUDSDK_CONFIG") or Path(environ.get("HOME") or Path.home()) / ".config/gcloud")


def gcloud_says(what: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return `project`, `zone` or `account` as gcloud itself would take it.

    Its variable comes first, then its active configuration.

    None when it says nothing, or its files cannot be read.
    """
    section, key = PLACES[what]
    return environ.get(f"CLOUDSDK_{section}_{key}".upper()) or _in_file(gcloud_folder(environ), section, key, environ)


def _in_file(folder: Path, section: str, key: str, environ: Mapping[str, str]) -> str | None:
    name = environ.get("CLOUDSDK_ACTIVE_CONFIG_NAME") or _text(folder / "active_config") or "default"
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(_text(folder / "configurations" / f"config_{name}"))
    except configparser.Error:
        return None
    return parser.get(section, key, fallback=None) or None


def _text(file: Path) -> str:
    """Of a file that may not be there, or not be ours to read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
