"""What makes the guard look every minute: a timer of systemd, which also outlives a restart; else a process of ours."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .detached import again, close_standard_files, detached, leave_parent, may_use_systemd, succeeds
from .files import Json, Problem, exclusive, read_json, write_json, write_whole
from .guard import agree, agreed, folder, guard_status, one_look
from .guard_rules import LOOK_EVERY_S
from .processes import JOB_VARIABLE, NOBODY, is_supervised

UNITS = Path(os.environ.get("T2V_SYSTEMD_UNITS", "/etc/systemd/system"))
# Between two looks of our own process; tests do not wait a minute.
EVERY_S = float(os.environ.get("T2V_GUARD_EVERY_S", str(LOOK_EVERY_S)))
NAME = "t2v-guard"
TIMER, PROCESS = "systemd timer", "process"

# KillMode: a supervisor that a look starts for a job goes on when the look has ended.
SERVICE = """[Unit]
Description=t2v: power this machine off when it has been idle

[Service]
Type=oneshot
User={uid}
Group={gid}
Environment={variable}={nobody}
ExecStart=/bin/sh "{script}"
TimeoutStartSec=300
KillMode=process
"""
TIMER_UNIT = """[Unit]
Description=t2v: look every minute whether this machine is idle

[Timer]
OnActiveSec=5
OnUnitActiveSec={every:.0f}
AccuracySec=5

[Install]
WantedBy=timers.target
"""


def install_guard(parameters: Json) -> Json:
    """Agree on the rules and see to it that they are kept; asking again changes nothing."""
    is_systemd = may_use_systemd()
    agree(parameters, TIMER if is_systemd else PROCESS)
    if is_systemd and not install_timer():
        agree(parameters, PROCESS)
    tend_guard()
    if not guard_status({})["is_alive"]:
        look_and_write()  # the timer's first look is seconds away; who asks sees how it stands
    return guard_status({})


def install_timer() -> bool:
    """True when the timer is at work. What is there already is left alone."""
    script = folder() / "look.sh"
    units = {
        f"{NAME}.service": SERVICE.format(
            uid=os.getuid(), gid=os.getgid(), variable=JOB_VARIABLE, nobody=NOBODY, script=in_unit(str(script))
        ),
        f"{NAME}.timer": TIMER_UNIT.format(every=LOOK_EVERY_S),
    }
    write_whole(script, f"exec {shlex.join([*again(), 'guard-look'])}\n")
    is_there = all(text_of(UNITS / name) == text for name, text in units.items())
    if is_there and succeeds(["systemctl", "is-active", "--quiet", f"{NAME}.timer"]):
        return True
    for name, text in units.items():
        write_whole(folder() / name, text)
    return all(succeeds(argv) for argv in install_argvs())


def install_argvs() -> list[list[str]]:
    """The exact commands, in their order; each may be run again."""
    files = [str(folder() / f"{NAME}.{kind}") for kind in ("service", "timer")]
    return [
        ["sudo", "-n", "install", "-m", "644", *files, str(UNITS)],
        ["sudo", "-n", "systemctl", "daemon-reload"],
        ["sudo", "-n", "systemctl", "enable", f"{NAME}.timer"],
        ["sudo", "-n", "systemctl", "restart", f"{NAME}.timer"],
    ]


def in_unit(path: str) -> str:
    """A path within double quotes of a unit file, where % and $ would be expanded."""
    return path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")


def text_of(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


# Where there is no systemd


def tend_guard() -> None:
    """Start our process where one is wanted and none lives: it was killed, or the machine was restarted."""
    said = agreed()
    if said is None or said.get("by") != PROCESS or is_supervised(folder() / "watch"):
        return
    with suppress(Problem, OSError):  # the next conversation tries again
        (folder() / "watch").mkdir(exist_ok=True)
        detached("guard-watch", {})


def guard_watch(say: Callable[[Json], None]) -> None:
    """Look every minute as long as the rules say that a process does it. One at a time."""
    leave_parent()
    try:
        with exclusive(folder() / "watch" / "lock", timeout_s=1.0) as lock:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            say({"guards": True})
            close_standard_files()
            while (agreed() or {}).get("by") == PROCESS:
                look_and_write()
                time.sleep(EVERY_S)
    except Problem:
        say({"guards": False})


def look_and_write() -> Json:
    """One look; what breaks it is written down where `guard` shows it, and the next one comes all the same."""
    try:
        return one_look()
    except Exception as error:  # noqa: BLE001 - a guard that ends for an error guards nothing
        why = f"a look failed: {type(error).__name__}: {error}"
        write_json(folder() / "state.json", {**(read_json(folder() / "state.json") or {}), "error": why})
        return {"did": "nothing", "error": why}


def guard_look(say: Callable[[Json], None]) -> None:
    """What the timer runs; its service's journal has what was said."""
    say(look_and_write() if agreed() is not None else {"did": "nothing", "error": "no guard is agreed"})
