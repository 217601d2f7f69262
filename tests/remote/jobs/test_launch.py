"""One press, from a VM that is off to a job that runs: every step looks first, and asking again is always safe."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from support.hosts.agent_here import wait_until
from support.hosts.far_host import Far, far_host
from support.machines.gce_here import NAME
from support.machines.vm_here import ALIAS, VmHere, vm_of_module

from remote.errors import HostKeyUnknown, NotReady, QuotaExceeded, RemoteError
from remote.gce import vm as gce
from remote.hosts.host import LocalHost
from remote.jobs.client import HostJobs
from remote.launch.launch import STEPS, Launch
from remote.launch.preflight import inspect_host
from remote.power import start as vm_up
from remote.setup.release import current_release
from remote.steps import ProgressIterator, Status, StepState
from t2v_core.disk.files import staged_directory
from t2v_core.specs import GenerateSpec, PreprocessSpec, ShapesSpec, Spec, TrainSpec
from t2v_core.workspace import Workspace

T = TypeVar("T")
QUICK = ShapesSpec(clips=2, test_clips=1, data=Path("data/few"))


vm_module = vm_of_module


@pytest.fixture
def vm(vm_module: VmHere, monkeypatch: pytest.MonkeyPatch) -> VmHere:
    vm_module.gce.reset()
    for name, value in vm_module.gce.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(vm_up, "SSH_PAUSE_S", 0.05)
    monkeypatch.setattr(gce, "STOCKOUT_PAUSES_S", (0.05,))
    return vm_module


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with far_host(tmp_path_factory.mktemp("far")) as far:
        yield far


@pytest.fixture(autouse=True)
def small_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is launched here is small, and fits where tests have little space."""
    monkeypatch.setattr("remote.launch.launch.MIN_FREE_BYTES", 1_000_000)


def pressed(vm: VmHere, verb: str = "shapes", spec: Spec = QUICK, **how: object) -> tuple[Launch, list[StepState]]:
    launch = Launch(vm.host(), vm.here, verb, spec, **how)
    try:
        return launch, list(launch)
    finally:
        launch.jobs.close()


def failed(launch: Launch) -> tuple[StepState, RemoteError]:
    """The last step of one that does not come through, and its error."""
    told: list[StepState] = []
    with pytest.raises(RemoteError) as caught:
        listen(launch, told)
    launch.jobs.close()
    return told[-1], caught.value


def listen(telling: Iterable[T], heard: list[T]) -> None:
    """As far as it comes."""
    heard.extend(telling)


def ends(steps: list[StepState]) -> dict[str, Status]:
    """How each step ended, in the order of their ends."""
    return {one.name: one.status for one in steps if one.status is not Status.DOING}


def test_one_press_starts_the_vm_pins_its_keys_and_starts_the_job(vm: VmHere) -> None:
    instance = vm.add()
    launch, steps = pressed(vm)
    assert launch.job is not None
    assert (launch.job.host, launch.job.is_new) == (NAME, True)
    found = ends(steps)
    assert [found[name] for name in ("VM", "SSH", "launch")] == [Status.DONE, Status.OK, Status.DONE]
    assert set(found) <= set(STEPS)
    assert vm.known_hosts.pinned(ALIAS) == [vm.sshd.public_host_key]
    assert instance.max_run_s == 24 * 3600
    assert "an hour" in next(one.detail for one in steps if one.status is Status.DONE)
    with HostJobs(vm.host(), vm.here) as jobs:
        job = launch.job.job
        wait_until(lambda: jobs.row(job).has_ended)
        assert jobs.row(job).state == "succeeded"


def test_a_vm_that_runs_is_looked_at_and_left_as_it_is(vm: VmHere) -> None:
    instance = vm.add("RUNNING")
    _, steps = pressed(vm)
    assert ends(steps)["VM"] is Status.OK
    assert vm.gce.emulator.seen("POST .*/(start|setScheduling)") == []
    assert instance.max_run_s is None


def test_asking_again_from_the_start_is_one_job(vm: VmHere) -> None:
    vm.add()
    first, _ = pressed(vm, key="a" * 32)
    second, _ = pressed(vm, key="a" * 32)
    assert first.job is not None
    assert second.job is not None
    assert (first.job.job, second.job.is_new) == (second.job.job, False)


def test_an_ssh_server_that_is_not_up_yet_is_waited_for(vm: VmHere) -> None:
    vm.add()
    vm.gce.cloud.boot_s = 0.8
    launch, steps = pressed(vm)
    assert launch.job is not None
    assert any(one.name == "SSH" and "no SSH server yet" in one.detail for one in steps)


def test_an_ssh_server_that_never_comes_up_is_said_to_be_missing(vm: VmHere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm_up, "SSH_TIMEOUT_S", 0.3)
    vm.add()
    vm.gce.cloud.boot_s = 60.0
    step, error = failed(Launch(vm.host(), vm.here, "shapes", QUICK))
    vm.gce.cloud.closing.set()
    assert (step.name, step.status, error.exit_code) == ("SSH", Status.FAILED, 3)
    assert "refuses the connection" in error.message


def test_a_stockout_is_told_each_time_until_there_is_room(vm: VmHere) -> None:
    vm.add()
    vm.gce.emulator.fail_operation("start", "ZONE_RESOURCE_POOL_EXHAUSTED", http=503, times=2)
    launch, steps = pressed(vm)
    assert launch.job is not None
    assert sum("no such machine available" in one.detail for one in steps) == 2


def test_whoever_leaves_during_a_stockout_ends_the_attempts(vm: VmHere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gce, "STOCKOUT_PAUSES_S", (30.0,))
    vm.add()
    vm.gce.emulator.fail_operation("start", "ZONE_RESOURCE_POOL_EXHAUSTED", http=503, times=9)
    launch = Launch(vm.host(), vm.here, "shapes", QUICK)
    steps = iter(launch)
    for state in steps:
        if "no such machine" in state.detail:
            break
    steps.close()
    wait_until(lambda: not any(one.name == "telling" for one in threading.enumerate()))
    assert len(vm.gce.emulator.seen("POST .*/start")) == 1


def test_a_used_up_quota_ends_the_press_at_its_first_step(vm: VmHere) -> None:
    vm.add()
    vm.gce.emulator.fail_operation("start", "QUOTA_EXCEEDED", http=403)
    step, error = failed(Launch(vm.host(), vm.here, "shapes", QUICK))
    assert (step.name, step.status, type(error)) == ("VM", Status.FAILED, QuotaExceeded)


def test_without_a_word_of_the_api_about_its_keys_nobody_is_trusted(vm: VmHere) -> None:
    vm.known_hosts.path.unlink(missing_ok=True)
    vm.gce.add()
    step, error = failed(Launch(vm.host(), vm.here, "shapes", QUICK))
    assert (step.name, type(error)) == ("SSH", HostKeyUnknown)
    assert "t2v host trust" in error.hint


def test_a_limit_that_may_not_be_set_stops_nobody(vm: VmHere) -> None:
    vm.add()
    vm.gce.emulator.fail("setScheduling", 403)
    launch, steps = pressed(vm)
    assert launch.job is not None
    assert any(one.status is Status.NOTE and "no limit of 24 h" in one.detail for one in steps)


def test_a_tighter_limit_of_the_users_own_is_left(vm: VmHere) -> None:
    instance = vm.add()
    instance.max_run_s = 3600
    pressed(vm)
    assert instance.max_run_s == 3600


# Data


def make_latents(workspace: Path, *, is_whole: bool = True) -> None:
    for name in ("latents", "text_embeddings"):
        with staged_directory(workspace / "data/msr-vtt" / name / "train") as partial:
            (partial / "shard-00000.safetensors").write_bytes(b"x" * 100)
    if not is_whole:
        (workspace / "data/msr-vtt/latents/train/shard-00000.safetensors").write_bytes(b"torn")


@pytest.mark.parametrize(
    ("verb", "spec", "what"),
    [
        ("train", TrainSpec(device="cpu"), "latents and text_embeddings"),
        ("preprocess", PreprocessSpec(device="cpu"), "videos and annotations"),
    ],
)
def test_missing_data_is_one_sentence_before_anything_is_started(far: Far, verb: str, spec: Spec, what: str) -> None:
    step, error = failed(Launch(far.host(), far.here, verb, spec))
    assert (step.name, type(error)) == ("data", NotReady)
    assert error.message == f"vm has no {what} in data/msr-vtt"
    assert error.hint.startswith("bring them: t2v push data --host vm")
    assert not (far.there / "jobs").exists()


@pytest.mark.parametrize(
    ("verb", "spec", "named"),
    [
        ("generate", GenerateSpec(prompt="a", lora="styles/a.safetensors:0.5"), "styles/a.safetensors"),
        ("generate", GenerateSpec(prompt="a", model="/models/wan", lora="there.safetensors"), "/models/wan"),
        ("train", TrainSpec(lora=True, base=Path("checkpoints/none")), "checkpoints/none"),
    ],
)
def test_a_named_file_that_is_not_there_is_one_sentence_before_anything_is_started(
    far: Far, verb: str, spec: Spec, named: str
) -> None:
    (far.there / "there.safetensors").touch()
    step, error = failed(Launch(far.host(), far.here, verb, spec))
    assert (step.name, step.detail) == ("data", f"vm has no {named}")
    assert error.hint.startswith(f"bring it: t2v push {named} --host vm")
    assert not (far.there / "jobs").exists()


def test_what_is_named_and_there_or_is_of_the_hub_is_no_obstacle(far: Far) -> None:
    (far.there / "there.safetensors").touch()
    here = GenerateSpec(prompt="a", model="owner/wan", lora="there.safetensors:2,there.safetensors")
    with far.jobs() as jobs:
        assert inspect_host(jobs, "generate", here, current_release(), begins=False).absent == ()
        shipped = TrainSpec(lora=True, base=Path("embedded"))
        assert inspect_host(jobs, "train", shipped, current_release(), begins=False).absent == ()


def test_latents_that_are_not_whole_are_as_good_as_none(far: Far) -> None:
    release = current_release()
    make_latents(far.there)
    with far.jobs() as jobs:
        assert inspect_host(jobs, "train", TrainSpec(), release, begins=False).missing == ()
        make_latents(far.there, is_whole=False)
        assert inspect_host(jobs, "train", TrainSpec(), release, begins=False).missing == ("latents",)


def test_a_job_that_waits_for_the_one_that_makes_the_data_may_be_launched(far: Far) -> None:
    with far.jobs() as jobs:
        first = far.begin(jobs, "import time; print('x', flush=True); time.sleep(0.2)")
        launch = Launch(
            jobs.host, far.here, "train", TrainSpec(device="cpu", data=Path("data/soon")), after=first, jobs=jobs
        )
        assert "data" not in ends(list(launch))
        assert launch.job is not None
        assert launch.job.state == "queued"
        jobs.stop(launch.job.job, grace_s=0)


def test_this_machine_needs_no_steps_but_the_last(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    launch = Launch(LocalHost(workspace), workspace, "shapes", QUICK)
    assert set(ends(list(launch))) == {"launch"}
    assert launch.job is not None
    with launch.jobs as jobs:
        wait_until(lambda: jobs.row(launch.job.job).has_ended if launch.job else False)


# A call that tells


def test_what_a_call_tells_arrives_in_order_and_its_error_at_the_end() -> None:
    def call(tell: Callable[[int], None], cancelled: threading.Event) -> str:
        for number in range(3):
            tell(number)
        assert not cancelled.is_set()
        raise NotReady("no more")

    heard: list[int] = []
    with pytest.raises(NotReady, match="no more"):
        listen(ProgressIterator(call), heard)
    assert heard == [0, 1, 2]


def test_a_call_learns_that_nobody_listens_any_more() -> None:
    ended = threading.Event()

    def call(tell: Callable[[int], None], cancelled: threading.Event) -> None:
        tell(1)
        assert cancelled.wait(60)
        ended.set()

    said = iter(ProgressIterator(call))
    assert next(said) == 1
    said.close()
    assert ended.wait(60)
