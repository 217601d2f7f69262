"""`t2v vm cost` and `t2v vm keep`, as a person meets them, against a Compute Engine on loopback."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.machines.gce_here import NAME, Gce, gce_here
from support.machines.vm_here import vm_here
from support.warm.python import warm

from remote.cost.ledger import Session
from remote.cost.meter import forecast_run, meter
from remote.cost.prices import price_of
from remote.errors import LinkLost, RemoteError
from remote.gce.vm_state import VmState
from remote.guard import GuardState
from remote.hosts.host import LocalHost
from t2v_core.errors import InvalidRequest
from t2v_core.events import StepEvent
from t2v_core.workspace import Workspace
from t2v_tui.cli.vm.cost import figures, history, keep_words, seconds_of, which_vm
from t2v_tui.cli.vm.forecast import Forecast, cost_of_run
from t2v_tui.cli.vm.forecast import forecast_words as in_words_of_run
from t2v_tui.cli.vm.guard import guard_in_words

HOUR_S = 3600.0
NOW = 1_764_000_000.0


@pytest.fixture(scope="module")
def gce(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gce]:
    with gce_here(tmp_path_factory.mktemp("gce")) as gce:
        yield gce


@pytest.fixture
def t2v(gce: Gce, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command in a workspace that names the VM."""
    gce.reset()
    gce.write_settings(tmp_path, 'project = "proj"', 'zone = "us-central1-a"')

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [warm(), "-m", "t2v_tui.cli.main", "--workspace", str(tmp_path), *words]
        return subprocess.run(argv, env=gce.environment, capture_output=True, text=True, timeout=120, check=False)

    return run


def test_what_a_vm_costs_is_known_while_it_runs_after_it_stopped_and_when_the_cloud_is_silent(
    gce: Gce, t2v: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    instance = gce.add("RUNNING")
    instance.last_start_t = time.time() - 2 * HOUR_S
    said = json.loads(t2v("--json", "vm", "cost").stdout)
    rate = 3.673385 + 200 * 0.1 / 730 + 0.005
    assert said["usd_per_hour"] == pytest.approx(rate)
    assert said["usd_session"] == pytest.approx(2 * rate, rel=0.01)
    assert (said["is_estimate"], said["date"], said["state"]) == (True, "2025-03-06", "RUNNING")

    instance.status, instance.last_stop_t = "TERMINATED", time.time() - HOUR_S
    shown = t2v("vm", "cost").stdout
    assert "now      $0.00/h  TERMINATED; est., prices of 2025-03-06" in shown
    assert "disks    $0.03/h  $20.00 a month, also while it is stopped" in shown
    assert f"{1.0:>7.2f}  ${rate:.2f}" in shown

    gce.emulator.token = "nobody's"  # of the bench
    silent = t2v("vm", "cost")
    assert silent.returncode != 0
    assert f"{1.0:>7.2f}  ${rate:.2f}" in silent.stdout
    assert silent.stderr.startswith("error: ")


def test_a_vm_that_is_off_cannot_be_kept_and_says_how_to_start_it(
    gce: Gce, t2v: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    gce.add("TERMINATED")
    done = t2v("vm", "keep", "2h")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: {NAME} is TERMINATED\nhint:  t2v vm start ")


# Words


def vm(zone: str = "us-central1-a") -> VmState:
    return VmState(
        name=NAME, project="proj", zone=zone, id="1", status="RUNNING", machine_type="a2-highgpu-1g", seen_t=NOW,
        disks_gb=200.0, last_start_t=NOW - HOUR_S,
    )  # fmt: skip


def test_the_figures_say_that_they_are_an_estimate_of_what_date_and_where() -> None:
    here, there = vm(), vm(zone="europe-west4-a")
    lines = list(figures(here, meter(here, NOW, price_of(here)), price_of(here)))
    assert lines[0] == "now      $3.70/h  RUNNING; est., prices of 2025-03-06"
    assert lines[-3].startswith("session  $3.70  1:00:00 since ")
    first = next(figures(there, meter(there, NOW, price_of(there)), price_of(there)))
    assert first.endswith("prices of us-central1; it is in europe-west4")
    own = price_of(here, usd_per_hour=2.0)
    assert next(figures(here, meter(here, NOW, own), own)) == "now      $2.00/h  RUNNING; as t2v.toml says"


def test_the_history_says_what_is_not_known() -> None:
    sessions = [
        Session("1", NOW - 5 * HOUR_S, NOW - 3 * HOUR_S, None),
        Session("1", NOW - 2 * HOUR_S, NOW - HOUR_S, 2.0, is_exact=False),
        Session("1", NOW - HOUR_S, None, 2.0),
    ]
    _, unknown, bounded, runs = history(sessions, NOW)
    assert unknown.endswith("2.00  not known")
    assert " by " in bounded
    assert (" runs " in runs, runs.endswith("1.00  $2.00")) == (True, True)
    assert list(history([], NOW)) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45 min", 2700), ("1.5h", 5400), ("2D", 172_800), ("0", 0)],
)
def test_a_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "2x", "h", "2h3", "-2h", "zwei h", "2h!", "1e3h"])
def test_what_is_no_time_is_said_with_an_example(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a duration") as wrong:
        seconds_of(text)
    assert "t2v vm keep 2h" in wrong.value.hint


def test_what_was_agreed_is_said_with_the_cap_that_comes_first() -> None:
    kept = GuardState(is_installed=True, kept_until_t=NOW + 7200, stops_t=NOW + 3600, why="24 h after its start")
    assert keep_words("vm", kept, NOW).endswith("; it stops in 1h00m: 24 h after its start")
    assert keep_words("vm", kept, NOW).startswith("vm is kept until ")
    let_go = GuardState(is_installed=True, stops_t=NOW, why="idle for 30 min")
    assert keep_words("vm", let_go, NOW) == "vm is no longer kept on; it stops in 0s: idle for 30 min"


def test_the_only_vm_is_meant_and_of_several_one_has_to_be_named(tmp_path: Path) -> None:
    workspace, vms = Workspace(tmp_path), tmp_path / "t2v.toml"
    with pytest.raises(InvalidRequest, match="names no VM"):
        which_vm(None, workspace)
    vms.write_text('[host.a]\nprovider = "gcloud"\n[host.plain]\n')
    assert which_vm(None, workspace)[0] == "a"
    with pytest.raises(InvalidRequest, match="has no VM 'plain'"):
        which_vm("plain", workspace)
    vms.write_text('[host.a]\nprovider = "gcloud"\n[host.b]\nprovider = "gcloud"\n')
    with pytest.raises(InvalidRequest, match=r"which VM: a, b\?"):
        which_vm(None, workspace)
    assert which_vm("b", workspace)[0] == "b"


@pytest.mark.parametrize(
    ("guard", "says"),
    [
        (LinkLost("the agent ended"), "not known: the agent ended"),
        (GuardState(is_installed=False), "none: it does not stop by itself; the next job installs one"),
        (
            GuardState(
                True,
                can_power_off=True,
                is_alive=True,
                idle_since_t=NOW - 720,
                stops_t=NOW + 1080,
                why="idle for 30 min",
            ),
            "idle for 12 min; stops in 18m: idle for 30 min",
        ),
        (
            GuardState(
                True,
                can_power_off=True,
                is_alive=True,
                busy=("job a is running", "b", "c", "d"),
                stops_t=NOW + 3600,
                why="cap",
            ),
            "at work: job a is running, b, c and 1 more; stops in 1h00m: cap",
        ),
        (
            GuardState(
                True,
                can_power_off=True,
                is_alive=True,
                idle_since_t=NOW,
                kept_until_t=NOW + 7200,
                stops_t=NOW + 7200,
                why="kept",
            ),
            "idle for 0 s; kept for 2 h; stops in 2h00m: kept",
        ),
        (
            GuardState(True, can_power_off=True, stops_t=NOW),
            "it no longer checks: t2v vm start installs it again",
        ),
        (
            GuardState(True, is_alive=True, stops_t=NOW),
            "it is not allowed to switch the VM off, so it does not stop by itself: let its user use sudo there",
        ),
        (GuardState(True, stops_t=NOW, error="it cannot power itself off: sudo"), "it cannot power itself off: sudo"),
    ],
)
def test_a_guard_says_what_holds_it_up_or_when_it_stops(guard: GuardState | RemoteError, says: str) -> None:
    assert guard_in_words(guard, NOW) == says


def test_what_a_training_will_cost_is_said_with_the_cap_that_cuts_it() -> None:
    price = price_of(vm())
    within = in_words_of_run(forecast_run(20.0, price, max_run_h=24), price, 24)
    assert within == "about $74.02 in all, at $3.70 an hour (est.)"
    beyond = in_words_of_run(forecast_run(20.0, price, hours_up=5, max_run_h=24), price, 24)
    assert beyond.endswith("; it stops 24 h after its start, before that is done: raise max_run_h")
    own = price_of(vm(), usd_per_hour=1.0)
    assert in_words_of_run(forecast_run(2.0, own), own, 24) == "about $2.00 in all, at $1.00 an hour"


# On a VM, over its own sshd


def test_an_estimate_made_on_a_vm_says_what_the_training_costs(tmp_path: Path) -> None:
    total_s = 7200.0
    with vm_here(tmp_path) as there:
        there.add("RUNNING")
        host = there.host()
        assert cost_of_run(host, there.here, total_s).startswith("about $7.4")
        assert cost_of_run(host, there.here, None) == ""
    assert cost_of_run(LocalHost(Workspace(tmp_path)), Workspace(tmp_path), total_s) == ""


def test_a_training_on_a_vm_says_once_what_the_rest_of_it_costs_by_its_own_pace(tmp_path: Path) -> None:
    """A step a second, 7200 in all; the first one took ten. The cap of 1 h comes before its end."""
    steps = [StepEvent(n, 7200, t=time.time() + 9 + n) for n in range(1, 60)]
    steps = [StepEvent(0, 7200), *steps]
    with vm_here(tmp_path) as there:
        there.add("RUNNING")
        host = there.host()
        host.settings = host.settings.model_copy(update={"max_run_h": 1.0})
        forecast = Forecast(host, there.here)
        said = [sentence for one in steps if (sentence := forecast.of(one))]
        host.close()
    assert len(said) == 1
    assert re.match(
        r"\d:\d\d:\d\d to go: about \$\d+\.\d\d for that, at \$3\.71 an hour \(est\.\); it stops 1 h", said[0]
    )
    here = Forecast(LocalHost(Workspace(tmp_path)), Workspace(tmp_path))
    assert [here.of(one) for one in steps] == [""] * len(steps)


@pytest.mark.slow
def test_a_vm_that_was_started_has_a_guard_and_is_kept(tmp_path: Path) -> None:
    with vm_here(tmp_path) as vm:
        vm.write_settings()
        vm.add()
        assert "guard" in vm.ran("vm", "start").stderr
        kept = vm.ran("vm", "keep", "2h")
        assert kept.returncode == 0, kept.stderr
        assert kept.stderr.startswith(f"{NAME} is kept until ")
        guard = json.loads(vm.ran("--json", "vm", "status", "--guard").stdout)["guard"]
        assert (guard["is_installed"], guard["is_alive"]) == (True, True)
        assert guard["kept_until_t"] == pytest.approx(time.time() + 2 * HOUR_S, abs=60)
        assert vm.ran("vm", "keep", "0").stderr.startswith(f"{NAME} is no longer kept on; it stops in ")
