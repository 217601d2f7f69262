"""One trial: two hosts train together, one is lost at a random moment, and they go on from the last checkpoint."""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.engine.engine import events_of
from support.engine.training_set import data_set
from support.gang.bridged_hosts import Hosts
from support.hosts.agent_here import wait_until

EPOCHS, INTERVAL = 3, 11
STEPS = EPOCHS * INTERVAL
TIMEOUT_S = 240.0
# How a host is lost: the plug is pulled, or its processes are killed while its network answers for them.
WAYS = ("plug", "kill")
TRAIN = (
    "train", "--hosts", "a,b", "--preset", "tiny", "--epochs", str(EPOCHS), "--batch-size", "1",
    "--gradient-accumulation", "1", "--lr-schedule", "constant", "--learning-rate", "0.0001", "--checkpoint-every", "1",
    "--keep-last", "9", "--samples", "0", "--device", "cpu", "--threads", "1", "--seed", "0",
)  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """victim, way: which host was lost, and how; at_step: that the job had told of then

    stopped_s: until nothing of the job ran on the other host; lost_steps: that were done again
    kept, begun: the step of the newest checkpoint that the job had told of, and the one that it went on from
    """

    victim: str
    way: str
    at_step: int
    stopped_s: float
    lost_steps: int
    kept: int
    begun: int
    final: Path


def bring_data(hosts: Hosts) -> None:
    for one in hosts.far.values():
        shutil.copytree(data_set(), one.there / "data/msr-vtt")


def steps_told(directory: Path) -> int:
    return max((event["step"] for event in told(directory) if event["kind"] == "step"), default=0)


def told(directory: Path) -> list[dict[str, Any]]:
    return events_of(directory) if (directory / "events.jsonl").exists() else []


def one_trial(hosts: Hosts, rng: random.Random, number: int = 0) -> Trial:
    """Raises AssertionError when the job does not end well, or a host goes on alone for longer than a minute."""
    victim, way = rng.choice("ab"), rng.choice(WAYS)
    moment, delay_s = rng.randrange(1, STEPS - 2), rng.random() * 0.1
    checkpoints = f"checkpoints/trial{number}"
    command = hosts.t2v([*TRAIN, "--checkpoints", checkpoints])
    before = {one.parent for one in (hosts.here.root / "jobs").glob("*/spec.json")}
    wait_until(lambda: bool({one.parent for one in (hosts.here.root / "jobs").glob("*/spec.json")} - before))
    led = hosts.led()
    wait_until(lambda: command.poll() is not None or steps_told(led) >= moment)
    assert command.poll() is None, hosts.said()
    time.sleep(delay_s)
    at_step = steps_told(led)
    kept = max((event["step"] for event in told(led) if event["kind"] == "checkpoint"), default=0)
    hosts.far[victim].lose_power(at_once=way == "plug")
    stopped_s = _until_stopped(hosts, "b" if victim == "a" else "a")
    hosts.far[victim].boot()
    code = command.wait(TIMEOUT_S)
    assert code == 0, hosts.said()
    begun = [int(found[1]) for event in told(led) if (found := re.search(r"steps (\d+) →", event.get("detail", "")))]
    assert len(begun) >= 2, hosts.said()
    final = hosts.far["a"].there / checkpoints / f"checkpoint_epoch_{EPOCHS}"
    return Trial(victim, way, at_step, stopped_s, at_step - begun[-1], kept, begun[-1], final)


def _until_stopped(hosts: Hosts, other: str) -> float:
    """Seconds until the newest job of the other host has ended. In a folder of both lie the jobs of both."""
    of_it = [spec.parent for spec in hosts.far[other].jobs_there() if _host_of(spec.parent) == other]
    began, newest = time.monotonic(), of_it[-1]
    wait_until((newest / "exit.json").exists)
    return time.monotonic() - began


def _host_of(job: Path) -> str:
    """By its place in the gang; "" of a job that has none."""
    said = json.loads((job / "request.json").read_text())["env"].get("T2V_PLACE")
    place = json.loads(said) if said else {"hosts": [""], "rank": 0}
    return str(place["hosts"][place["rank"]])
