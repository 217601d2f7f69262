"""Virtual environments in which pip lies ready, as a copy of the tests' own.

`python -m venv` has ensurepip install pip out of its wheel, which takes 5 s of a core for each environment; what lies
there afterwards is the same. A host's Python has this file in its packages, and needs nothing else of the tests.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import time
from importlib.metadata import distribution
from pathlib import Path

HOLDS = "holds"


def make_venv_with_pip(folder: Path) -> Path:
    """As `python -m venv` makes it; returns its site-packages."""
    site = make_venv_without(folder)
    pip = distribution("pip")
    files = [path for path in pip.files or () if path.parts[0] != ".." and path.suffix != ".pyc"]
    for path in files:
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(str(path.locate()), site / path)
    [record] = site.glob("pip-*.dist-info/RECORD")
    rows = record.read_text().splitlines(keepends=True)
    record.write_text("".join(row for row in rows if not row.startswith("..")))  # programs in bin/, which are not there
    shutil.copytree(Path(sysconfig.get_path("purelib"), "pip"), site / "pip", dirs_exist_ok=True)  # as it is compiled
    return site


def make_venv_without(folder: Path) -> Path:
    """As `python -m venv --without-pip` makes it; returns its site-packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=240)
    [site] = folder.glob("lib/python*/site-packages")
    return site


def host_python(folder: Path) -> Path:
    """Make a host's own Python, whose `-m venv` lays pip; returns the folder for its PATH."""
    site = make_venv_with_pip(folder)
    shutil.copy(__file__, site / "laid_pip.py")
    (site / "laid_pip.pth").write_text("import laid_pip; laid_pip.in_place_of_ensurepip()\n")
    return folder / "bin"


def hold(folder: Path) -> Path:
    """Let an environment that this host's Python makes not become ready before the returned file is gone."""
    (folder / HOLDS).touch()
    return folder / HOLDS


def in_place_of_ensurepip() -> None:
    """In `python -m venv`: what lies here is copied."""
    if sys.orig_argv[-3:-1] != ["venv", "--clear"]:
        return
    import venv

    def laid(_: object, context: object) -> None:
        while Path(sys.prefix, HOLDS).exists():
            time.sleep(0.01)
        [here] = Path(sys.prefix).glob("lib/python*/site-packages")
        [there] = Path(vars(context)["env_dir"]).glob("lib/python*/site-packages")
        for source in here.glob("pip*"):
            shutil.copytree(source, there / source.name)

    vars(venv)["EnvBuilder"]._setup_pip = laid
