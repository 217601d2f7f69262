"""The second thousand of the random schedules of test_schedules.py."""

from __future__ import annotations

import pytest
from simulated.schedule import require_kept


@pytest.mark.parametrize("first", range(1000, 2000, 100))
def test_what_is_promised_holds_whatever_happens(first: int) -> None:
    require_kept(range(first, first + 100))
