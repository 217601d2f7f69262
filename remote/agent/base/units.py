"""Supervisors as units of systemd, which neither a logout nor anybody's end can reach.

A system unit where sudo asks no password. Else, where logind ends what a login leaves behind, a unit of the user's own
manager, which has to linger. Elsewhere a detached process does as well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import bounded
from .files import Json
from .processes import JOB_VARIABLE, NOBODY

SYSTEMD_MARK = Path(os.environ.get("T2V_SYSTEMD_MARK", "/run/systemd/system"))  # sd_booted(3)
ASK_TIMEOUT_S = 20.0
# systemd answers nobody during a daemon-reload, which took 21.6 s on a busy machine.
UNIT_TIMEOUT_S = 40.0
# An engine that is asked to end makes a checkpoint first.
STOP_PATIENCE_S = 60
SYSTEM, USER, PROCESS = "system unit", "user unit", "process"

# A package by this name wherever its folder lies, compiled once (20 ms) and not each time; isolated (-I), nothing
# beside it is imported.
# Lines, since systemd writes a `;` of a unit's arguments as an escape that it does not know when it reads it again.
RUN = """import importlib.util as u, sys
p = sys.argv[1]
s = u.spec_from_file_location('t2v_agent', p + '/__init__.py', submodule_search_locations=[p])
sys.modules['t2v_agent'] = u.module_from_spec(s)
from t2v_agent.__main__ import main
sys.exit(main(sys.argv[2:]))"""

ANSWERS: Json = {}


def again() -> list[str]:
    """Return the command that runs this agent once more; the mode goes behind it."""
    return [sys.executable, "-I", "-S", "-X", "utf8", "-c", RUN, str(Path(__file__).resolve().parents[1])]


def has_systemd() -> bool:
    """Tell whether systemd is process 1."""
    return SYSTEMD_MARK.is_dir()


def may_use_systemd() -> bool:
    """Return True where systemd is process 1 and this user may start system units without a password; asked once."""
    if SYSTEM not in ANSWERS:
        ANSWERS[SYSTEM] = has_systemd() and succeeds(["sudo", "-n", "systemd-run", "--version"])
    return bool(ANSWERS[SYSTEM])


def logout_ends_processes() -> bool:
    """Return True where logind ends what this user's last login leaves behind (KillUserProcesses, logind.conf(5))."""
    names = ("KillUserProcesses", "KillOnlyUsers", "KillExcludeUsers")
    said = dict(
        line.partition("=")[::2]
        for line in output(["loginctl", "show-session", *(f"--property={name}" for name in names)]).splitlines()
    )
    me, only, spared = user_name(), *(said.get(name, "").split() for name in names[1:])
    return said.get(names[0]) == "yes" and (not only or me in only) and me not in spared


def lingers() -> bool:
    """Return True when this user's manager runs without a login."""
    return (Path("/var/lib/systemd/linger") / user_name()).exists()


def way() -> str:
    """Return how a supervisor is kept alive here; asked once. A user whose logout would end it is made to linger."""
    if "way" not in ANSWERS:
        if may_use_systemd():
            ANSWERS["way"] = SYSTEM
        elif has_systemd() and logout_ends_processes() and (lingers() or succeeds(["loginctl", "enable-linger"])):
            ANSWERS["way"] = USER
        else:
            ANSWERS["way"] = PROCESS
    return str(ANSWERS["way"])


def what_logout_ends(*, is_asked_for: bool) -> str:
    """Return a sentence where a job would not outlive this user's logout; empty where it does.

    is_asked_for: a job is about to begin: to linger is tried, and not only looked at
    """
    if may_use_systemd() or not has_systemd() or not logout_ends_processes() or lingers():
        return ""
    if is_asked_for and way() == USER:
        return ""
    who = user_name()
    may = f"and {who} may not linger" if is_asked_for else f"unless {who} may linger, which the next job asks for"
    return (
        f"this machine ends all programs of {who} when {who} logs out (KillUserProcesses), {may}: "
        "a job ends soon after the last connection closes"
    )


def unit_argv(directory: Path, kept_by: str, name: str) -> list[str]:
    """Return the exact command for a transient unit with our supervisor in it.

    A user's own units die with the last login on Ubuntu 24.04 in spite of linger (systemd#43361), hence the system's
    where that can be. The parameters are hex digits: systemd expands `%` and `$` in what it is given. Of the unit's
    processes only the supervisor is told to stop (KillMode): one that is killed must not take the engine with it. It
    writes down how the job ended, so out of memory must not stop the unit before that. The log is opened by the
    supervisor: one that systemd opens is root's.
    """
    as_whom = ["sudo", "-n", "systemd-run", f"--uid={os.getuid()}", f"--gid={os.getgid()}"]
    return [
        *(as_whom if kept_by == SYSTEM else ["systemd-run", "--user"]), f"--unit={name}", "--collect", "--quiet",
        "-p", "KillMode=process", "-p", f"TimeoutStopSec={STOP_PATIENCE_S}", "-p", "OOMPolicy=continue",
        "-p", "StandardOutput=null", f"--setenv={JOB_VARIABLE}={NOBODY}", "--", *again(), "supervise",
        json.dumps({"directory": str(directory)}).encode().hex(),
    ]  # fmt: skip


def begins_unit(directory: Path, kept_by: str) -> bool:
    """Have systemd start a unit for this job; returns True when it has.

    The name of one whose supervisor was killed is taken as long as its engine lives.
    """
    names = (f"t2v-{directory.name}", f"t2v-{directory.name}-{os.urandom(2).hex()}")
    return any(succeeds(unit_argv(directory, kept_by, name), UNIT_TIMEOUT_S) for name in names)


def goes_down() -> bool:
    """Return True when this machine is being shut down or restarted.

    The message bus that carries the question is stopped at the same time as we are: no answer is an answer then.
    """
    known = ("running", "degraded", "starting", "initializing", "maintenance")
    return has_systemd() and output(["systemctl", "is-system-running"]).strip() not in known


def is_unit() -> bool:
    """Return True in a process that systemd started, and in what comes of it."""
    return "INVOCATION_ID" in os.environ


def user_name() -> str:
    """Return this user's name; the number where there is none."""
    import pwd  # whoever starts a job waits for what is imported

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def environment() -> dict[str, str]:
    """Return an environment in which the user's own manager is found, also by a login that PAM did not prepare."""
    return {"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}", **os.environ}


def succeeds(argv: Sequence[str], timeout_s: float = ASK_TIMEOUT_S) -> bool:
    """Run a program; True for exit code 0, False also when it cannot be run or takes too long."""
    done = ran(argv, timeout_s)
    return done is not None and done.returncode == 0


def output(argv: Sequence[str]) -> str:
    """Return what a program says, whatever its exit code; empty when it cannot be run."""
    done = ran(argv, ASK_TIMEOUT_S)
    return "" if done is None else done.stdout.decode(errors="replace")


def ran(argv: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[bytes] | None:
    """Run a program; None when it cannot be run or takes longer than `timeout_s`."""
    try:
        return bounded.ran(argv, timeout_s, environment())
    except (OSError, subprocess.TimeoutExpired):
        return None
