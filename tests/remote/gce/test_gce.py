"""A VM's life by way of the real google-cloud-compute client: every state it can be in, and nothing believed unseen."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from bench.cloud.compute_state import Instance
from support.hosts.agent_here import wait_until
from support.machines.gce_here import NAME, ZONE, Gce, gce_here

from remote.errors import (
    CloudError,
    Forbidden,
    MetadataChanged,
    QuotaExceeded,
    Stockout,
    VmRefused,
)
from remote.gce import client as gce_client
from remote.gce import vm as gce_module
from remote.gce.list import list_vms
from remote.gce.vm_state import VmState
from remote.steps import StepState

EXHAUSTED = "ZONE_RESOURCE_POOL_EXHAUSTED"


@pytest.fixture(scope="module")
def gce(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gce]:
    with gce_here(tmp_path_factory.mktemp("gce")) as gce:
        yield gce


@pytest.fixture(autouse=True)
def fresh(gce: Gce, monkeypatch: pytest.MonkeyPatch) -> None:
    gce.reset()
    monkeypatch.setattr(gce_module, "STOCKOUT_PAUSES_S", (0.01, 0.02))
    monkeypatch.setattr(gce_module, "UNSURE_S", 1.0)
    monkeypatch.setattr(gce_client, "PAUSES_S", (0.01, 0.02))


def posts(gce: Gce, verb: str) -> int:
    return len(gce.emulator.seen(f"POST .*/{NAME}/{verb}$"))


# How it stands


def test_a_running_vm_is_told_with_everything_that_the_api_says(gce: Gce) -> None:
    before = time.time()
    gce.add("RUNNING", max_run_s=3600, is_spot=True, disks_gb=(200, 500))
    state = gce.vm.state()
    assert (state.name, state.project, state.zone, state.id) == (NAME, "proj", ZONE, "4711001")
    assert (state.status, state.is_running, state.is_stopped) == ("RUNNING", True, False)
    assert (state.address, state.internal_address) == ("127.0.0.1", "10.128.0.2")
    assert (state.machine_type, state.gpus) == ("a2-highgpu-1g", (("nvidia-tesla-a100", 1),))
    assert (state.is_spot, state.disks_gb, state.max_run_s) == (True, 700.0, 3600.0)
    assert state.last_start_t is not None
    assert state.termination_t == pytest.approx(state.last_start_t + 3600)
    assert before - 1 < state.last_start_t <= time.time()
    assert (state.key_name, state.last_stop_t) == ("compute.4711001", None)


def test_a_stopped_vm_has_no_address_and_costs_no_machine(gce: Gce) -> None:
    gce.add()
    state = gce.vm.state()
    assert (state.is_running, state.is_stopped, state.address) == (False, True, None)


def test_a_state_that_this_client_does_not_know_is_shown_as_it_is(gce: Gce) -> None:
    gce.add(shown="HIBERNATING_SOFTLY")
    state = gce.vm.state()
    assert (state.status, state.is_running, state.is_stopped) == ("HIBERNATING_SOFTLY", False, False)


def test_the_vms_of_a_project_are_listed_over_all_zones(gce: Gce) -> None:
    gce.add()
    gce.cloud.add(Instance("t4-box", zone="europe-west4-b", id=5, status="RUNNING"))
    listed = list_vms("proj", client=gce.client)
    assert [(one.name, one.zone, one.is_running) for one in listed] == [
        (NAME, ZONE, False), ("t4-box", "europe-west4-b", True),
    ]  # fmt: skip


# Starting


def test_a_start_goes_through_the_states_of_the_api_and_ends_when_it_runs(gce: Gce) -> None:
    gce.add()
    gce.cloud.step_s = 0.15
    state = gce.vm.start(tell=gce.tell)
    assert state.is_running
    assert state.address == "127.0.0.1"
    seen = [status for status in gce.states if status != "TERMINATED"]
    assert seen[-1] == "RUNNING"
    assert set(seen) <= {"PROVISIONING", "STAGING", "RUNNING"}
    assert len(seen) > 1


def test_a_vm_that_runs_is_not_started_again(gce: Gce) -> None:
    gce.add("RUNNING")
    assert gce.vm.start().is_running
    assert posts(gce, "start") == 0


def test_one_that_is_on_its_way_down_is_started_after_it_arrived(gce: Gce) -> None:
    instance = gce.add("RUNNING")
    gce.cloud.step_s = 0.3
    gce.cloud.begin("stop", "", ZONE, lambda: gce.cloud.bring_down(instance))
    wait_until(lambda: instance.status == "STOPPING")
    assert gce.vm.start(tell=gce.tell).is_running
    assert gce.states.index("STOPPING") < gce.states.index("TERMINATED") < gce.states.index("RUNNING")


def test_one_that_comes_up_already_is_only_waited_for(gce: Gce) -> None:
    instance = gce.add("STAGING")
    threading.Timer(0.2, lambda: gce.cloud.bring_up(instance)).start()
    assert gce.vm.start().is_running
    assert posts(gce, "start") == 0


def test_a_suspended_one_is_resumed(gce: Gce) -> None:
    gce.add("SUSPENDED")
    assert gce.vm.start().is_running
    assert (posts(gce, "resume"), posts(gce, "start")) == (1, 0)


def test_one_that_goes_down_again_while_it_comes_up_is_not_waited_for(
    gce: Gce, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody stopped it from elsewhere, or a spot VM was preempted at once."""
    gce.add()

    def comes_and_goes(instance: Instance) -> None:
        gce.cloud.show(instance, "STAGING")
        wait_until(lambda: "STAGING" in gce.states)
        gce.cloud.show(instance, "TERMINATED")

    monkeypatch.setattr(gce.cloud, "bring_up", comes_and_goes)
    with pytest.raises(CloudError, match=f"{NAME} is TERMINATED again: it was stopped or preempted while it came up"):
        gce.vm.start(tell=gce.tell)


def test_a_slow_operation_is_waited_for(gce: Gce) -> None:
    gce.add()
    gce.cloud.step_s = 0.3
    began = time.monotonic()
    assert gce.vm.start().is_running
    assert time.monotonic() - began > 0.9


def test_one_that_never_arrives_is_said_to_be_where_it_is(gce: Gce, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gce_module, "START_TIMEOUT_S", 0.3)
    gce.add("REPAIRING")
    with pytest.raises(CloudError, match=f"{NAME} is still REPAIRING"):
        gce.vm.start()


# When there is no room, or no right


def test_a_stockout_is_tried_again_until_there_is_room(gce: Gce) -> None:
    gce.add()
    gce.emulator.fail_operation("start", f"{EXHAUSTED}_WITH_DETAILS", http=503, times=2, zones=("a", "b"))
    gce.emulator.fail_operation("start", EXHAUSTED, http=503)
    assert gce.vm.start(tell=gce.tell).is_running
    assert posts(gce, "start") == 4
    assert [word.rpartition("; ")[2] for word in gce.words] == [
        "attempt 2 in 0 s", "attempt 3 in 0 s", "attempt 4 in 0 s",
    ]  # fmt: skip
    assert f"{ZONE} has no such machine available just now; there is room in a, b" in gce.words[0]


def test_patience_with_a_stockout_ends_and_the_zones_with_room_are_named(gce: Gce) -> None:
    gce.add()
    gce.emulator.fail_operation("start", f"{EXHAUSTED}_WITH_DETAILS", http=503, zones=("us-west1-b",))
    with pytest.raises(Stockout, match="us-west1-b") as caught:
        gce.vm.start(patience_s=0)
    assert caught.value.zones == ("us-west1-b",)


def test_whoever_waits_for_room_may_leave(gce: Gce, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gce_module, "STOCKOUT_PAUSES_S", (60.0,))
    gce.add()
    gce.emulator.fail_operation("start", EXHAUSTED, times=9)
    cancelled = threading.Event()

    def tell(said: StepState | VmState) -> None:
        if isinstance(said, StepState):
            cancelled.set()

    with pytest.raises(Stockout):
        gce.vm.start(tell=tell, cancelled=cancelled)
    assert posts(gce, "start") == 1


def test_a_used_up_quota_is_not_tried_again(gce: Gce) -> None:
    gce.add()
    gce.emulator.fail_operation("start", "QUOTA_EXCEEDED", http=403, message="Quota 'GPUS_ALL_REGIONS' exceeded.")
    with pytest.raises(QuotaExceeded, match="GPUS_ALL_REGIONS"):
        gce.vm.start()
    assert posts(gce, "start") == 1


def test_a_start_that_failed_and_worked_nevertheless_has_worked(gce: Gce) -> None:
    gce.add()
    gce.emulator.fail_operation("start", "INTERNAL_ERROR", http=500, has_worked=True)
    assert gce.vm.start().is_running


def test_an_answer_that_was_lost_is_no_reason_to_forget_the_vm(gce: Gce) -> None:
    gce.add()
    gce.emulator.fail("POST .*/start", 500, times=None, is_after=True)
    assert gce.vm.start().is_running


def test_a_start_that_is_refused_is_said_so_after_a_second_look(gce: Gce) -> None:
    gce.add()
    gce.emulator.fail("POST .*/start", 403, message="Required 'compute.instances.start' permission")
    with pytest.raises(Forbidden, match=r"compute\.instances\.start"):
        gce.vm.start()
    assert gce.emulator.requests[-1].method == "GET"


def test_a_request_that_is_repeated_carries_the_same_id(gce: Gce) -> None:
    gce.add()
    gce.emulator.fail("POST .*/start", 503)
    assert gce.vm.start().is_running
    ids = [one.query["requestId"] for one in gce.emulator.seen("POST .*/start")]
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_a_cloud_that_goes_away_meanwhile_is_waited_for(gce: Gce) -> None:
    gce.add()
    gce.emulator.fail("GET .*operations", 503, times=5)
    assert gce.vm.start(tell=gce.tell).is_running
    assert any("a problem of its own (503)" in word for word in gce.words)


def test_an_operation_that_the_api_has_forgotten_is_judged_by_the_vm(gce: Gce) -> None:
    gce.add()
    gce.emulator.fail("GET .*operations", 404, times=None)
    assert gce.vm.start().is_running


# Stopping


def test_stopped_is_said_only_when_the_api_says_so(gce: Gce) -> None:
    gce.add("RUNNING")
    gce.cloud.step_s = 0.15
    state = gce.vm.stop(tell=gce.tell)
    assert state.is_stopped
    assert state.last_stop_t is not None
    assert gce.states[-2:] == ["STOPPING", "TERMINATED"]
    assert gce.vm.stop().is_stopped
    assert posts(gce, "stop") == 1


def test_a_stop_that_is_not_confirmed_is_an_error_that_names_the_state(
    gce: Gce, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gce_module, "STOP_TIMEOUT_S", 0.3)
    gce.add("RUNNING", shown="RUNNING")
    with pytest.raises(CloudError, match=r"is still RUNNING .* costing money"):
        gce.vm.stop()


def test_a_stop_whose_operation_fails_is_not_a_stop(gce: Gce) -> None:
    gce.add("RUNNING")
    gce.emulator.fail_operation("stop", "RESOURCE_NOT_READY", message="it is busy")
    with pytest.raises(CloudError, match="RESOURCE_NOT_READY: it is busy"):
        gce.vm.stop()


# What else can be set


def test_the_clouds_own_limit_is_set_of_a_stopped_vm_and_once(gce: Gce) -> None:
    instance = gce.add(is_spot=True)
    assert gce.vm.set_max_run(2.5) is True
    assert gce.vm.set_max_run(2.5) is False
    assert instance.max_run_s == 9000
    body = gce.emulator.seen("setScheduling")[0].body
    assert (body["instanceTerminationAction"], body["provisioningModel"]) == ("STOP", "SPOT")
    gce.vm.set_max_run(None)
    assert instance.max_run_s is None


def test_the_limit_of_a_vm_that_runs_cannot_be_set(gce: Gce) -> None:
    gce.add("RUNNING")
    with pytest.raises(VmRefused, match="must be stopped"):
        gce.vm.set_max_run(1)


def test_metadata_that_somebody_else_writes_meanwhile_is_kept(gce: Gce) -> None:
    instance = gce.add()
    instance.metadata.items = {"a": "1"}

    def changed(items: dict[str, str]) -> dict[str, str]:
        if "other" not in instance.metadata.items:
            instance.metadata.items["other"] = "2"
        return items | {"mine": "3"}

    gce.vm.add_metadata(changed)
    assert instance.metadata.items == {"a": "1", "other": "2", "mine": "3"}
    assert len(gce.emulator.seen("setMetadata")) == 2


def test_metadata_that_changes_each_time_ends_with_a_word(gce: Gce) -> None:
    gce.add()
    gce.emulator.fail("setMetadata", 412, times=None)
    with pytest.raises(MetadataChanged):
        gce.vm.add_metadata(lambda items: items)


def test_host_keys_come_from_the_guest_attributes_and_only_whole_ones(gce: Gce) -> None:
    instance = gce.add("RUNNING")
    assert gce.vm.host_keys() == ()
    instance.metadata.items["enable-guest-attributes"] = "TRUE"
    assert gce.vm.host_keys() == ()
    instance.guest_attributes["hostkeys"] = {
        "ssh-rsa": "AAAA\n@cert-authority * evil", "ssh-ed25519": "not base64", "ssh-dss": "AAAA",
        "ecdsa-sha2-nistp256": "AAAAB3Nz",
    }  # fmt: skip
    assert gce.vm.host_keys() == ("ecdsa-sha2-nistp256 AAAAB3Nz", "ssh-rsa AAAA")
