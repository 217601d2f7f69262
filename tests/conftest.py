"""For every test file: temporary space that is given back, nothing left behind, and a word on what was left out."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from multiprocessing.util import get_temp_dir
from pathlib import Path

import pytest
from support.house.left_behind import KEPT, outlived
from support.house.needs import left_out
from support.house.readable_ids import id_of
from support.warm import python

SLOWEST = Path(__file__).with_name("slowest.txt")  # by seconds beside others, the longest first


def own_space(config: pytest.Config) -> Path:
    """The folder in which pytest gives each test its own; pytest-xdist asks for it in the same way."""
    return Path(config._tmp_path_factory.getbasetemp())


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """This process and all that it starts put temporary files beside the tests' own folders, and gone with them.

    It is set before torch is imported, which makes a folder at once.
    """
    get_temp_dir()  # multiprocessing removes its own when this process ends, which is later
    folder = own_space(config) / "t"
    folder.mkdir()
    os.environ["TMPDIR"] = str(folder)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(own_space(config) / "hypothesis")
    tempfile.tempdir = None
    python.install(own_space(config) / "python")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that none of them is left running alone at the end."""
    if not hasattr(config, "workerinput"):
        return
    sizes = Counter(item.path for item in items)
    slowest = [config.rootpath / line for line in SLOWEST.read_text().splitlines()]
    ranks = {path: rank for rank, path in enumerate([*slowest, *sorted(sizes, key=lambda path: -sizes[path])][::-1])}
    items.sort(key=lambda item: -ranks[item.path])


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name the cases of a test by what they say."""
    return id_of(val)


def pytest_collection_finish() -> None:
    """A million objects of libraries and tests stay to the end: nobody need look among them for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def products_as_in_a_new_process() -> None:
    """A large model has those of its whole process computed by another library, which rounds otherwise."""
    if (cpu := sys.modules.get("t2v_core.models.cpu")) is not None:
        cpu.multiply_with_mkl()


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test file fails that leaves a process or a temporary file; what its fixtures made is removed when it passed."""
    base, failed_before = own_space(request.config), request.session.testsfailed
    temporary_folder = base / "t"
    made_before, there_before = set(base.iterdir()), set(temporary_folder.iterdir())
    yield
    left = [f"process {pid}: {command}" for pid, command in outlived(base).items()]
    files = [path for path in temporary_folder.iterdir() if path not in there_before]
    left += [f"file {path}" for path in files if not path.name.startswith(KEPT)]
    if request.session.testsfailed == failed_before:
        for folder in set(base.iterdir()) - made_before:
            shutil.rmtree(folder, ignore_errors=True)
        assert not left, "left behind by this file's tests:\n" + "\n".join(left)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Behind everything else, how many tests were left out for want of what, and the line that mends it."""
    yield
    reports = terminalreporter.stats.get("skipped", [])
    lines = left_out(str(report.longrepr[2]) for report in reports if isinstance(report.longrepr, tuple))
    if lines:
        terminalreporter.section("left out")
        for line in lines:
            terminalreporter.write_line(line)
