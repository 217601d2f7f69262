"""Each benchmark starts and finds what it imports of ours: none of them runs with the tests, and names move."""

from __future__ import annotations

import ast
import importlib
import os
import runpy
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib.machinery import PathFinder
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.engine.engine import TIMEOUT_S
from support.engine.forked_command import FORKS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FILES = sorted(BENCHMARKS.rglob("*.py"))
NEIGHBOURS = {file.stem: file for file in FILES}
OURS = NEIGHBOURS.keys() | {"support", "simulated", "t2v_core", "remote", "t2v_tui"}


def is_program(file: Path) -> bool:
    return 'if __name__ == "__main__"' in file.read_text()


def imports_of_ours(file: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in OURS:
            yield from ((node.module, one.name) for one in node.names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_benchmark_finds_what_it_imports(file: Path) -> None:
    for module, name in imports_of_ours(file):
        if module in NEIGHBOURS:
            assert name in names_in(NEIGHBOURS[module]), f"{module} has no {name}"
        else:
            found = importlib.import_module(module)
            assert hasattr(found, name) or importlib.import_module(f"{module}.{name}"), f"{module} has no {name}"


@pytest.mark.parametrize("file", filter(is_program, FILES), ids=lambda file: file.stem)
def test_from_the_root_of_the_project_a_benchmark_says_what_it_is_for(file: Path, tmp_path: Path) -> None:
    said = tmp_path / "said"
    process = FORKS.Process(target=ask_for_help, args=(file, said))
    process.start()
    process.join(TIMEOUT_S)
    assert (process.exitcode, said.read_text().startswith("usage: ")) == (0, True)


def ask_for_help(file: Path, said: Path) -> None:
    """As `python benchmarks/…/FILE.py --help` in the root of the project, where torch need not be imported first."""
    os.chdir(BENCHMARKS.parent)
    with said.open("w") as stdout, redirect_stdout(stdout):
        sys.path[0], sys.argv = str(file.parent), [str(file), "--help"]
        runpy.run_path(str(file), run_name="__main__")


def test_the_rooms_of_the_benchmarks_hold_no_two_of_one_name() -> None:
    assert len(NEIGHBOURS) == len(FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_a_benchmark_puts_on_the_path_hides_no_package_of_ours(file: Path) -> None:
    """A folder of tests, and a benchmark, are named as the packages are."""
    lines = [ast.unparse(node) for node in ast.parse(file.read_text()).body if isinstance(node, ast.Assign | ast.Expr)]
    path = [str(file.parent)]
    told = "\n".join(line for line in lines if "__file__" in line or "sys.path" in line)
    exec(told, {"sys": SimpleNamespace(path=path), "Path": Path, "__file__": str(file)})  # noqa: S102 - its own lines
    for name in ("t2v_core", "remote", "t2v_tui"):
        found = PathFinder.find_spec(name, path)
        if found is not None:  # otherwise what is installed
            assert found.origin == str(BENCHMARKS.parent / name / "__init__.py")


def names_in(file: Path) -> set[str]:
    """What a module defines at its top, without running it."""
    names = set[str]()
    for node in ast.parse(file.read_text()).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Assign():
                for target in node.targets:
                    names |= {one.id for one in ast.walk(target) if isinstance(one, ast.Name)}
            case ast.AnnAssign(target=ast.Name() as one):
                names.add(one.id)
    return names
