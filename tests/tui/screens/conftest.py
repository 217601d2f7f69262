"""A host over SSH that the workspace here knows, for tests of screens that show what is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hosts.far_host import Far, far_host


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    """Its name is `vm`, in the settings here."""
    with far_host(tmp_path) as one:
        one.write_settings()
        yield one
