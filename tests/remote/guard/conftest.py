"""The machine that the guard of most tests looks after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hosts.guarded import Guarded, guarded


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[Guarded]:
    with guarded(tmp_path / "vm") as vm:
        yield vm
