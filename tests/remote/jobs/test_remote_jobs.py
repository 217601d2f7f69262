"""Jobs on a host over SSH: one press is one job, and a started job outlives everything on this side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.hosts.agent_here import WAITS, wait_until
from support.hosts.far_host import ANY_SPEC, Far, far_host, seen_soon

from remote.errors import HostUnreachable, JobNotFound, Refused
from remote.hosts.host import LocalHost
from remote.jobs.client import HostJobs
from remote.jobs.request_keys import REMEMBERED_S, pressed
from remote.jobs.spool import known_rows
from t2v_core.specs import make_spec
from t2v_core.workspace import Workspace

# Presses, says its key, and waits to be killed.
PRESSES = """
import sys, time
from pathlib import Path
from remote.jobs.request_keys import pressed
from t2v_core.workspace import Workspace
with pressed(Workspace(Path(sys.argv[1])), {"verb": "train"}) as key:
    print(key, flush=True)
    time.sleep(60)
"""
# Ends by itself when asked, as the engine does.
OBEDIENT = """
import os, pathlib, sys, time
folder = pathlib.Path("jobs", os.environ["T2V_JOB"])
print("at work", flush=True)
while not (folder / "stop").exists() and not pathlib.Path("go").exists():
    time.sleep(0.01)
sys.exit(4)
"""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with far_host(tmp_path_factory.mktemp("far")) as far:
        far.write_settings()
        yield far


@pytest.fixture(autouse=True)
def fresh(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    seen_soon(monkeypatch)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (far.there / "go").unlink(missing_ok=True)


@pytest.fixture
def jobs(far: Far) -> Iterator[HostJobs]:
    with far.jobs() as jobs:
        yield jobs


def waits(code: int) -> list[str]:
    return [sys.executable, "-c", WAITS, str(code)]


def key_of_lost_answer(workspace: Workspace, request: dict[str, str]) -> str:
    with suppress(HostUnreachable), pressed(workspace, request) as key:
        raise HostUnreachable("no answer")
    return key


def directories(far: Far) -> set[str]:
    return {path.name for path in (far.there / "jobs").glob("[0-9]*")}


# One press, one job


def test_the_answer_cut_after_the_host_wrote_is_one_job(far: Far, jobs: HostJobs) -> None:
    before = {row.job for row in jobs.rows()}
    far.proxy.rules.cut_after = far.proxy.passed + 1
    job = jobs.submit("shapes", ANY_SPEC, argv=waits(0))
    assert directories(far) - before == {job.job}
    assert far.proxy.rules.cut_after is None
    assert [row.job for row in jobs.rows() if row.job not in before] == [job.job]
    far.go()


def test_eight_at_once_with_one_key_are_one_job(far: Far) -> None:
    before = directories(far)
    made: list[tuple[str, bool]] = []

    def press() -> None:
        with far.jobs() as own:
            job = own.submit("shapes", ANY_SPEC, argv=waits(0), key="the same")
            made.append((job.job, job.is_new))

    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 8
    assert directories(far) - before == {job for job, _ in made}
    assert [is_new for _, is_new in made].count(True) == 1
    far.go()


def test_two_presses_are_two_jobs(far: Far, jobs: HostJobs) -> None:
    one, other = (jobs.submit("shapes", ANY_SPEC, argv=waits(0)) for _ in range(2))
    assert one.job != other.job
    assert (one.is_new, other.is_new) == (True, True)
    far.go()


def test_the_key_of_a_press_whose_process_was_killed_is_used_again_and_of_no_other(tmp_path: Path) -> None:
    workspace, request = Workspace(tmp_path), {"verb": "train"}
    child = subprocess.Popen([sys.executable, "-c", PRESSES, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    key = child.stdout.readline().strip()
    with pressed(workspace, request) as beside:
        assert beside != key
    child.kill()
    child.communicate()
    with pressed(workspace, {"verb": "generate"}) as another:
        assert another != key
    assert key_of_lost_answer(workspace, request) == key
    with pressed(workspace, request) as at_last:
        assert at_last == key
    with pressed(workspace, request) as afresh:
        assert afresh != key
    assert list((tmp_path / ".t2v/presses").iterdir()) == []


def test_a_press_that_was_refused_or_lies_long_back_is_not_remembered(tmp_path: Path) -> None:
    workspace, request = Workspace(tmp_path), {"verb": "train"}
    with pytest.raises(Refused), pressed(workspace, request):
        raise Refused("there is no such verb")
    assert list((tmp_path / ".t2v/presses").iterdir()) == []
    key = key_of_lost_answer(workspace, request)
    old = next((tmp_path / ".t2v/presses").iterdir())
    os.utime(old, (time.time() - REMEMBERED_S - 9,) * 2)
    with pressed(workspace, request) as later:
        assert later != key


# A started job outlives the client


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGINT])
def test_a_job_ends_with_its_own_code_when_who_watches_is_gone(
    far: Far, jobs: HostJobs, number: signal.Signals
) -> None:
    job = far.begin(jobs, WAITS, "7")
    client = far.t2v("attach", job, "--verbose")
    assert client.stderr is not None
    assert any("at work" in line for line in iter(client.stderr.readline, ""))
    client.send_signal(number)
    _, said = client.communicate(timeout=120)
    if number is signal.SIGINT:
        assert client.returncode == 130
        assert f"t2v attach {job}" in said
        assert f"t2v stop {job}" in said
    else:
        assert client.returncode == -number
    assert jobs.row(job).state in ("starting", "running")
    far.go()
    row = far.end_of(jobs, job)
    assert (row.state, row.code) == ("failed", 7)


def test_a_job_ends_with_its_own_code_when_connection_and_server_are_gone(far: Far, jobs: HostJobs) -> None:
    job = far.begin(jobs, WAITS, "5")
    far.proxy.cut()
    far.sshd.kill()
    try:
        with pytest.raises(HostUnreachable), far.jobs() as others:
            others.rows()
        assert [known.row.state for known in known_rows(far.here, "vm") if known.row.job == job] == ["queued"]
        far.go()
        wait_until((far.directory(job) / "exit.json").exists)
    finally:
        far.sshd.start()
    assert (jobs.row(job).state, jobs.row(job).code) == ("failed", 5)  # and the connection came back by itself
    assert [known.row.code for known in known_rows(far.here, "vm") if known.row.job == job] == [5]


def test_a_question_while_nothing_passes_is_answered_when_the_link_is_back(far: Far, jobs: HostJobs) -> None:
    job = far.begin(jobs, WAITS, "0")
    far.proxy.rules.is_stalled = True
    timer = threading.Timer(3.0, lambda: setattr(far.proxy.rules, "is_stalled", False))
    timer.start()
    assert jobs.row(job).state in ("starting", "running")
    timer.join()
    far.go()


# What one can ask


def test_stop_says_what_it_took_and_what_is_left(far: Far, jobs: HostJobs) -> None:
    job = far.begin(jobs, OBEDIENT)
    ended = jobs.stop(job, grace_s=20)
    assert (ended.state, ended.left, ended.gpu_left) == ("stopped", (), ())
    assert jobs.stop(job).how == "had ended"
    assert jobs.row(job).has_ended
    with pytest.raises(JobNotFound):
        jobs.stop("nobody")


def test_requests_become_files_and_an_ended_job_takes_none(far: Far, jobs: HostJobs) -> None:
    job = far.begin(jobs, WAITS, "0")
    for what in ("save", "pause"):
        jobs.request(job, what)
        assert (far.directory(job) / what).exists()
    jobs.request(job, "resume")
    assert not (far.directory(job) / "pause").exists()
    far.go()
    far.end_of(jobs, job)
    with pytest.raises(Refused, match="has ended already"):
        jobs.request(job, "save")


def test_jobs_that_need_the_gpu_wait_for_each_other_and_one_may_wait_for_another(far: Far, jobs: HostJobs) -> None:
    needs = make_spec("preprocess", {"device": "cuda"})
    first = jobs.submit("preprocess", needs, argv=waits(0)).job
    second = jobs.submit("preprocess", needs, argv=waits(0)).job
    third = jobs.submit("shapes", ANY_SPEC, argv=waits(0), after=second).job
    on_cpu = jobs.submit("preprocess", make_spec("preprocess", {"device": "cpu"}), argv=waits(0)).job
    wait_until(lambda: [jobs.row(job).state in ("starting", "running") for job in (first, on_cpu)] == [True, True])
    waiting, later = jobs.row(second), jobs.row(third)
    assert (waiting.state, waiting.place_in_queue, waiting.after) == ("queued", 1, None)
    assert (later.state, later.after) == ("queued", second)
    far.go()
    assert [far.end_of(jobs, job).state for job in (first, second, third)] == ["succeeded"] * 3


def test_a_spec_arrives_as_it_was_asked(far: Far, jobs: HostJobs) -> None:
    prompt = "a 'dog' $(touch /tmp/x) \"`\n\r--help 🐕 \x1b[31m"
    spec = make_spec("generate", {"prompt": prompt, "seed": 7})
    job = jobs.submit("generate", spec, argv=[sys.executable, "-c", "print(1)"]).job
    assert json.loads((far.directory(job) / "spec.json").read_text()) == {"prompt": prompt, "seed": 7}
    for _ in range(2):  # it is known here from its start on, also to who never looks
        assert [known.row.job for known in known_rows(far.here, "vm") if known.row.verb == "generate"] == [job]
        jobs.rows()


def test_this_machine_is_a_host_like_any_other(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with HostJobs(LocalHost(workspace), workspace) as jobs:
        job = jobs.submit("shapes", ANY_SPEC, argv=[sys.executable, "-c", "raise SystemExit(3)"])
        wait_until((tmp_path / "jobs" / job.job / "exit.json").exists)
        assert [(row.job, row.state, row.exit_code) for row in jobs.rows()] == [(job.job, "failed", 3)]
        assert known_rows(workspace, "local") == []  # its own files say it
