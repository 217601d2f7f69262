"""No generator holds threads while it waits to be asked: whichever thread collects it would have to wait for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOLD_THREADS = {"ThreadPoolExecutor", "in_order", "decode_ahead", "read_shards"}
HELD = "def bad():\n with ThreadPoolExecutor(1) as pool:\n  yield pool"


def generators_with_threads(source: str) -> Iterator[str]:
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef) or "contextmanager" in map(ast.unparse, function.decorator_list):
            continue
        parts = list(ast.walk(function))
        if any(isinstance(part, ast.Yield | ast.YieldFrom) for part in parts):
            called = {ast.unparse(part.func) for part in parts if isinstance(part, ast.Call)}
            yield from (f"{function.name}: {name}" for name in called & HOLD_THREADS)


@pytest.mark.parametrize("package", ["remote", "t2v_core", "t2v_tui"])
def test_no_generator_holds_threads(package: str) -> None:
    sources = {path: path.read_text() for path in (ROOT / package).rglob("*.py")}
    found = {
        str(path.relative_to(ROOT)): held
        for path, text in sources.items()
        if (held := [*generators_with_threads(text)])
    }
    assert found == {}


def test_one_that_does_is_found() -> None:
    assert [*generators_with_threads(HELD)] == ["bad: ThreadPoolExecutor"]
    assert [*generators_with_threads(f"@contextmanager\n{HELD}")] == []
