"""Jobs on a real machine with systemd: a login ends, its server goes away, a supervisor is killed, and work goes on.

logind ends there what a login leaves behind (KillUserProcesses), for a user with sudo and for one without.
"""

from __future__ import annotations

import json
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.hosts.agent_here import wait_until
from support.machines.machine_here import MachineHere, machine_here

from remote.jobs.client import HostJobs
from remote.jobs.follow import Follower, LogChunk
from remote.jobs.spool import Spool
from remote.replies.job_row import JobRow
from t2v_core.specs import ShapesSpec

ENVIRONMENT = {"https_proxy": "http://proxy.example:3128", "TMPDIR": "/srv/scratch", "LANG": "C.UTF-8"}

# Counts aloud until it may end; what it says after SIGTERM is the last.
COUNTS = """
import pathlib, signal, sys, time
def end(*_):
    print("asked to end", flush=True)
    sys.exit(4)
signal.signal(signal.SIGTERM, end)
number = 0
while not pathlib.Path("go").exists():
    print("line", number, flush=True)
    number += 1
    time.sleep(0.01)
print("whole", number, flush=True)
"""
EATS = """
import os
print("hungry", flush=True)
held = [os.urandom(1 << 20) for _ in range(2000)]
"""
LETS_EAT = f"""
import os
if os.fork() == 0:
    exec({EATS!r})
_, status = os.wait()
raise SystemExit(1 if status else 0)
"""
SAYS_ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"
RESTARTED = "the machine restarted while it ran"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MachineHere]:
    with machine_here(tmp_path_factory.mktemp("machine"), ENVIRONMENT, start=False) as one:
        one.machine.write("/etc/systemd/logind.conf.d/strict.conf", "[Login]\nKillUserProcesses=yes\n")
        one.machine.start()
        yield one


@pytest.fixture(params=["me", "plain"])
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def begin(machine: MachineHere, jobs: HostJobs, user: str, program: str = COUNTS) -> str:
    """A job that has said something."""
    (machine.there(user) / "go").unlink(missing_ok=True)
    job = jobs.submit("shapes", ShapesSpec(), argv=[sys.executable, "-c", program]).job
    log = machine.directory(job, user) / "log"
    wait_until(lambda: log.exists() and log.stat().st_size > 0)
    return job


def end_of(machine: MachineHere, user: str, job: str) -> JobRow:
    with machine.jobs(user) as jobs:
        wait_until(lambda: jobs.row(job).has_ended)
        return jobs.row(job)


def lines_of(machine: MachineHere, user: str, job: str) -> list[str]:
    return (machine.directory(job, user) / "log").read_text().splitlines()


def says_more(machine: MachineHere, user: str, job: str) -> None:
    before = len(lines_of(machine, user, job))
    wait_until(lambda: len(lines_of(machine, user, job)) > before + 5)


def state_of(machine: MachineHere, user: str, job: str) -> dict[str, int]:
    return dict(json.loads((machine.directory(job, user) / "state.json").read_text()))


class Listening:
    """Somebody who watches a job in a thread, across everything that happens, to the job's end."""

    def __init__(self, machine: MachineHere, user: str, job: str) -> None:
        self.data, self.row = b"", None  # type: bytes, JobRow | None
        self._host = machine.host(user)
        self._follower = Follower(self._host, job, Spool.of(machine.here, user, job))
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self) -> None:
        for said in self._follower:
            if isinstance(said, LogChunk):
                self.data += said.data
            elif isinstance(said, JobRow):
                self.row = said

    def __enter__(self) -> Listening:
        self._thread.start()
        wait_until(lambda: bool(self.data))
        return self

    def __exit__(self, *_: object) -> None:
        self._follower.close()
        self._thread.join(30)
        self._host.close()  # or its login goes on for as long as this object is not collected


def kill(machine: MachineHere, pid: int) -> None:
    machine.machine.inside("kill", "-9", str(pid))


def kill_supervisor(machine: MachineHere, user: str, job: str) -> None:
    kill(machine, state_of(machine, user, job)["supervisor"])


def kill_agents(machine: MachineHere, user: str, job: str) -> None:
    machine.machine.inside("sh", "-c", f"pkill -9 -u {user} -f 't2v_agent.* (serve|follow)$' || [ $? = 1 ]")


def log_out(machine: MachineHere, user: str, job: str) -> None:
    """To the moment when logind has forgotten the user's sessions."""
    wait_until(lambda: not sessions_of(machine, user))


def sessions_of(machine: MachineHere, user: str) -> list[str]:
    lines = machine.machine.inside("loginctl", "--no-legend", "list-sessions").splitlines()
    return [line.split()[0] for line in lines if user in line.split()]


def ask_systemd(*words: str) -> Callable[[MachineHere, str, str], None]:
    def act(machine: MachineHere, user: str, job: str) -> None:
        machine.machine.inside("systemctl", *(word.format(user=user, job=job) for word in words), timeout_s=120)

    return act


def terminate_user(machine: MachineHere, user: str, job: str) -> None:
    machine.machine.inside("loginctl", "terminate-user", user)


def lose_server(machine: MachineHere, user: str, job: str) -> None:
    """Nobody is let in for a while, and who is in is thrown out."""
    machine.machine.inside("systemctl", "stop", "ssh")
    machine.machine.inside("sh", "-c", "pkill -9 sshd || [ $? = 1 ]")
    time.sleep(2)
    machine.machine.inside("systemctl", "start", "ssh")


WHAT_HAPPENS = {
    "logout": log_out,
    "restart of sshd": ask_systemd("restart", "ssh"),
    "daemon-reload": ask_systemd("daemon-reload"),
    "daemon-reexec": ask_systemd("daemon-reexec"),
    "kill -9 of the agent": kill_agents,
    "kill -9 of the supervisor": kill_supervisor,
    "no SSH server": lose_server,
}


@pytest.mark.slow
def test_nothing_that_happens_to_a_login_ends_a_job_or_loses_a_byte(machine: MachineHere, user: str) -> None:
    with machine.jobs(user) as jobs:
        job = begin(machine, jobs, user)
    for happens in WHAT_HAPPENS.values():
        happens(machine, user, job)
        says_more(machine, user, job)
        with machine.jobs(user) as jobs:
            assert jobs.row(job).state == "running", happens
    if user == "me":
        terminate_user(machine, user, job)
        says_more(machine, user, job)
    with Listening(machine, user, job) as listening:
        for happens in ("restart of sshd", "kill -9 of the supervisor", "kill -9 of the agent", "no SSH server"):
            WHAT_HAPPENS[happens](machine, user, job)
            says_more(machine, user, job)
        (machine.there(user) / "go").touch()
        wait_until(lambda: listening.row is not None)
    row = end_of(machine, user, job)
    # The one that saw it end was not its parent: the last words of a program that is no engine tell nothing.
    assert row.state in ("succeeded", "lost"), row
    lines = lines_of(machine, user, job)
    assert lines == [*(f"line {number}" for number in range(len(lines) - 1)), f"whole {len(lines) - 1}"]
    assert listening.data.decode().splitlines() == lines


def test_who_may_not_linger_is_told_before_a_job_ends_with_the_login(machine: MachineHere) -> None:
    with machine.machine.without_lingering("plain"):
        done = machine.ran(
            "data", "shapes", "--clips", "4", "--test-clips", "2", "--data", "data/told", "--host", "plain"
        )
        examined = machine.ran("doctor", "--host", "plain").stdout
        with machine.jobs("plain") as jobs:
            job = begin(machine, jobs, "plain")
        log_out(machine, "plain", job)
        row = end_of(machine, "plain", job)
    assert done.returncode == 0, done.stderr
    told = "this machine ends all programs of plain when plain logs out (KillUserProcesses)"
    for said in (done.stderr, examined):
        assert told in " ".join(said.split())
        assert "loginctl enable-linger" in said
    assert row.reason == "it ended with the login that had started it"


@pytest.mark.slow
def test_a_login_waits_until_the_last_one_has_ended(machine: MachineHere) -> None:
    """Without lingering, systemd ends what a login left before it opens the next: ssh waits for that, and so do we."""
    m = machine.machine
    with m.without_lingering("plain"):
        stays = "trap '' TERM; while :; do sleep 1; done"
        m.ssh("systemd-run", "--user", "-p", "TimeoutStopSec=14", "sh", "-c", shlex.quote(stays), user="plain")
        uid = machine.home("plain").stat().st_uid
        m.inside("systemctl", "stop", "--no-block", f"user@{uid}.service")
        state = ("systemctl", "show", "--property=ActiveState", f"user@{uid}.service")
        wait_until(lambda: "deactivating" in m.inside(*state))
        done = machine.ran("jobs", "--host", "plain")
    assert done.returncode == 0, done.stderr
    assert "plain has let plain in and is still opening the session" in done.stderr


@pytest.mark.slow
def test_an_engine_whose_supervisor_was_killed_ends_well(machine: MachineHere, user: str) -> None:
    words = ["data", "shapes", "--clips", "400", "--test-clips", "2", "--data", f"data/{user}", "--host", user]
    begun = machine.ran(*words, "--detach")
    assert begun.returncode == 0, begun.stderr
    job = begun.stdout.strip()
    wait_until((machine.directory(job, user) / "events.jsonl").exists)
    kill_supervisor(machine, user, job)
    done = machine.ran("attach", job, "--host", user)
    assert done.returncode == 0, done.stderr
    assert end_of(machine, user, job).state == "succeeded"


def test_a_job_has_what_a_login_has(machine: MachineHere, user: str) -> None:
    with machine.jobs(user) as jobs:
        job = begin(machine, jobs, user, SAYS_ENVIRONMENT)
    end_of(machine, user, job)
    said = json.loads((machine.directory(job, user) / "log").read_text())
    login = dict(line.partition("=")[::2] for line in machine.machine.ssh("env", user=user).stdout.splitlines())
    same = [*ENVIRONMENT, "PATH", "HOME", "USER", "LOGNAME", "SHELL"]
    assert {name: said[name] for name in same} == {name: login[name] for name in same}
    assert not [name for name in said if name.startswith("SSH_")]
    kept = machine.directory(job, user) / "environment.json"
    assert kept.stat().st_mode & 0o077 == 0


def test_files_of_a_job_are_its_users(machine: MachineHere, user: str) -> None:
    done = machine.ran("data", "shapes", "--clips", "4", "--test-clips", "2", "--data", "data/few", "--host", user)
    assert done.returncode == 0, done.stderr
    owner = machine.home(user).stat().st_uid
    assert {path.stat().st_uid for path in machine.there(user).rglob("*")} == {owner}


@pytest.mark.parametrize(("program", "killed"), [(EATS, "it (SIGKILL)"), (LETS_EAT, "a process of it")])
def test_memory_that_ran_out_is_said_as_that(machine: MachineHere, user: str, program: str, killed: str) -> None:
    with machine.machine.little_memory(600_000_000), machine.jobs(user) as jobs:
        row = end_of(machine, user, begin(machine, jobs, user, program))
    assert (row.state, row.reason) == ("failed", f"memory ran out: the system killed {killed}")


@pytest.mark.slow
def test_a_restart_is_named_and_the_queue_goes_on_after_it(machine: MachineHere, user: str) -> None:
    with machine.jobs(user) as jobs:
        job = begin(machine, jobs, user)
        waits = jobs.submit("shapes", ShapesSpec(), argv=[sys.executable, "-c", "print('at last')"], after=job).job
    machine.machine.reboot()
    row = end_of(machine, user, job)
    assert row.state == "stopped", row
    assert row.reason.startswith(RESTARTED)
    assert lines_of(machine, user, job)[-1] == "asked to end"
    assert end_of(machine, user, waits).reason == f"not started: job {job} did not succeed (stopped)"


def test_a_power_cut_is_named_and_its_log_can_still_be_read(machine: MachineHere, user: str) -> None:
    with machine.jobs(user) as jobs:
        job = begin(machine, jobs, user)
        machine.machine.inside("sync")
        says_more(machine, user, job)
    with Listening(machine, user, job) as listening:
        wait_until(lambda: listening.data.count(b"\n") > 20)
        machine.machine.cut_power()
        machine.machine.start()
        wait_until(lambda: listening.row is not None)
    assert listening.row is not None
    assert (listening.row.state, listening.row.reason) == ("lost", RESTARTED)
    done = machine.ran("logs", job, "--host", user)
    assert done.returncode == 0, done.stderr
    assert "line 0" in done.stdout
