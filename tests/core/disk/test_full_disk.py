"""A disk that fills while a job runs: how it ended is told, and every question about jobs is answered."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.hosts.agent_here import Here, agent, open_agent, wait_until
from support.hosts.far_host import far_host
from support.machines.small_disk import fill, mounted, mounted_ext4

from remote.agent.base.files import sync_folder
from remote.errors import AgentError, Refused
from remote.hosts.agent_client import Agent, frames
from t2v_core.events import ErrorEvent, EventWriter, read_events

# An engine that ends as the real one does where its disk is full; `go` is a file on another disk.
ENGINE = """
import pathlib, sys, time
sys.path.insert(0, {root!r})
from t2v_core.events import ErrorEvent, EventWriter
directory, go = pathlib.Path(sys.argv[-1]), pathlib.Path({go!r})
events = EventWriter(directory / "events.jsonl")
events.stage("work")
print("at work", flush=True)
while not go.exists() and not (directory / "stop").exists():
    time.sleep(0.01)
    events.progress(1, 2, "clips")
if go.exists():
    events.emit(ErrorEvent("the disk is full: x was not written", "free some space", 1))
    sys.exit(1)
events.emit(ErrorEvent("stopped on request", "", 4))
sys.exit(4)
"""
SLEEPS = "print('at work', flush=True); import time; time.sleep(600)"
FULL = "the disk is full: x was not written"


@pytest.fixture(scope="module")
def shared() -> Iterator[Agent]:
    with agent() as shared:
        yield shared


@pytest.fixture(params=["ext4", "tmpfs"])
def here(request: pytest.FixtureRequest, tmp_path: Path, shared: Agent) -> Iterator[Here]:
    """A workspace on a disk of its own, of 8 MB."""
    disk = mounted(tmp_path / "disk", "8m") if request.param == "tmpfs" else mounted_ext4(tmp_path / "disk", 8)
    with disk as place:
        here = Here(place, shared)
        yield here
        (place / "filler").unlink(missing_ok=True)
        here.stop_all()


def begin(here: Here, *, is_engine: bool = True) -> str:
    go = str(here.workspace.parent / "go")
    program = ENGINE.format(root=str(Path(__file__).parents[3]), go=go)
    job = (
        here.start_engine(program)
        if is_engine
        else here.start("print('at work', flush=True); import time; time.sleep(600)")
    )
    here.at_work(job)
    return job


def followed(here: Here, job: str) -> list[dict[str, Any]]:
    """The headers of everything that comes, to the end."""
    channel = open_agent("follow")
    try:
        parameters = {"workspace": str(here.workspace), "job": job, "files": {"log": 0, "events.jsonl": 0}}
        return [dict(header) for header, _ in frames(channel, parameters, silence_s=60)]
    finally:
        channel.close()


def test_how_a_job_ended_is_written_down_although_nothing_else_fits(here: Here) -> None:
    job = begin(here)
    fill(here.workspace)
    (here.workspace.parent / "go").touch()

    row = here.end_of(job)

    assert (row["state"], row["code"], row["reason"], row["hint"]) == ("failed", 1, FULL, "free some space")
    wait_until((here.directory(job) / "exit.json").exists)
    assert json.loads((here.directory(job) / "exit.json").read_text())["reason"] == FULL
    assert [event.kind for event in read_events(here.directory(job) / "events.jsonl")][-1] == "error"
    assert followed(here, job)[-1]["end"]["state"] == "failed"
    assert here.call("stop", job=job)["how"] == "had ended"
    left = {path.name for path in here.directory(job).iterdir() if path.name.startswith(".")}
    assert left <= {".reserve-events"}  # of an engine that was not closed


@pytest.mark.slow  # 11 s on ext4, which looks for room in its journal first
def test_a_killed_engine_is_told_on_a_full_disk(here: Here) -> None:
    job = begin(here, is_engine=False)
    fill(here.workspace)
    os.kill(here.state(job)["pid"], signal.SIGKILL)
    row = here.end_of(job)
    assert (row["state"], row["signal"]) == ("failed", "SIGKILL")
    assert followed(here, job)[-1]["end"]["reason"].startswith("it was killed (SIGKILL)")


def test_without_a_reserve_the_end_is_told_from_the_events_and_written_down_when_there_is_room(here: Here) -> None:
    job = begin(here)
    (here.directory(job) / ".reserve").unlink()  # as of a job that an earlier version began
    sync_folder(here.directory(job))  # ext4 gives its blocks back when its journal is written, or later
    filler = fill(here.workspace)
    (here.workspace.parent / "go").touch()

    assert here.end_of(job)["reason"] == FULL
    assert followed(here, job)[-1]["end"]["reason"] == FULL
    assert here.call("stop", job=job)["state"] == "failed"

    filler.unlink()

    def is_written() -> bool:
        here.row(job)
        return (here.directory(job) / "exit.json").exists()

    wait_until(is_written)
    assert here.row(job)["reason"] == FULL


@pytest.mark.parametrize("is_engine", [True, False])
def test_a_running_job_is_shown_followed_and_stopped_on_a_full_disk(here: Here, is_engine: bool) -> None:
    job = begin(here, is_engine=is_engine)
    fill(here.workspace)
    assert here.row(job)["state"] == "running"
    frames_: list[dict[str, Any]] = []
    follower = threading.Thread(target=lambda: frames_.extend(followed(here, job)))
    follower.start()
    stopped = here.call("stop", job=job, grace_s=20)
    follower.join()
    assert stopped["state"] == "stopped"
    assert stopped["left"] == []
    assert frames_[-1]["end"]["state"] == "stopped"


def test_asking_to_stop_works_where_not_even_an_empty_file_fits(here: Here) -> None:
    job = begin(here)
    fill(here.workspace)
    take_every_name(here.directory(job))
    here.call("request", job=job, what="stop")
    assert here.end_of(job)["state"] in ("stopped", "failed")  # by SIGINT, where there was no room for the file


def take_every_name(folder: Path) -> None:
    """Until no file can be made there, if that can be come to."""
    for number in range(20_000):
        try:
            (folder / f"name-{number:0200d}").touch()
        except OSError:
            return


def test_a_job_that_finds_no_room_is_refused_whole_and_begins_when_there_is(here: Here) -> None:
    filler = fill(here.workspace)
    with pytest.raises((AgentError, Refused)) as refused:
        here.start("print(1)", key="one")
    assert "No space left on device" in refused.value.message
    assert here.call("status")["jobs"] == []
    filler.unlink()
    job = here.start("print(1)", key="one")
    assert here.end_of(job)["state"] == "succeeded"


def test_what_breaks_a_stream_is_an_answer_and_no_lost_link(here: Here) -> None:
    job = begin(here, is_engine=False)
    (here.directory(job) / "state.json").unlink()
    (here.directory(job) / "state.json").mkdir()
    channel = open_agent("follow")
    try:
        parameters = {"workspace": str(here.workspace), "job": job, "files": {"log": "no number"}}
        with pytest.raises((AgentError, Refused)):
            list(frames(channel, parameters, silence_s=60))
    finally:
        channel.close()
        (here.directory(job) / "state.json").rmdir()


def test_a_last_word_is_whole_although_lines_before_it_were_lost(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "1m") as place:
        events = EventWriter(place / "events.jsonl")
        events.stage("begun")
        fill(place)
        for number in range(2000):
            events.warning(f"warning {number} " + "x" * 100)
        assert events.lost > 0
        events.emit(ErrorEvent(FULL, "", 1))
        events.close()
        told = list(read_events(place / "events.jsonl"))
        assert told[0].kind == "stage"
        assert (told[-1].kind, told[-1].plain()["message"]) == ("error", FULL)
        assert sorted(path.name for path in place.iterdir()) == ["events.jsonl", "filler"]


WAITS_ELSEWHERE = """
import pathlib, sys, time
print("at work", flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
sys.exit(3)
"""


def test_what_is_typed_is_answered_on_a_full_disk_and_attach_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with far_host(tmp_path / "far") as elsewhere, mounted_ext4(tmp_path / "disk", 8) as place:
        monkeypatch.setenv("HOME", str(elsewhere.sshd.home))
        far = replace(elsewhere, there=place)
        far.write_settings()
        with far.jobs() as jobs:
            watched, stopped = (far.begin(jobs, WAITS_ELSEWHERE, str(tmp_path / name)) for name in ("go", "never"))
        attached = far.t2v("attach", watched, "--host", "vm")
        assert attached.stderr is not None
        assert watched in attached.stderr.readline()
        fill(place)

        listed, logs = far.ran("jobs", "--host", "vm"), far.ran("logs", watched, "--host", "vm")
        assert (listed.returncode, listed.stdout.count("running")) == (0, 2), listed.stderr
        assert (logs.returncode, logs.stdout) == (0, "at work\n"), logs.stderr
        ended = far.ran("stop", stopped, "--host", "vm", "--grace-s", "5")
        assert ended.returncode == 0, ended.stderr
        (tmp_path / "go").touch()
        out, err = attached.communicate(timeout=120)
        assert attached.returncode == 3, (out, err)
        assert "ended with code 3" in err
        assert far.ran("jobs", "--host", "vm").stdout.count("running") == 0
