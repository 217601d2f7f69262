"""`t2v vm` and `t2v … --host VM` as a person meets them: the real command line, the real client, a real sshd."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from bench.cloud.compute_state import Instance
from support.hosts.agent_here import WAITS, wait_until
from support.machines.gce_here import NAME
from support.machines.vm_here import ALIAS, VmHere, vm_as_new, vm_of_module

from remote.jobs.client import HostJobs
from t2v_core.specs import ShapesSpec

SHAPES = ("data", "shapes", "--host", NAME, "--clips", "2", "--test-clips", "1", "--data", "data/few")


vm_module, vm = vm_of_module, vm_as_new


def test_running_and_answering_are_two_facts(vm: VmHere) -> None:
    vm.gce.cloud.boot_s = 60.0
    vm.add("RUNNING")
    told = vm.ran("vm", "status")
    assert told.returncode == 0, told.stderr
    rows = dict(line.strip().split("  ", 1) for line in told.stdout.splitlines()[1:])
    assert rows["VM"].strip().startswith("RUNNING for ")
    assert rows["SSH answers"].strip() == f"no: not yet, at 127.0.0.1:{vm.sshd.port}"
    assert "a2-highgpu-1g, 1 × nvidia-tesla-a100, 200 GB of disk" in rows["machine"]
    assert "an hour" in rows["costs"]
    vm.gce.cloud.guest.boot(vm.gce.cloud.instances["us-central1-a", NAME])
    said = json.loads(vm.ran("--json", "vm", "status").stdout)
    assert (said["status"], said["ssh_answers"], said["is_running"]) == ("RUNNING", True, True)
    wait_until(lambda: helpers_of(vm) == [])


def helpers_of(vm: VmHere) -> list[str]:
    """Of command lines that have ended; this process has one of its own."""
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_helper = b"gce/helper.py" in (process / "cmdline").read_bytes()
            is_ours = f"T2V_COMPUTE_ENDPOINT={vm.gce.emulator.url}".encode() in (process / "environ").read_bytes()
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            left += [process.name] if is_helper and is_ours and int(parent) != os.getpid() else []
    return left


def test_start_waits_until_it_is_let_in_and_stop_until_the_cloud_confirms(vm: VmHere) -> None:
    instance = vm.add()
    started = vm.ran("vm", "start")
    assert started.returncode == 0, started.stderr
    assert started.stdout == f"{NAME}\tRUNNING\t127.0.0.1\n"
    assert "VM: TERMINATED; starting it: a2-highgpu-1g, $" in started.stderr
    assert f"SSH: {vm.sshd.user}@127.0.0.1:{vm.sshd.port}, {ALIAS}" in started.stderr
    assert "guard: " in started.stderr
    assert instance.max_run_s == 24 * 3600
    stopped = vm.ran("vm", "stop")
    assert stopped.returncode == 0, stopped.stderr
    assert (stopped.stdout, instance.status) == (f"{NAME}\tTERMINATED\t-\n", "TERMINATED")
    assert f"{NAME} is stopped: TERMINATED" in stopped.stderr


def test_a_vm_at_work_is_not_stopped_without_a_word(vm: VmHere) -> None:
    instance = vm.add("RUNNING")
    told = vm.ran("train", "--host", NAME, "--detach", "--data", "data/none", "--device", "cpu")
    assert (told.returncode, "has no latents and text_embeddings in data/none" in told.stderr) == (1, True)
    with HostJobs(vm.host(), vm.here) as jobs:
        job = jobs.submit("shapes", ShapesSpec(), argv=[sys.executable, "-c", WAITS, "0"]).job
    refused = vm.ran("vm", "stop")
    assert (refused.returncode, instance.status) == (2, "RUNNING")
    assert f"is at work: {job}" in refused.stderr
    assert vm.ran("vm", "stop", "--force").returncode == 0
    assert instance.status == "TERMINATED"


def test_a_verb_starts_the_vm_that_it_needs_and_runs_there(vm: VmHere) -> None:
    vm.add()
    done = vm.ran(*SHAPES)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{NAME}:{vm.there}/data/few\n"
    assert "starting it: a2-highgpu-1g" in done.stderr


def test_ctrl_c_while_there_is_no_room_leaves_and_says_how_it_stands(vm: VmHere) -> None:
    vm.add()
    vm.gce.emulator.fail_operation(
        "start", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", http=503, zones=("us-west1-b",)
    )
    child = vm.t2v(*SHAPES)
    assert child.stderr is not None
    assert any("there is room in us-west1-b" in line for line in iter(child.stderr.readline, ""))
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert (child.returncode, out) == (130, "")
    assert f"{NAME} is TERMINATED; nothing was started" in err
    assert len(vm.gce.emulator.seen("POST .*/start")) == 1


@pytest.mark.parametrize(
    ("status", "code", "said", "hint"),
    [
        (401, 2, "login has expired", "hint:  gcloud auth application-default login"),
        (503, 3, "a problem of its own (503)", "try again"),
    ],
)
def test_what_the_cloud_says_is_one_sentence_and_a_next_step(
    vm: VmHere, status: int, code: int, said: str, hint: str
) -> None:
    vm.add()
    vm.gce.emulator.fail("GET", status, times=None)
    told = vm.ran("vm", "status")
    assert (told.returncode, told.stdout) == (code, "")
    assert said in told.stderr
    assert hint in told.stderr
    assert "Traceback" not in told.stderr


def test_a_name_that_is_nearly_right_is_found(vm: VmHere) -> None:
    vm.add()
    vm.write_settings('instance = "a100-goldn"')
    told = vm.ran("vm", "status")
    assert (told.returncode, f"did you mean '{NAME}'?" in told.stderr) == (2, True)


def test_the_vms_of_the_project_are_listed_with_the_hosts_that_they_are(vm: VmHere) -> None:
    vm.add()
    vm.gce.cloud.add(Instance("t4-box", zone="europe-west4-b", id=5, gpus=(("nvidia-tesla-t4", 1),)))
    told = vm.ran("vm", "list")
    assert told.returncode == 0, told.stderr
    first, second = (line.split("\t") for line in told.stdout.splitlines())
    assert first[:3] == [NAME, "us-central1-a", "TERMINATED"]
    assert first[-1] == f"[host.{NAME}]"
    assert second[0] == "t4-box"


def test_hosts_that_are_vms_are_listed_without_asking_the_cloud(vm: VmHere) -> None:
    vm.add()
    told = vm.ran("host", "list")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"{NAME}\tVM {NAME} in us-central1-a, project proj")
    assert vm.gce.emulator.requests == []


def test_a_key_that_the_api_does_not_tell_can_be_compared_and_pinned(vm: VmHere) -> None:
    vm.known_hosts.path.unlink(missing_ok=True)
    instance = vm.gce.add()
    vm.gce.cloud.bring_up(instance)
    refused = vm.ran(*SHAPES)
    assert refused.returncode == 3
    assert "t2v host trust" in refused.stderr
    shown = next(word for word in refused.stderr.split() if word.startswith("SHA256:"))
    trusted = vm.ran("host", "trust", NAME, "--fingerprint", shown)
    assert trusted.returncode == 0, trusted.stderr
    assert vm.known_hosts.pinned(ALIAS) == [vm.sshd.public_host_key]


def test_the_jobs_of_a_vm_that_is_off_are_those_that_are_remembered(vm: VmHere) -> None:
    vm.add("RUNNING")
    with HostJobs(vm.host(), vm.here) as jobs:
        job = jobs.submit("shapes", ShapesSpec(), argv=[sys.executable, "-c", "print('hello')"]).job
        wait_until(lambda: jobs.row(job).has_ended)
    vm.gce.vm.stop()
    told = vm.ran("jobs", "--host", NAME)
    assert told.returncode == 3
    assert f"{NAME} is TERMINATED" in told.stderr
    assert job in told.stdout
