"""The demo's VM: played is only what a cloud does; agent, jobs and costs are the real ones."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from support.hosts.agent_here import WAITS, wait_until

from remote.errors import HostOff
from remote.power.state import Power
from remote.steps import StepState
from t2v_core.specs import ShapesSpec
from t2v_core.workspace import Workspace
from t2v_tui.library.vm_history import days_of
from t2v_tui.store.events import News
from t2v_tui.store.state import HostKind, JobKey
from t2v_tui.workers import demo_vm
from t2v_tui.workers.demo_vm import NAME, DemoMachine, DemoServices
from t2v_tui.workers.launch_controller import will_bill
from t2v_tui.workers.launch_worker import Launch, Wanted, steps_to_job


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoServices:
    monkeypatch.setattr(demo_vm, "COMES_UP_S", 0.05)
    monkeypatch.setattr(demo_vm, "GOES_DOWN_S", 0.05)
    return DemoServices(Workspace(tmp_path))


def test_it_is_off_costs_only_its_disk_and_lets_nobody_in(services: DemoServices) -> None:
    heard = services.machine.look()
    assert (heard.vm.power, heard.vm.is_simulated) == (Power.STOPPED, True)
    assert heard.cost is not None
    assert heard.cost.usd_per_hour == 0.0 < heard.cost.disk_usd_per_hour < heard.cost.up_usd_per_hour
    with pytest.raises(HostOff):
        services.rows(NAME)
    first, second = services.hosts()
    assert (first.name, first.kind, second.name) == (NAME, HostKind.VM, "local")
    assert will_bill(first)


def test_a_press_starts_it_and_a_real_job_on_it(services: DemoServices) -> None:
    told: list[StepState] = []
    spec = ShapesSpec(clips=2, test_clips=1)
    steps = list(steps_to_job(services, NAME, "shapes", spec, told.append, threading.Event()))
    assert [step.name for step in steps if isinstance(step, StepState) and step.status != "doing"] == [
        "VM", "disk", "launch",
    ]  # fmt: skip
    (job,) = [step for step in steps if isinstance(step, JobKey)]
    assert (services.machine.folder / "jobs" / job.job / "spec.json").exists()
    assert services.machine.look().vm.power is Power.RUNNING
    wait_until(lambda: services.jobs(NAME).row(job.job).has_ended)
    assert services.jobs(NAME).row(job.job).state == "succeeded"
    services.close()


def test_work_holds_it_up_and_idleness_stops_it(services: DemoServices) -> None:
    services.machine.start(lambda _: None, threading.Event())
    host = services.host(NAME)
    job = services.jobs(NAME).submit("train", ShapesSpec(), argv=["python3", "-c", WAITS, "0"])
    wait_until((services.machine.folder / "jobs" / job.job / "state.json").exists)
    assert services.machine.guard(host).stops_t is None
    (services.machine.folder / "go").touch()
    wait_until(lambda: services.jobs(NAME).row(job.job).has_ended)
    stops_t = services.machine.guard(host).stops_t
    assert stops_t is not None
    assert 0 < stops_t - time.time() <= demo_vm.IDLE_STOP_S
    kept = services.machine.keep(host, 7200.0)
    assert kept.stops_t is not None
    assert kept.stops_t - time.time() > 7000
    services.close()


def test_a_start_that_is_left_leaves_it_off(services: DemoServices) -> None:
    left = threading.Event()
    left.set()
    services.machine.start(lambda _: None, left)
    assert services.machine.look().vm.power is Power.STOPPED


def test_how_it_stands_and_what_it_cost_is_found_again(services: DemoServices, tmp_path: Path) -> None:
    services.machine.start(lambda _: None, threading.Event())
    services.machine.look()
    again = DemoMachine(Workspace(tmp_path))
    assert again.look().vm.power is Power.RUNNING
    again.stop()
    assert again.look().vm.power is Power.STOPPED
    assert days_of(Workspace(tmp_path), NAME, now_t=time.time() + 86_400)[0].hours > 0


def test_a_start_that_is_taken_back_ends_every_job_it_has_begun(services: DemoServices) -> None:
    told: list[News] = []
    wanted = Wanted("train", NAME, {"data": "data/shapes", "preset": "tiny"})
    launch = Launch(wanted, services, told.append)
    launch.start()
    launch.join(60)
    assert [job.job.split("-")[2] for job in launch.made] == ["shapes", "preprocess", "train"]
    launch.take_back()
    wait_until(lambda: all(row.has_ended for row in services.jobs(NAME).rows()))
    assert "succeeded" not in {row.state for row in services.jobs(NAME).rows() if row.verb == "train"}
    assert len(services.jobs(NAME).rows()) == 3
    services.close()


def test_one_that_is_taken_back_before_it_is_there_starts_nothing(services: DemoServices) -> None:
    told: list[News] = []
    launch = Launch(Wanted("shapes", NAME, {}), services, told.append)
    launch.take_back()
    launch.run()
    assert services.machine.look().vm.power is Power.STOPPED
    assert not list((services.machine.folder / "jobs").glob("*"))
