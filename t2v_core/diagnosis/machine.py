"""Python, packages, memory and cores: what the operating system and the installed packages' own files tell."""

from __future__ import annotations

import platform
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from itertools import takewhile
from pathlib import Path

from t2v_core.diagnosis.check import Check, bad, good, odd
from t2v_core.format import counted, size
from t2v_core.machine import available_memory_bytes, cores, total_memory_bytes

OLDEST_PYTHON = (3, 11)
CHECKOUT = Path(__file__).resolve().parents[2]
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)[^;]*?>=\s*(?P<least>[0-9.]+)")
# A training process with torch and diffusers takes 0.45 GB before it holds a model.
LEAST_FREE_BYTES = 1_000_000_000


def examine_machine() -> Iterator[Check]:
    """Examine Python's version and the memory."""
    yield _python()
    yield _memory()


def _python() -> Check:
    where = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        return bad("python", f"{where}; t2v needs 3.11 or newer", "python3.11 -m venv .venv")
    return good("python", where)


def _memory() -> Check:
    total, free = total_memory_bytes(), available_memory_bytes()
    if not total:
        return good("memory", f"{counted_cores()}; this system does not say how much memory it has")
    told = f"{counted_cores()}, {size(total)} of memory, {size(free)} free"
    if free < LEAST_FREE_BYTES:
        return odd("memory", f"{told}: the tiny preset alone takes 0.6 GB", "ps aux --sort=-rss | head")
    return good("memory", told)


def counted_cores() -> str:
    """Return `1 core`, `8 cores`: those that this process may use."""
    return counted(cores(), "core")


def examine_packages() -> Iterator[Check]:
    """Examine the base install, the engine, and whether versions are the tested ones."""
    for extra, name in (("", "packages"), ("engine", "engine")):
        missing, old = _wanting(extra)
        if missing or old:
            which = ", ".join([*(f"{package} is missing" for package in missing), *old])
            yield bad(name, which, install_line(extra))
        else:
            yield good(name, f"{versions(SHOWN[extra])}: all as required")
    yield from _tested()


SHOWN = {"": ("t2v", "pydantic", "rich", "typer"), "engine": ("torch", "diffusers", "transformers", "accelerate", "av")}


def versions(names: tuple[str, ...]) -> str:
    """Return the installed packages among `names` with their versions, in one line."""
    return ", ".join(f"{name} {version}" for name in names if (version := installed(name)))


def engine_is_complete() -> bool:
    """Return True when no package of the engine is missing or too old."""
    return not any(_wanting("engine"))


def _wanting(extra: str) -> tuple[list[str], list[str]]:
    """Packages of an extra that are not there, and those that are too old, in words."""
    missing, old = [], []
    for name, least in requirements(extra):
        found = installed(name)
        if found is None:
            missing.append(name)
        elif _numbers(found) < _numbers(least):
            old.append(f"{name} {found} is older than {least}")
    return missing, old


def requirements(extra: str) -> list[tuple[str, str]]:
    """Return (name, oldest version) of what t2v itself requires, or of one of its extras."""
    wanted = []
    for line in _required_lines():
        requirement, _, marker = line.partition(";")
        found = REQUIREMENT.match(requirement.strip())
        if found and marker.strip().replace("'", '"') == (f'extra == "{extra}"' if extra else ""):
            wanted.append((found["name"], found["least"]))
    return wanted


def _required_lines() -> list[str]:
    """As the metadata of an installed t2v has them; run from a folder, as its pyproject.toml does."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.requires("t2v") or []
    file = CHECKOUT / "pyproject.toml"
    if not file.is_file():
        return []
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].items()
    return [*project["dependencies"], *(f'{line}; extra == "{name}"' for name, lines in extras for line in lines)]


def installed(name: str) -> str | None:
    """Return the installed version of a package; None when it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    """`2.13.0+cpu` → [2, 13, 0]; what comes after the numbers, as `rc1`, does not count."""
    parts = (re.match(r"\d+", part) for part in version.partition("+")[0].split("."))
    return [int(part[0]) for part in takewhile(lambda part: part is not None, parts) if part]


def _tested() -> Iterator[Check]:
    """Only a checkout has the list of what is tested."""
    file = CHECKOUT / "constraints.txt"
    if not file.is_file() or not engine_is_complete():
        return
    pinned = dict(line.strip().split("==") for line in file.read_text().splitlines() if "==" in line)
    ours = {name for extra in SHOWN for name, _ in requirements(extra)}
    others = [
        f"{name} {found} (tested: {pinned[name]})"
        for name in sorted(ours & pinned.keys())
        if (found := installed(name)) and _numbers(found) != _numbers(pinned[name])
    ]
    if others:
        yield odd("versions", f"other than the tested ones: {', '.join(others)}", install_line("engine"))
    else:
        yield good("versions", "the tested ones")


def install_line(extra: str) -> str:
    """Return the line that installs, with the Python that runs this, from the checkout when there is one."""
    what = f"[{extra}]" if extra else ""
    if not (CHECKOUT / "pyproject.toml").is_file():
        return f"pip install {shlex.quote(f't2v{what}')}"
    pip = f"{shlex.quote(sys.executable)} -m pip install"
    constraints = shlex.quote(str(CHECKOUT / "constraints.txt"))
    return f"{pip} -c {constraints} -e {shlex.quote(f'{CHECKOUT}{what}')}"
