"""What a VM costs: within one per cent of price times uptime, known again after a restart, and labelled an estimate."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest

from remote.cost.ledger import Ledger, Session
from remote.cost.meter import HostCost, egress_usd, forecast_run, meter
from remote.cost.midnight import midnight_before
from remote.cost.prices import PriceUnknown, price_of, read_table, tables
from remote.hosts.settings import HostSettings
from t2v_core.errors import EngineError, InvalidRequest
from t2v_core.workspace import Workspace

DATED = "date = 2026-11-01\nsource = 'x'"
HOUR_S, DAY_S = 3600.0, 86400.0
NOON = midnight_before(1_764_000_000.0) + 12 * HOUR_S


@dataclass(frozen=True)
class Vm:
    """As the API describes one."""

    id: str = "4711"
    zone: str = "us-central1-a"
    machine_type: str = "a2-highgpu-1g"
    usd_per_hour: float | None = None
    gpus: tuple[tuple[str, int], ...] = (("nvidia-tesla-a100", 1),)
    is_spot: bool = False
    disks_gb: float = 200
    address: str | None = "34.1.2.3"
    is_stopped: bool = False
    last_start_t: float | None = NOON - 3 * HOUR_S
    last_stop_t: float | None = None
    seen_t: float = NOON


STOPPED = Vm(is_stopped=True, last_start_t=NOON - 3 * HOUR_S, last_stop_t=NOON - HOUR_S, address=None)


@pytest.fixture(autouse=True)
def _no_prices_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def cost(tmp_path: Path) -> HostCost:
    return HostCost.of(Workspace(tmp_path), "a100-golden", HostSettings())


# Prices


def test_the_price_is_the_machine_its_disks_and_its_address() -> None:
    price = price_of(Vm())
    assert dict(price.parts) == pytest.approx({"a2-highgpu-1g": 3.673385, "disks": 200 * 0.1 / 730, "address": 0.005})
    assert price.usd_per_hour == pytest.approx(3.673385 + 0.027397 + 0.005, rel=1e-6)
    assert (price.is_estimate, price.date, price.note) == (True, date(2025, 3, 6), "")


def test_a_spot_vm_has_the_spot_price() -> None:
    assert dict(price_of(Vm(is_spot=True)).parts)["a2-highgpu-1g"] == 1.293355


def test_gpus_attached_to_a_machine_are_added_and_built_in_ones_are_not_paid_twice() -> None:
    attached = Vm(machine_type="n1-standard-8", gpus=(("nvidia-tesla-t4", 2),))
    assert dict(price_of(attached).parts)["2 × nvidia-tesla-t4"] == 0.7
    assert [name for name, _ in price_of(Vm()).parts] == ["a2-highgpu-1g", "disks", "address"]


@pytest.mark.parametrize("family", ["a2-highgpu", "a2-ultragpu", "a3-highgpu"])
def test_eight_gpus_cost_eight_times_one(family: str) -> None:
    one, eight = (price_of(Vm(machine_type=f"{family}-{count}g", disks_gb=0, address=None)) for count in (1, 8))
    assert eight.usd_per_hour == pytest.approx(8 * one.usd_per_hour, rel=1e-6)


def test_what_no_table_knows_is_said_with_the_way_out() -> None:
    with pytest.raises(PriceUnknown, match="what z9-ultra-4 costs is not known here") as unknown:
        price_of(Vm(machine_type="z9-ultra-4"))
    assert "usd_per_hour" in unknown.value.hint
    assert "config/t2v/prices.toml" in unknown.value.hint
    with pytest.raises(PriceUnknown, match="what nvidia-quantum-1 costs"):
        price_of(Vm(machine_type="n1-standard-8", gpus=(("nvidia-quantum-1", 1),)))
    with pytest.raises(PriceUnknown, match="n1-highmem-8 as a spot VM"):
        price_of(Vm(machine_type="n1-highmem-8", gpus=(), is_spot=True))


def test_another_region_is_said() -> None:
    assert price_of(Vm(zone="europe-west4-a")).note == "prices of us-central1; it is in europe-west4"


def test_what_t2v_toml_says_it_costs_is_no_estimate(tmp_path: Path) -> None:
    own = HostCost.of(Workspace(tmp_path), "vm", HostSettings(usd_per_hour=2.5))
    price = own.price(Vm(machine_type="z9-ultra-4"))
    assert (price.usd_per_hour, price.is_estimate, price.date) == (2.5, False, None)


def test_a_file_of_the_user_s_goes_before_ours(tmp_path: Path) -> None:
    file = tmp_path / "config/t2v/prices.toml"
    file.parent.mkdir(parents=True)
    file.write_text("""
        [[machines]]
        date = 2026-11-01
        source = "our contract"
        usd_per_hour = { a2-highgpu-1g = [2.0, 0.9], z9-ultra-4 = [1.0] }
        [egress]
        date = 2026-11-01
        source = "our contract"
        usd_per_gb = { premium = 0.05 }
    """)
    assert dict(price_of(Vm()).parts)["a2-highgpu-1g"] == 2.0
    assert price_of(Vm()).date == date(2026, 11, 1)
    assert price_of(Vm(machine_type="z9-ultra-4")).usd_per_hour > 1.0
    assert price_of(Vm(machine_type="g2-standard-4")).usd_per_hour > 0.7
    assert egress_usd(2**30) == 0.05
    assert egress_usd(2**30, tier="standard") == 0.085


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            f"[[machines]]\n{DATED}\nusd_per_hour = {{ a = [-1.0] }}",
            "machines.0.usd_per_hour.a.0: ",
        ),
        ("[[machine]]\n", "machine: extra inputs are not permitted"),
        ("[egress\n", "not valid TOML"),
        (
            f"[disks]\n{DATED}\nassumed = 'a'\nusd_per_gb_month = {{ b = 1 }}",
            "assumed = 'a' is not one of",
        ),
    ],
)
def test_a_wrong_price_file_is_named_with_its_key(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(InvalidRequest) as wrong:
        read_table(file)
    assert str(file) in wrong.value.message
    assert says in wrong.value.message
    assert wrong.value.exit_code == 2


def test_every_group_of_the_shipped_table_says_when_and_where_its_figures_are_from() -> None:
    (table,) = tables()
    groups = [*table.machines, *table.gpus, table.disks, table.address, table.egress]
    assert all(group is not None and group.source and date(2023, 1, 1) < group.date for group in groups)
    for group in table.machines:
        for name, prices in group.usd_per_hour.items():
            assert prices[-1] <= prices[0], name


# The meter


def test_a_session_is_price_times_uptime_by_the_provider_s_own_timestamps() -> None:
    """Recorded: started 08:12:44.103-08:00, looked at 3 h 25 min 10 s later."""
    started_t = 1_764_000_764.103
    price = price_of(Vm())
    seen = meter(Vm(last_start_t=started_t, last_stop_t=started_t - DAY_S), started_t + 12_310, price)
    assert seen.usd_session == pytest.approx(price.usd_per_hour * 12_310 / 3600, rel=0.001)
    assert (seen.since_t, seen.usd_per_hour) == (started_t, price.usd_per_hour)
    assert seen.is_estimate
    assert seen.date == date(2025, 3, 6)


def test_a_stopped_vm_costs_its_disks() -> None:
    seen = meter(STOPPED, NOON, price_of(STOPPED))
    assert (seen.usd_per_hour, seen.hours, seen.usd_session, seen.since_t) == (0.0, 0.0, 0.0, None)
    assert seen.disk_usd_per_hour == pytest.approx(200 * 0.1 / 730)
    assert seen.usd_today == pytest.approx(2 * price_of(STOPPED).usd_per_hour)


def test_a_vm_that_was_never_started_costs_nothing_yet() -> None:
    new = Vm(last_start_t=None, is_stopped=False)
    assert meter(new, NOON, price_of(new)).usd_today == 0.0


@pytest.mark.parametrize("state", ["provisioning", "staging"])
def test_a_vm_on_its_way_up_is_not_billed_for_its_previous_session(state: str) -> None:
    coming = replace(STOPPED, is_stopped=False)
    assert meter(coming, NOON, price_of(coming)).usd_per_hour == 0.0, state


def test_today_is_every_session_since_midnight_also_after_a_restart_of_both(cost: HostCost, tmp_path: Path) -> None:
    first = Vm(last_start_t=NOON - 14 * HOUR_S)  # since 22:00 of yesterday
    cost.see(first, NOON - 6 * HOUR_S)
    cost.see(replace(first, is_stopped=True, last_stop_t=NOON - 5 * HOUR_S), NOON - 4 * HOUR_S)
    second = Vm(last_start_t=NOON - HOUR_S, last_stop_t=NOON - 5 * HOUR_S)
    again = HostCost.of(Workspace(tmp_path), "a100-golden", HostSettings())
    seen = again.see(second, NOON)
    rate = again.price(second).usd_per_hour
    assert seen.usd_today == pytest.approx((7 + 1) * rate, rel=0.001)
    assert seen.usd_session == pytest.approx(1 * rate, rel=0.001)
    assert [one.stopped_t for one in again.ledger.sessions()] == [NOON - 5 * HOUR_S, None]


def test_looking_often_writes_a_start_and_a_stop_and_no_more(cost: HostCost) -> None:
    for minute in range(50):
        cost.see(Vm(), NOON + 60 * minute)
    for minute in range(50):
        cost.see(STOPPED, NOON + 60 * minute)
    assert len(cost.ledger.path.read_text().splitlines()) == 2


def test_a_stop_that_nobody_saw_is_known_by_the_next_start(cost: HostCost) -> None:
    cost.see(Vm(last_start_t=NOON - 9 * HOUR_S), NOON - 8 * HOUR_S)
    cost.see(Vm(last_start_t=NOON - HOUR_S, last_stop_t=NOON - 7 * HOUR_S), NOON)
    first, second = cost.ledger.sessions()
    assert (first.stopped_t, first.is_exact, second.stopped_t) == (NOON - 7 * HOUR_S, True, None)


def test_a_stop_that_the_provider_does_not_know_is_bounded_and_said_to_be(cost: HostCost) -> None:
    cost.see(Vm(last_start_t=NOON - 9 * HOUR_S), NOON - 8 * HOUR_S)
    cost.see(Vm(is_stopped=True, last_start_t=NOON - 9 * HOUR_S, last_stop_t=None, seen_t=NOON), NOON)
    (one,) = cost.ledger.sessions()
    assert (one.stopped_t, one.is_exact) == (NOON, False)


def test_a_vm_made_anew_is_another_one(cost: HostCost) -> None:
    cost.see(Vm(id="1", last_start_t=NOON - 9 * HOUR_S), NOON - 8 * HOUR_S)
    seen = cost.see(Vm(id="2", last_start_t=NOON - HOUR_S, last_stop_t=NOON - 5 * HOUR_S), NOON)
    assert [(one.id, one.is_exact) for one in cost.ledger.sessions()] == [("1", False), ("2", True)]
    assert seen.usd_session == pytest.approx(seen.usd_per_hour)


def test_the_price_of_a_session_is_that_of_its_start(tmp_path: Path) -> None:
    HostCost.of(Workspace(tmp_path), "vm", HostSettings(usd_per_hour=2.0)).see(Vm(), NOON)
    dearer = HostCost.of(Workspace(tmp_path), "vm", HostSettings(usd_per_hour=9.0))
    assert dearer.see(STOPPED, NOON).usd_today == pytest.approx(2 * 2.0)


def test_what_ran_is_written_down_even_when_its_price_is_not_known(cost: HostCost) -> None:
    with pytest.raises(PriceUnknown):
        cost.see(Vm(machine_type="z9-ultra-4"), NOON)
    assert [one.usd_per_hour for one in cost.ledger.sessions()] == [None]


def test_random_days_are_within_one_per_cent_of_price_times_uptime(tmp_path: Path) -> None:
    """Starts and stops at random, looked at often and seldom; what was spent today is what the plan says."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for day in range(20):
        cost = HostCost.of(Workspace(tmp_path / str(day)), "vm", HostSettings(usd_per_hour=3.7))
        midnight = midnight_before(NOON)
        cuts = sorted(chance.uniform(midnight, midnight + 0.9 * DAY_S) for _ in range(2 * chance.randint(1, 5)))
        runs = list(zip(cuts[::2], cuts[1::2], strict=True))
        before: float | None = None
        for started_t, stopped_t in runs:
            for _ in range(chance.randint(1, 3)):
                cost.see(Vm(last_start_t=started_t, last_stop_t=before), chance.uniform(started_t, stopped_t))
            before = stopped_t
        ended = Vm(is_stopped=True, last_start_t=runs[-1][0], last_stop_t=runs[-1][1], seen_t=midnight + 0.95 * DAY_S)
        spent = cost.see(ended, midnight + 0.95 * DAY_S).usd_today
        assert spent == pytest.approx(3.7 * sum(b - a for a, b in runs) / HOUR_S, rel=0.01), (seed, day)


# The ledger


def test_a_torn_line_and_somebody_else_s_line_cost_nothing(cost: HostCost) -> None:
    cost.see(Vm(id="1", last_start_t=NOON - 9 * HOUR_S), NOON)
    with cost.ledger.path.open("ab") as file:
        file.write(b'[1]\n{"id": "1", "start')
    cost.see(Vm(id="1", is_stopped=True, last_start_t=NOON - 9 * HOUR_S, last_stop_t=NOON - 8 * HOUR_S), NOON)
    assert [one.hours(0, NOON) for one in cost.ledger.sessions()] == [1.0]


def test_several_processes_may_write_the_same_thing(tmp_path: Path) -> None:
    ledger = Ledger.of(Workspace(tmp_path), "vm")
    ledger.see(Vm(), 3.0)
    again = ledger.path.read_bytes()
    with ledger.path.open("ab") as file:
        file.write(again)
    assert len(ledger.sessions()) == 1


def test_a_host_may_have_any_name(tmp_path: Path) -> None:
    ledger = Ledger.of(Workspace(tmp_path), "../../etc/passwd")
    ledger.see(Vm(), 3.0)
    assert ledger.path.parent == tmp_path / ".t2v/cost"


def test_a_ledger_in_the_way_of_which_a_file_lies_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / ".t2v").write_text("")
    with pytest.raises(EngineError, match=r"cannot (read|write) .*vm\.jsonl"):
        Ledger.of(Workspace(tmp_path), "vm").see(Vm(), 3.0)


def test_what_a_newer_t2v_writes_is_read(tmp_path: Path) -> None:
    ledger = Ledger.of(Workspace(tmp_path), "vm")
    ledger.path.parent.mkdir(parents=True)
    ledger.path.write_text(json.dumps({"id": "1", "started_t": 5.0, "stopped_t": 9.0, "new": 1}) + "\n")
    assert ledger.sessions() == [Session("1", 5.0, 9.0)]


# Before it starts


def test_a_run_that_the_cap_would_cut_is_said_before_it_starts() -> None:
    price = price_of(Vm())
    short, long = (forecast_run(hours, price, hours_up=4, max_run_h=24) for hours in (20.0, 20.5))
    assert (short.is_beyond_cap, long.is_beyond_cap) == (False, True)
    assert long.usd == pytest.approx(20.5 * price.usd_per_hour)
    assert not forecast_run(1000, price).is_beyond_cap


def test_two_hundred_gigabytes_home_cost_about_twenty_dollars() -> None:
    assert egress_usd(200 * 2**30) == pytest.approx(24.0)
    assert egress_usd(200 * 2**30, tier="standard") == pytest.approx(17.0)


def test_midnight_is_that_of_this_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    for zone in ("Pacific/Kiritimati", "America/Los_Angeles", "UTC"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        now_t = 1_764_000_000.0
        begin = time.localtime(midnight_before(now_t))
        assert (begin.tm_hour, begin.tm_min, begin.tm_mday) == (0, 0, time.localtime(now_t).tm_mday)
    monkeypatch.undo()
    time.tzset()
