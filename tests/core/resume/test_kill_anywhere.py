"""Whatever ends a job at whatever moment, it can be taken up; nothing is lost but what was made since the last save.

A few of each here; `python benchmarks/faults/kill_anywhere.py` does a hundred, with these same functions.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.hosts.faults import fill_disks, flip_bytes, jump_clocks, kill_preprocessing, kill_training, seeded


@pytest.mark.slow
def test_training_killed_at_random_moments_goes_on_each_time_and_ends_bit_for_bit(tmp_path: Path) -> None:
    kill_training(tmp_path, seeded(), kills=5)


def test_preprocessing_killed_at_random_moments_makes_the_same_store_byte_for_byte(tmp_path: Path) -> None:
    kill_preprocessing(tmp_path, seeded(), kills=5)


def test_a_disk_that_fills_while_training_costs_the_steps_since_the_last_save(tmp_path: Path) -> None:
    fill_disks(tmp_path, seeded(), fills=3)


@pytest.mark.slow
def test_a_flipped_bit_anywhere_in_a_checkpoint_costs_that_checkpoint(tmp_path: Path) -> None:
    """Each of its five files."""
    assert flip_bytes(tmp_path, seeded(), flips=5) >= 4


@pytest.mark.slow
def test_a_clock_that_jumps_by_years_changes_nothing(tmp_path: Path) -> None:
    jump_clocks(tmp_path, seeded(), jumps=4)
