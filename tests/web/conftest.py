"""A browser for all tests of a file: its start takes as long as most of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.screen.browser import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one
