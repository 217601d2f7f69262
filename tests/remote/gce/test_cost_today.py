"""What was spent today: in several sessions, at midnight, on days of 23 or 25 hours, in another time zone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from support.screen.tui_states import COST
from test_cli_vm_cost import NOW, vm
from test_cost import DAY_S, HOUR_S, NOON, Vm

from remote.cost.ledger import Session
from remote.cost.meter import HostCost, meter, price_of
from remote.cost.midnight import midnight_before
from remote.hosts.settings import HostSettings
from t2v_core.workspace import Workspace
from t2v_tui.cli.vm.cost import figures, unpriced
from t2v_tui.library.vm_history import days_of

RATE = 2.0


@pytest.fixture
def cost(tmp_path: Path) -> HostCost:
    return HostCost.of(Workspace(tmp_path), "vm", HostSettings(usd_per_hour=RATE))


@pytest.fixture
def travel(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """TZ may be set in it, with `to`."""
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


def to(travel: pytest.MonkeyPatch, zone: str) -> None:
    travel.setenv("TZ", zone)
    time.tzset()


def at(zone: str, year: int, month: int, day: int, hour: int = 0) -> float:
    return datetime(year, month, day, hour, tzinfo=ZoneInfo(zone)).timestamp()


def test_each_session_of_today_counts_as_far_as_it_is_of_today(cost: HostCost) -> None:
    """22:00 – 01:00, 03:00 – 05:00, and from 11:00 on; it is noon."""
    midnight = midnight_before(NOON)
    runs = [(midnight - 2 * HOUR_S, midnight + HOUR_S), (midnight + 3 * HOUR_S, midnight + 5 * HOUR_S)]
    for started_t, stopped_t in runs:
        running = Vm(last_start_t=started_t, last_stop_t=None, seen_t=started_t + 60)
        cost.see(running, started_t + 60)
        cost.see(replace(running, is_stopped=True, last_stop_t=stopped_t, seen_t=stopped_t + 60), stopped_t + 60)
    now = Vm(last_start_t=NOON - HOUR_S, last_stop_t=runs[-1][1], seen_t=NOON)
    assert cost.see(now, NOON).usd_today == pytest.approx(RATE * (1 + 2 + 1))


def test_at_midnight_today_begins_at_nothing(cost: HostCost) -> None:
    midnight = midnight_before(NOON)
    vm = Vm(last_start_t=midnight - 5 * HOUR_S)
    before, after = cost.see(vm, midnight - 1), cost.see(vm, midnight + 1)
    assert before.usd_today == pytest.approx(RATE * 5, rel=0.001)
    assert after.usd_today == pytest.approx(RATE / HOUR_S, rel=0.01)
    assert after.usd_session == pytest.approx(RATE * 5, rel=0.001)  # of which the session knows nothing


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 6, 1), 24)])
def test_a_day_has_as_many_hours_as_it_has(
    cost: HostCost, travel: pytest.MonkeyPatch, tmp_path: Path, day: tuple[int, int, int], hours: int
) -> None:
    zone = "Europe/Berlin"
    to(travel, zone)
    begin_t = at(zone, *day)
    end_t = begin_t + hours * HOUR_S
    assert (midnight_before(end_t - 1), midnight_before(end_t)) == (begin_t, end_t)
    vm = Vm(last_start_t=begin_t - DAY_S, seen_t=end_t - 1)
    assert cost.see(vm, end_t - 1).usd_today == pytest.approx(RATE * hours, rel=0.001)
    stopped = replace(vm, is_stopped=True, last_stop_t=end_t + HOUR_S, seen_t=end_t + 2 * HOUR_S)
    cost.see(stopped, end_t + 2 * HOUR_S)
    assert days_of(Workspace(tmp_path), "vm", end_t + 2 * HOUR_S)[0].hours == pytest.approx(hours)


def test_whoever_crosses_a_time_zone_has_another_today_and_the_same_sessions(
    cost: HostCost, travel: pytest.MonkeyPatch
) -> None:
    """Seen in Berlin, flown to San Francisco: it is 02:00 there, and 17:00 of the day before here."""
    to(travel, "Europe/Berlin")
    now_t = at("Europe/Berlin", 2026, 6, 2, 2)
    vm = Vm(last_start_t=now_t - 10 * HOUR_S, seen_t=now_t)
    assert cost.see(vm, now_t).usd_today == pytest.approx(RATE * 2)
    sessions = cost.ledger.path.read_bytes()
    to(travel, "America/Los_Angeles")
    there = cost.see(vm, now_t)
    assert there.usd_today == pytest.approx(RATE * 10)  # since 07:00, all of it today
    assert there.usd_session == pytest.approx(RATE * 10)
    assert cost.ledger.path.read_bytes() == sessions


def test_hours_whose_price_is_not_known_are_named_beside_what_was_spent() -> None:
    sessions = [Session("1", NOON - 3 * HOUR_S, NOON - HOUR_S), Session("2", NOON - HOUR_S, None, RATE)]
    assert unpriced(sessions, NOON) == pytest.approx(2.0)
    here = vm()
    price = price_of(here)
    said = list(figures(here, meter(here, NOW, price), price, 2.0))
    assert any(line.startswith("today ") and line.endswith("without 2.00 h whose price was not known") for line in said)


# As the terminal UI shows it between two looks, and after a night


def test_between_two_looks_it_grows_and_at_midnight_it_begins_anew() -> None:
    midnight = midnight_before(NOON)
    seen = replace(COST, usd_per_hour=RATE, usd_today=9.0, at_t=midnight - 60)
    assert seen.today(midnight - 30) == pytest.approx(9.0 + RATE * 30 / HOUR_S)
    assert seen.today(midnight + 1800) == pytest.approx(RATE / 2)


def test_what_was_spent_on_the_day_before_is_not_of_today() -> None:
    """The app is opened in the morning and shows what it remembers; the VM is off."""
    remembered = replace(COST, usd_per_hour=0.0, usd_today=12.4, at_t=midnight_before(NOON) - HOUR_S)
    assert remembered.today(NOON) == 0.0
