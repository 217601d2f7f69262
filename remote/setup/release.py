"""What travels to a host: this project's wheel with the pins it was tested with, under the hash of what goes into it.

The hash is of the inputs, so that asking whether a host has the release needs no build.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from remote.errors import CannotStart

PACKAGES = ("t2v_core", "remote", "t2v_tui")
BESIDE = ("pyproject.toml", "README.md", "constraints.txt", "LICENSE")
# On a host the pins lie beside the packages; pip puts them where pyproject.toml's data-files says.
PINS_WHEN_INSTALLED = Path("share/t2v/constraints.txt")
SETUPTOOLS_FROM = 77  # pyproject.toml's [build-system]
BUILD_TIMEOUT_S = 300.0
HASH_DIGITS = 16
# Zip entries have a date; with one of their own each build would be other bytes, and no upload could be gone on with.
EPOCH = "315532800"  # 1980-01-01, the earliest that a zip can hold


@dataclass(frozen=True)
class Release:
    """One state of this project.

    name:         hash of its files, pins included; the name of its folder on a host
    requirements: what the engine needs, as pip reads it
    constraints:  the tested version of each, as pip reads it; "" when this t2v came without
    files:        content by path; a checkout's when it has a pyproject.toml, else those of an installed wheel
    web:          what the page of `t2v web` needs besides, installed by the first page that runs there
    """

    name: str
    requirements: tuple[str, ...]
    constraints: str
    files: dict[str, bytes]
    web: tuple[str, ...] = ()

    @property
    def requirements_sha256(self) -> str:
        """Return a hash that changes when something else has to be installed."""
        return hashlib.sha256(_lines(self.requirements) + b"\0" + self.constraints.encode()).hexdigest()

    def bundle(self) -> bytes:
        """Return a zip of the wheel's files, both lists of requirements and `constraints.txt`.

        The same release gives the same bytes each time.

        Raises CannotStart when the wheel cannot be built.
        """
        members = self._wheel() if "pyproject.toml" in self.files else self.files
        members = members | {
            "requirements.txt": _lines(self.requirements),
            "requirements-web.txt": _lines(self.web),
            "constraints.txt": self.constraints.encode(),
        }
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            for path, content in sorted(members.items()):
                file.writestr(zipfile.ZipInfo(path), content, zipfile.ZIP_DEFLATED)
        return buffer.getvalue()

    def _wheel(self) -> dict[str, bytes]:
        """Built from a copy: setuptools leaves `build/` behind, and what was deleted since lives on in there."""
        with tempfile.TemporaryDirectory(prefix="t2v-release-") as folder:
            source, out = Path(folder, "source"), Path(folder, "out")
            for path, content in self.files.items():
                (source / path).parent.mkdir(parents=True, exist_ok=True)
                (source / path).write_bytes(content)
            _pip_wheel(source, out)
            with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
                return {path: wheel.read(path) for path in wheel.namelist()}


def current_release(root: Path | None = None) -> Release:
    """Return the release of the t2v that runs. root: another checkout than the one this module is in."""
    root = root or Path(__file__).resolve().parents[2]
    if (root / "pyproject.toml").exists():
        files = _checkout_files(root)
        project = tomllib.loads(files["pyproject.toml"].decode())["project"]
        extras = project["optional-dependencies"]
        requirements, web = [*project["dependencies"], *extras["engine"]], extras["web"]
        constraints = files.get("constraints.txt", b"").decode()
    else:
        found = importlib.metadata.distribution("t2v")
        files, requires = _installed_files(found), found.requires or []
        requirements = [*requirements_of(requires, None), *requirements_of(requires, "engine")]
        web = requirements_of(requires, "web")
        pins = (root / "constraints.txt", Path(sys.prefix) / PINS_WHEN_INSTALLED)
        constraints = next((path.read_text() for path in pins if path.exists()), "")
    others = tuple(line for line in web if not line.startswith("t2v["))  # it names our own extra, which is there
    return Release(_hash_of(files, constraints), tuple(requirements), constraints, files, others)


def requirements_of(requires: list[str], extra: str | None) -> list[str]:
    """Return of a wheel's Requires-Dist lines those of one extra, or with None those that everybody needs."""
    needed = []
    for line in requires:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        if "extra" not in marker:
            needed += [line] if extra is None else []
        elif marker.replace("'", '"').replace(" ", "") == f'extra=="{extra}"':
            needed.append(requirement)
    return needed


def _lines(requirements: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in requirements).encode()


def _checkout_files(root: Path) -> dict[str, bytes]:
    files = {name: (root / name).read_bytes() for name in BESIDE if (root / name).exists()}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                files[path.relative_to(root).as_posix()] = path.read_bytes()
    return files


def _installed_files(found: importlib.metadata.Distribution) -> dict[str, bytes]:
    """What a wheel brought; not what pip wrote beside it about this machine."""
    files = {}
    for path in found.files or []:
        top = PurePosixPath(path).parts[0]
        is_metadata = top.endswith(".dist-info") and path.name in ("METADATA", "WHEEL", "entry_points.txt")
        if is_metadata or (top in PACKAGES and "__pycache__" not in path.parts):
            files[path.as_posix()] = Path(str(path.locate())).read_bytes()
    return files


def _hash_of(files: dict[str, bytes], constraints: str) -> str:
    digest = hashlib.sha256(constraints.encode())
    for path, content in sorted(files.items()):
        digest.update(f"\0{path}\0{hashlib.sha256(content).hexdigest()}".encode())
    return digest.hexdigest()[:HASH_DIGITS]


def _pip_wheel(source: Path, out: Path) -> None:
    argv = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--disable-pip-version-check"]
    # Without isolation nothing is fetched; with it, pip gets setuptools for this build.
    argv += ["--no-build-isolation"] if _setuptools_version() >= SETUPTOOLS_FROM else []
    environment = os.environ | {"SOURCE_DATE_EPOCH": EPOCH}
    try:
        subprocess.run(
            [*argv, "--wheel-dir", str(out), str(source)],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
            timeout=BUILD_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        said = [line.strip() for line in (error.stderr or error.stdout).splitlines() if line.strip()]
        why = next((line for line in said if line.lower().startswith("error")), said[-1] if said else "no reason given")
        raise CannotStart(f"the wheel of t2v cannot be built: {why}", "pip install 'setuptools>=77'") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotStart(f"the wheel of t2v cannot be built: {error}", "try again") from error


def _setuptools_version() -> int:
    try:
        return int(importlib.metadata.version("setuptools").partition(".")[0])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return 0
