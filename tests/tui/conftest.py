"""For every test of the terminal UI."""

from __future__ import annotations

import sys

import pytest
from support.warm.python import warm


@pytest.fixture(autouse=True)
def engines_are_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a screen starts on this machine, agents and engines, it starts by the Python that it runs in."""
    monkeypatch.setattr(sys, "executable", warm())
