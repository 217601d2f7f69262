"""States of the terminal UI to draw: nothing yet, at work, stopped, unreachable, failed. The clock stands at NOW."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from remote.jobs.metrics import MachineSample
from remote.power.state import Power
from remote.replies.job_row import JobRow
from remote.replies.machine import GpuSample
from remote.steps import Status, StepState
from t2v_tui.store.cost_view import CostView
from t2v_tui.store.state import (
    Curve,
    GuardView,
    HostKind,
    HostView,
    JobKey,
    JobView,
    LaunchPhase,
    LaunchView,
    LinkView,
    Reach,
    RunView,
    State,
    TransferView,
    VmView,
)

NOW = 1_795_575_600.0
WORKSPACE = Path("/work/t2v")
VM = "a100-golden"
RUN = JobKey(VM, "20261125-021501-train-3f2a")
OLD = JobKey(VM, "20261124-181200-train-9c01")
HERE = JobKey("local", "20261125-014000-generate-77aa")

LOCAL_HOST = HostView(
    "local", HostKind.LOCAL, "this machine", str(WORKSPACE), LinkView(Reach.UP, NOW - 60, NOW - 1, 0.004)
)
GPU = GpuSample(0, "NVIDIA A100-SXM4-40GB", 94.0, 31_200.0, 40_960.0, 68.0, 312.0, 400.0)
MACHINE = MachineSample((GPU,), "", 41.0, 89_000_000_000, 52_000_000_000, 212_000_000_000)
COST = CostView(3.69, 12.4, 9.1, 0.014, NOW - 10, is_estimate=True, up_usd_per_hour=3.69)
RUNNING = HostView(
    VM, HostKind.VM, "203.0.113.7", "~/text2video", LinkView(Reach.UP, NOW - 900, NOW - 4, 0.034),
    VmView(Power.RUNNING, NOW - 12, NOW - 11_700, "a2-highgpu-1g", "us-central1-a", gpus="1 × tesla-a100"),
    COST, GuardView(NOW + 24 * 3600, "a training is at work", cap_t=NOW + 20 * 3600, is_busy=True), MACHINE, NOW - 2,
)  # fmt: skip
STOPPED = replace(
    RUNNING, link=LinkView(Reach.LOST, NOW - 400, NOW - 400, None, "a100-golden is TERMINATED"),
    vm=VmView(Power.STOPPED, NOW - 9, None, "a2-highgpu-1g", "us-central1-a", gpus="1 × tesla-a100"),
    cost=replace(COST, usd_per_hour=0.0, usd_session=0.0), guard=None, machine=None, machine_t=None,
)  # fmt: skip
UNREACHABLE = replace(
    RUNNING,
    link=LinkView(Reach.LOST, NOW - 42, NOW - 46, None, "203.0.113.7 has not answered for 9 s", "t2v looks again"),
)


def curve(steps: int = 400) -> Curve:
    """A loss as trainings have it: falling, then flat, with a little noise that is the same each time."""
    numbers = tuple(range(1, steps + 1))
    losses = tuple(0.08 + 1.6 * math.exp(-step / 70) + 0.05 * math.sin(step * 1.7) ** 2 for step in numbers)
    held_out = tuple((step, 0.11 + 1.5 * math.exp(-step / 75)) for step in range(50, steps + 1, 50))
    return Curve(numbers, losses, held_out, tuple(range(100, steps + 1, 100)), tuple(range(100, steps + 1, 100)))


ROW = JobRow(
    RUN.job, "train", "running", queued_t=NOW - 700, started_t=NOW - 690, pid=4711, needs_gpu=True,
    last_event={"kind": "step", "step": 400, "total": 1404, "loss": 0.0831},
)  # fmt: skip
ENDED = JobRow(OLD.job, "train", "succeeded", 0, queued_t=NOW - 50_000, started_t=NOW - 49_990, ended_t=NOW - 30_000,
               last_event={"kind": "done", "seconds": 19_990.0, "checkpoint": "checkpoints/checkpoint_epoch_36",
                           "steps": 1404, "loss": 0.0942, "held_out_loss": None})  # fmt: skip
FAILED = JobRow(
    HERE.job, "generate", "failed", 1, reason="there is no complete checkpoint in checkpoints",
    hint="t2v train makes one; --checkpoint embedded takes the one that comes with t2v",
    queued_t=NOW - 3000, started_t=NOW - 2990, ended_t=NOW - 2980,
)  # fmt: skip
LIVE_RUN = RunView(
    "train", "tiny", 400.0, 1404.0, "steps", 3.71, 11, 0.0831, 0.1102, 59.4, curve(),
    checkpoints=("checkpoints/checkpoint_epoch_6",), heard_t=NOW - 1,
)  # fmt: skip
JOBS: Mapping[JobKey, JobView] = {
    RUN: JobView(RUN, ROW, NOW - 1), OLD: JobView(OLD, ENDED, NOW - 1), HERE: JobView(HERE, FAILED, NOW - 1),
}  # fmt: skip


def empty() -> State:
    return State(WORKSPACE, {"local": LOCAL_HOST})


def live(host: HostView = RUNNING) -> State:
    pull = TransferView("1", VM, "checkpoint_epoch_6", is_pull=True, done_bytes=710_000_000, total_bytes=1_000_000_000,
                        rate=38e6, state="running")  # fmt: skip
    return State(
        WORKSPACE, {VM: host, "local": LOCAL_HOST}, VM, JOBS, {RUN: LIVE_RUN}, RUN, transfers=(pull,)
    )  # fmt: skip


def stopped() -> State:
    ended = replace(ROW, state="stopped", code=4, reason="stopped on request after step 400 of 1404", ended_t=NOW - 500)
    jobs = {**JOBS, RUN: JobView(RUN, ended, NOW - 450)}
    return replace(live(STOPPED), jobs=jobs, transfers=())


def unreachable() -> State:
    return replace(live(UNREACHABLE), runs={RUN: replace(LIVE_RUN, link_why="203.0.113.7 has not answered for 9 s")})


def loading() -> State:
    """A VM was chosen, and neither it nor its provider has answered yet."""
    link = LinkView(Reach.ASKING, NOW - 3)
    host = replace(RUNNING, link=link, vm=VmView(), cost=None, guard=None, machine=None, machine_t=None)
    return State(WORKSPACE, {VM: host, "local": LOCAL_HOST}, VM)


def refused() -> State:
    """The provider does not let this user in, so the VM is neither on nor off; the training that was shown failed."""
    problem = VmView(problem="the login of gcloud has expired", hint="gcloud auth login")
    host = replace(loading().chosen, vm=problem, link=LinkView(Reach.LOST, NOW - 42, None, None, problem.problem))
    failed = replace(ROW, state="failed", code=1, reason="the disk is full at step 400", ended_t=NOW - 500,
                     hint="free some space there, then t2v train --resume")  # fmt: skip
    jobs = {**JOBS, RUN: JobView(RUN, failed, NOW - 450)}
    return State(WORKSPACE, {VM: host, "local": LOCAL_HOST}, VM, jobs, {RUN: LIVE_RUN}, RUN)


def asking() -> State:
    """`t` on a VM that is off."""
    launch = LaunchView(
        "train", VM, LaunchPhase.ASKING, NOW - 2, f"train on {VM} · ~$3.69/h\npreset tiny · epochs 36",
        ("about 1:12:00 for 50,000 steps on A100 40GB → about $4.43",),
    )  # fmt: skip
    return replace(stopped(), launch=launch)


def failing() -> State:
    """A step that went wrong, with the end of its log."""
    steps = (
        StepState("VM", Status.DONE, "running a2-highgpu-1g"), StepState("SSH", Status.OK, VM),
        StepState("environment", Status.FAILED, "pip cannot install what the engine needs: No space left on device",
                  "free some space there and run it again"),
    )  # fmt: skip
    launch = LaunchView(
        "train", VM, LaunchPhase.FAILED, NOW - 90, f"train on {VM} · ~$3.69/h\npreset tiny · epochs 36",
        ("about 1:12:00 for 50,000 steps on A100 40GB → about $4.43",), steps,
        (*(f"Collecting package-{number}" for number in range(19)), "ERROR: No space left on device"),
    )  # fmt: skip
    return replace(live(), launch=launch)
