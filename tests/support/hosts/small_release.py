"""This project as a checkout that a bare host can be given without a download: it asks for one small package only."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import sys
import zipfile
from dataclasses import fields
from pathlib import Path

from remote.setup.release import Release, current_release

ROOT = Path(__file__).resolve().parents[3]
BUNDLES: dict[object, bytes] = {}
SMALL_BYTES = 100_000_000  # a venv with the small package; the engine takes 12 GB


def small_checkout(folder: Path) -> Path:
    """The project as it stands, except that `small-thing` is all that it needs, and the disk that it takes."""
    for name in ("t2v_core", "remote", "t2v_tui"):
        shutil.copytree(ROOT / name, folder / name)
    project = (ROOT / "pyproject.toml").read_text()
    project, count = re.subn(r"^(dependencies|engine) = \[.*?^\]", r'\1 = ["small-thing"]', project, flags=re.M | re.S)
    assert count == 2
    file = folder / "remote/setup/bootstrap.py"
    text, count = re.subn(r"^INSTALL_BYTES = .*", f"INSTALL_BYTES = {SMALL_BYTES}", file.read_text(), flags=re.M)
    assert count == 1
    file.write_text(text)
    (folder / "pyproject.toml").write_text(project)
    (folder / "constraints.txt").write_text("small-thing==1.0\nother-thing==2.0\n")
    shutil.copy(ROOT / "README.md", folder)
    return folder


class BuiltOnce(Release):
    """A release whose wheel pip builds for the first that wants it: the same release gives the same bytes each time."""

    def bundle(self) -> bytes:
        made_of = (tuple(sorted(self.files.items())), self.requirements, self.web, self.constraints)
        if made_of not in BUNDLES:
            BUNDLES[made_of] = super().bundle()
        return BUNDLES[made_of]


def built_once(checkout: Path) -> Release:
    found = current_release(checkout)
    return BuiltOnce(**{field.name: getattr(found, field.name) for field in fields(found)})


def write_package(folder: Path, **more: str) -> None:
    """small_thing 1.0 as a wheel: enough for pip. more: other files of it, by name, with `_` for `.`"""
    folder.mkdir()
    info = "small_thing-1.0.dist-info"
    files = {
        "small_thing.py": "answer = 42\n",
        **{name.replace("_", "."): text for name, text in more.items()},
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: small-thing\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / "small_thing-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        rows = [f"{name},sha256={sha256_of(text)},{len(text.encode())}\n" for name, text in files.items()]
        wheel.writestr(f"{info}/RECORD", "".join([*rows, f"{info}/RECORD,,\n"]))


def sha256_of(text: str) -> str:
    """As a wheel's RECORD has it."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def write_engine(folder: Path) -> None:
    """The same as a package that lets another Python of this version find what is installed here."""
    lent = [path for path in sys.path if path.endswith("-packages")]
    write_package(folder, engine_pth="".join(f"{path}\n" for path in lent))


def only_packages_of(folder: Path, home: Path) -> None:
    """pip there looks into that folder, and nowhere else."""
    (home / ".config/pip").mkdir(parents=True)
    (home / ".config/pip/pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {folder}\n")
