"""Whoever waits for a job says what it cannot: no step any more, or a process that the system killed for its memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.hosts.agent_here import Here, agent, wait_until
from support.machines.memory_group import memory_group

from remote.agent.jobs.alarms import Watchman, seconds_without_step
from remote.agent.jobs.endings import how_it_ended
from remote.hosts.agent_client import ProcessChannel
from remote.replies.job_row import JobRow
from t2v_core.events import AlarmEvent, read_events

BEGAN_T = 1_700_000_000.0


class Told:
    """A job's events, written by a clock that the test sets."""

    def __init__(self, directory: Path) -> None:
        self.file, self.now_t = directory / "events.jsonl", BEGAN_T

    def say(self, **event: Any) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps({"t": self.now_t, **event}) + "\n")
        os.utime(self.file, (self.now_t, self.now_t))

    def step(self, step: int) -> None:
        self.say(kind="step", step=step, total=99)

    def alarms(self) -> list[AlarmEvent]:
        return [event for event in read_events(self.file) if isinstance(event, AlarmEvent)]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def watched(told: Told, seconds: int, watchman: Watchman) -> None:
    """Let so many seconds go by, a look each."""
    for _ in range(seconds):
        told.now_t += 1
        watchman.check()


def test_a_training_without_a_step_for_a_minute_is_said_once_and_again_after_the_next_one(told: Told) -> None:
    watchman = Watchman(told.file.parent, lambda: told.now_t)
    told.step(1)
    watched(told, 2, watchman)
    told.step(2)
    watched(told, 60, watchman)
    assert told.alarms() == []
    watched(told, 120, watchman)
    (alarm,) = told.alarms()
    assert (alarm.name, alarm.step) == ("no-step", 2)
    assert 60 < alarm.t - (BEGAN_T + 2) <= 75
    assert alarm.message == f"no step for {alarm.t - BEGAN_T - 2:.0f} s, though its process is alive"
    told.step(3)
    watched(told, 80, watchman)
    assert [one.step for one in told.alarms()] == [2, 3]


def test_the_alarm_stands_on_a_line_of_its_own_where_the_engine_was_cut_off(told: Told) -> None:
    told.step(1)
    told.step(2)
    with told.file.open("a") as file:
        file.write('{"t": 17')
    os.utime(told.file, (told.now_t, told.now_t))
    watched(told, 90, Watchman(told.file.parent, lambda: told.now_t))
    assert [one.name for one in told.alarms()] == ["no-step"]


STEP, STEP_BEFORE = {"t": 100.0, "kind": "step", "step": 2}, {"t": 98.0, "kind": "step", "step": 1}
SLOW_BEFORE = {"t": 60.0, "kind": "step", "step": 1}


@pytest.mark.parametrize(
    ("events", "now_t", "seconds"),
    [
        ([STEP, STEP_BEFORE], 160.0, None),
        ([STEP, STEP_BEFORE], 161.0, 61.0),
        ([STEP, SLOW_BEFORE], 299.0, None),  # its steps take 40 s: five of them are waited for
        ([STEP, SLOW_BEFORE], 301.0, 201.0),
        ([{"t": 150.0, "kind": "sample", "video": "a"}, STEP, STEP_BEFORE], 170.0, None),  # it does something else
        ([{"t": 150.0, "kind": "sample", "video": "a"}, STEP, STEP_BEFORE], 211.0, 111.0),
        ([{"t": 105.0, "kind": "stage", "name": "paused"}, STEP, STEP_BEFORE], 999.0, None),
        ([{"t": 105.0, "kind": "done"}, STEP, STEP_BEFORE], 999.0, None),
        ([{"t": 165.0, "kind": "alarm", "name": "no-step"}, STEP, STEP_BEFORE], 170.0, 70.0),
        ([{"t": 1.0, "kind": "progress", "done": 1, "total": 2}], 999.0, None),  # no training
        ([], 999.0, None),
    ],
)
def test_what_counts_as_no_step(events: list[dict[str, Any]], now_t: float, seconds: float | None) -> None:
    assert seconds_without_step(events, now_t) == seconds


def test_a_row_of_a_training_that_stands_still_says_stalled_and_how_far_it_is(tmp_path: Path) -> None:
    program = """
import json, pathlib, sys, time
directory = pathlib.Path("jobs") / __import__("os").environ["T2V_JOB"]
with open(directory / "events.jsonl", "a") as file:
    for step in (1, 2):
        file.write(json.dumps({"t": time.time() - 100 + step, "kind": "step", "step": step, "total": 9}) + "\\n")
    file.write(json.dumps({"t": time.time(), "kind": "alarm", "name": "pace", "message": "slow"}) + "\\n")
print("at work", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.01)
"""
    with agent() as one:
        here = Here(tmp_path, one)
        job = here.start(program, verb="train")
        here.at_work(job)
        known = {name: value for name, value in here.row(job).items() if name in JobRow.__dataclass_fields__}
        row = JobRow(**known)
        (tmp_path / "go").touch()
        here.end_of(job)
    assert (row.state, row.word, row.has_ended) == ("running", "stalled", False)
    assert 90 < (row.without_step_s or 0) < 400
    assert row.last_event is not None
    assert row.last_event["step"] == 2
    assert row.newest_alarm is not None
    assert row.newest_alarm.name == "pace"


def test_what_the_kernel_kills_of_a_job_is_told_before_what_it_left_is_ended(tmp_path: Path) -> None:
    with memory_group(limit_bytes=160_000_000) as group, agent() as one:
        here, channel = Here(tmp_path, one), one.channel
        assert isinstance(channel, ProcessChannel)
        (group / "cgroup.procs").write_text(str(channel.process.pid))
        # A child that is deaf to SIGTERM keeps the supervisor from saying how it ended for seconds.
        deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); open('deaf', 'w').close(); time.sleep(600)"
        program = f"""
import pathlib, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {deaf!r}])
while not pathlib.Path("deaf").exists():
    time.sleep(0.01)
x = bytearray(600_000_000)
"""
        job = here.start(program, verb="train")
        events = here.directory(job) / "events.jsonl"
        wait_until(lambda: events.exists() and b'"alarm"' in events.read_bytes())
        assert not (here.directory(job) / "exit.json").exists()
        ended = here.end_of(job)
        one.close()
    assert ended["reason"] == "memory ran out: the system killed it (SIGKILL)"
    assert ended["alarm"]["message"] == ended["reason"]


def test_an_alarm_after_the_last_word_does_not_hide_how_a_job_ended(told: Told) -> None:
    told.say(kind="done", seconds=1.0)
    told.say(kind="alarm", name="memory", message="memory ran out")
    ended = how_it_ended(told.file.parent, -9, True)
    assert ended is not None
    assert (ended["code"], ended["reason"]) == (0, "done")
