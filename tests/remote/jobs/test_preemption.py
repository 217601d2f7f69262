"""A spot machine's notice becomes a checkpoint within its 30 s, a job that says why it ended, and one that goes on."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.cloud.metadata_server import MetadataServer
from support.engine.training_set import asked
from support.hosts.agent_here import Here, agent, wait_until
from support.house.under_load import slowed
from support.warm.python import warm

from remote.agent.base import cloud
from remote.agent.jobs import preemption
from remote.agent.jobs.preemption import metadata_host, wait_for_preemption
from remote.guard import resume_preempted
from remote.hosts.agent_client import ProcessChannel, agent_argv
from remote.replies.jobs import Resumed

# An engine that works until it is asked to stop, and says that it did.
STOPS = """
import json, pathlib, sys, time
directory = pathlib.Path(sys.argv[-1])
def say(**event):
    with open(directory / "events.jsonl", "a") as file:
        file.write(json.dumps({"t": time.time(), **event}) + "\\n")
say(kind="step", step=1)
print("at work", flush=True)
while not (directory / "stop").exists() and not pathlib.Path("go").exists():
    time.sleep(0.01)
if pathlib.Path("go").exists():
    say(kind="done")
    sys.exit(0)
say(kind="error", message="stopped after step 3", hint="continue with: t2v train --resume", exit_code=4)
sys.exit(4)
"""


@pytest.fixture
def metadata() -> Iterator[MetadataServer]:
    with MetadataServer() as server:
        yield server


@pytest.fixture
def heard(metadata: MetadataServer) -> Callable[[], Callable[[], bool | None]]:
    """Begins to wait for the notice; returns what tells what was heard, None until then."""

    def begin() -> Callable[[], bool | None]:
        answers: list[bool] = []
        threading.Thread(target=lambda: answers.append(wait_for_preemption(metadata.host)), daemon=True).start()
        return lambda: answers[0] if answers else None

    return begin


Begin = Callable[[], Callable[[], bool | None]]


# The notice


def test_a_flip_while_a_question_waits_is_heard(metadata: MetadataServer, heard: Begin) -> None:
    word = heard()
    wait_until(lambda: len(metadata.asked) == 2)  # the first is answered at once, and says how it is now
    assert word() is None
    metadata.flip()
    wait_until(lambda: word() is True)


def test_a_flip_between_two_questions_is_not_missed(metadata: MetadataServer, heard: Begin) -> None:
    metadata.flips_after_answers = 1
    word = heard()
    wait_until(lambda: word() is True)
    assert [query["last_etag"] for query in metadata.asked] == ["NONE", "1"]


def test_a_machine_that_is_preempted_already_is_known_at_the_first_question(
    metadata: MetadataServer, heard: Begin
) -> None:
    metadata.flip()
    word = heard()
    wait_until(lambda: word() is True)
    assert len(metadata.asked) == 1


def test_every_question_waits_and_carries_the_etag_of_the_last_answer(metadata: MetadataServer, heard: Begin) -> None:
    word = heard()
    wait_until(lambda: len(metadata.asked) == 2)
    metadata.flip(to=False)  # something changed, and it is not preemption
    wait_until(lambda: len(metadata.asked) == 3)
    assert [query["last_etag"] for query in metadata.asked] == ["NONE", "1", "2"]
    assert {(query["wait_for_change"], query["timeout_sec"]) for query in metadata.asked} == {("true", "60")}
    assert word() is None


def test_a_server_that_was_down_at_the_flip_is_asked_again_until_it_answers(
    metadata: MetadataServer, heard: Begin
) -> None:
    word = heard()
    wait_until(lambda: len(metadata.asked) == 2)
    metadata.down()
    metadata.flip()
    metadata.up()
    wait_until(lambda: word() is True)


def test_where_there_is_no_metadata_server_nobody_waits() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    began = time.monotonic()
    assert wait_for_preemption(f"127.0.0.1:{port}") is False
    assert time.monotonic() - began < slowed(2)


def test_another_server_at_its_address_is_not_believed(metadata: MetadataServer) -> None:
    metadata.is_genuine = False
    metadata.flip()
    assert wait_for_preemption(metadata.host) is False


def test_a_server_that_does_not_wait_is_not_asked_without_pause(
    metadata: MetadataServer, heard: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preemption, "WAIT_S", 0)
    began = time.monotonic()
    word = heard()
    wait_until(lambda: len(metadata.asked) >= 4)
    assert time.monotonic() - began > 1.5 * preemption.RETRY_S
    metadata.flip()
    wait_until(lambda: word() is True)


@pytest.mark.parametrize(
    ("product", "host"), [("Google Compute Engine\n", "metadata.google.internal"), ("KVM\n", None)]
)
def test_only_a_machine_of_google_s_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, product: str, host: str | None
) -> None:
    (tmp_path / "product").write_text(product)
    monkeypatch.setattr(cloud, "PRODUCT", tmp_path / "product")
    monkeypatch.setattr(preemption, "HOST", "")
    assert metadata_host() == host
    monkeypatch.setattr(cloud, "PRODUCT", tmp_path / "nothing")
    assert metadata_host() is None


# Jobs on a machine that is preempted


class Spot(Here):
    """A spot machine with a home of its own."""

    name, is_managed, engine_python = "vm", False, sys.executable
    environment: dict[str, str]

    @property
    def workdir(self) -> str:
        return str(self.workspace)

    def open(self, arguments: Any) -> ProcessChannel:
        return ProcessChannel(agent_argv(arguments, sys.executable), env=os.environ | self.environment)

    def close(self) -> None:
        """Nothing is held."""

    def train(self, program: str = STOPS, **parameters: Any) -> str:
        (self.workspace / "run.py").write_text(program)
        python = [sys.executable, str(self.workspace / "run.py")]
        return str(self.call("start", verb="train", python=python, needs_gpu=True, **parameters)["job"])

    def is_restarted(self, metadata: MetadataServer) -> None:
        """The machine went away and came back: another boot, nothing announced."""
        metadata.flip(to=False)
        Path(self.environment["T2V_BOOT_ID_FILE"]).write_text(f"boot-{metadata.etag}\n")


@pytest.fixture
def spot(tmp_path: Path, metadata: MetadataServer) -> Iterator[Spot]:
    for name in ("work", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "boot_id").write_text("boot-0\n")
    environment = {
        "HOME": str(tmp_path / "home"), "T2V_METADATA_HOST": metadata.host,
        "T2V_BOOT_ID_FILE": str(tmp_path / "boot_id"), "T2V_SYSTEMD_MARK": "/nowhere",
    }  # fmt: skip
    with agent(**environment) as one:
        spot = Spot(tmp_path / "work", one)
        spot.environment = environment
        yield spot
        metadata.flip(to=False)
        spot.stop_all()


def test_a_job_on_a_preempted_machine_stops_and_says_why(spot: Spot, metadata: MetadataServer) -> None:
    job = spot.train()
    spot.at_work(job)
    metadata.flip()
    row = spot.end_of(job)
    assert (row["state"], row["code"]) == ("preempted", 4)
    assert row["reason"] == "the machine was preempted; stopped after step 3"


def test_every_running_job_is_told(spot: Spot, metadata: MetadataServer) -> None:
    jobs = [spot.start_engine(STOPS) for _ in range(3)]
    for job in jobs:
        spot.at_work(job)
    metadata.flip()
    assert [spot.end_of(job)["state"] for job in jobs] == ["preempted"] * 3


def test_a_job_whose_supervisor_was_killed_is_told_by_the_next_one(spot: Spot, metadata: MetadataServer) -> None:
    job = spot.train()
    spot.at_work(job)
    first = spot.state(job)["supervisor"]
    os.kill(first, 9)
    wait_until(lambda: spot.row(job)["supervised"] and spot.state(job)["supervisor"] != first)
    metadata.flip()
    assert spot.end_of(job)["state"] == "preempted"


def test_what_waits_in_the_queue_begins_after_the_restart_and_not_before_it(
    spot: Spot, metadata: MetadataServer
) -> None:
    first, second = spot.train(), spot.train()
    spot.at_work(first)
    metadata.flip()
    assert spot.end_of(first)["state"] == "preempted"
    third = spot.start_engine(STOPS)
    assert [spot.row(job)["state"] for job in (second, third)] == ["queued", "queued"]
    spot.is_restarted(metadata)
    spot.at_work(second)
    assert spot.row(second)["state"] == "running"


# Going on


def test_a_preempted_training_goes_on_once_the_machine_is_back(spot: Spot, metadata: MetadataServer) -> None:
    spec = {"preset": "tiny", "epochs": 7}
    before = spot.train(spec=spec, env={"T2V_ANYTHING": "1"})
    spot.at_work(before)
    metadata.flip()
    spot.end_of(before)
    assert resume_preempted(spot) == []  # the machine is still going down
    spot.is_restarted(metadata)
    (one,) = resume_preempted(spot)
    assert (one.before, one.is_new, one.from_checkpoint) == (before, True, False)
    assert json.loads((spot.directory(one.job) / "spec.json").read_text()) == spec
    was, now = (json.loads((spot.directory(job) / "request.json").read_text()) for job in (before, one.job))
    same = ("verb", "python", "env", "needs_gpu", "is_engine")
    assert [was[name] for name in same] == [now[name] for name in same]
    spot.at_work(one.job)


def test_what_waits_for_a_preempted_training_waits_for_the_one_that_goes_on_with_it(
    spot: Spot, metadata: MetadataServer
) -> None:
    before = spot.train()
    then = spot.start("open('then', 'w')", after=before)
    spot.at_work(before)
    metadata.flip()
    assert spot.end_of(before)["state"] == "preempted"
    spot.is_restarted(metadata)
    (one,) = resume_preempted(spot)
    spot.at_work(one.job)
    assert spot.row(then)["state"] == "queued"
    metadata.flip()
    assert spot.end_of(one.job)["state"] == "preempted"
    spot.is_restarted(metadata)
    (again,) = resume_preempted(spot)
    spot.at_work(again.job)
    (spot.workspace / "go").touch()
    assert spot.end_of(again.job)["state"] == "succeeded"
    assert spot.end_of(then)["state"] == "succeeded"


def test_what_waits_for_a_training_that_goes_on_holds_up_nobody_who_was_there_before(
    spot: Spot, metadata: MetadataServer
) -> None:
    before = spot.train()
    then = spot.start("open('then', 'w')", after=before, needs_gpu=True)
    other = spot.start("open('other', 'w')", needs_gpu=True)
    spot.at_work(before)
    metadata.flip()
    assert spot.end_of(before)["state"] == "preempted"
    spot.is_restarted(metadata)
    (one,) = resume_preempted(spot)
    assert spot.end_of(other)["state"] == "succeeded"
    spot.at_work(one.job)
    assert [spot.row(job)["place_in_queue"] for job in (one.job, then)] == [None, 1]
    (spot.workspace / "go").touch()
    assert spot.end_of(one.job)["state"] == "succeeded"
    assert spot.end_of(then)["state"] == "succeeded"


def test_what_waits_for_a_preempted_job_that_nobody_takes_up_is_not_started(
    spot: Spot, metadata: MetadataServer
) -> None:
    before = spot.start_engine(STOPS)
    then = spot.start("pass", after=before)
    spot.at_work(before)
    metadata.flip()
    row = spot.end_of(then)
    assert (row["state"], row["reason"]) == ("stopped", f"not started: job {before} did not succeed (preempted)")


def test_asking_twice_is_one_training(spot: Spot, metadata: MetadataServer) -> None:
    before = spot.train()
    spot.at_work(before)
    metadata.flip()
    spot.end_of(before)
    spot.is_restarted(metadata)
    first = resume_preempted(spot)
    assert [one.is_new for one in first] == [True]
    assert resume_preempted(spot) == []
    assert len(spot.call("status")["jobs"]) == 2


@pytest.mark.parametrize("how", ["stopped", "newer"])
def test_a_training_that_somebody_ended_or_left_behind_stays_as_it_is(
    spot: Spot, metadata: MetadataServer, how: str
) -> None:
    before = spot.train()
    spot.at_work(before)
    if how == "stopped":
        spot.call("stop", job=before, grace_s=5)
    else:
        metadata.flip()
        spot.end_of(before)
        spot.is_restarted(metadata)
        spot.train()
    assert resume_preempted(spot) == []


def test_a_workspace_without_jobs_has_nothing_to_go_on_with(spot: Spot) -> None:
    assert resume_preempted(spot) == []


@pytest.mark.slow
def test_the_engine_makes_its_checkpoint_within_the_notice_and_goes_on_from_it(
    spot: Spot, metadata: MetadataServer
) -> None:
    spec = asked(epochs=500, checkpoint_every=400)
    before = str(spot.call("start", verb="train", python=[warm()], spec=spec, needs_gpu=True)["job"])
    wait_until(lambda: step_of(spot, before) > 3)
    metadata.flip()
    noticed = time.monotonic()
    assert spot.end_of(before)["state"] == "preempted"
    assert time.monotonic() - noticed < slowed(30)
    last = step_of(spot, before)
    spot.is_restarted(metadata)
    (one,) = resume_preempted(spot)
    assert one == Resumed(one.job, before, is_new=True, from_checkpoint=True)
    wait_until(lambda: step_of(spot, one.job) > 0)
    first = next(event["step"] for event in events(spot, one.job) if event["kind"] == "step")
    assert first == last + 1


def events(spot: Spot, job: str) -> list[dict[str, Any]]:
    path = spot.directory(job) / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def step_of(spot: Spot, job: str) -> int:
    return max((event["step"] for event in events(spot, job) if event["kind"] == "step"), default=0)
