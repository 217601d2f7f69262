"""What makes the guard look every minute: a timer of systemd, which also outlives a restart; else a process of ours."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from ..base.files import Json, Problem, exclusive, write_whole
from ..base.processes import is_supervised
from ..base.units import again, may_use_systemd, succeeds
from ..jobs.detached import close_standard_files, detached, leave_parent
from .agreed import PROCESS, TIMER, UNITS, Agreed, agreed
from .records import folder
from .rules import EVERY_S, remembered
from .unit_texts import started, units
from .watch import agree, guard_status, look_at_all_events

# systemd answers nobody while it reads its units anew, which took 21.6 s on a busy machine.
SYSTEMCTL_TIMEOUT_S = 90.0


def install_guard(parameters: Json) -> Json:
    """Agree on the rules and see to it that they are kept; asking again changes nothing."""
    is_systemd = may_use_systemd()
    told, kept_of = agree(parameters, TIMER if is_systemd else PROCESS)
    if is_systemd and not install_timer(told):
        agree(parameters, PROCESS)
    tend_guard()
    if not guard_status({})["is_alive"]:
        look_at_all_events(told)  # the timer's first look is seconds away; who asks sees how it stands
    return {**guard_status({}), "kept_of": kept_of}


def install_timer(told: Agreed) -> bool:
    """Install the timer; returns True when it is at work. What is there already is left alone."""
    script = folder() / "look.sh"
    text = f"exec {shlex.join([*again(), 'guard-look'])}\n"
    if text_of(script) != text:
        write_whole(script, text)
    wanted = {UNITS / path: text for path, text in units(told, script).items()}
    names = started(wanted)
    new = {path for path, text in wanted.items() if text_of(path) != text}
    is_active = ["systemctl", "is-active", "--quiet"]
    is_at_work = all(succeeds([*is_active, name], SYSTEMCTL_TIMEOUT_S) for name in names)
    for path in new:
        write_whole(folder() / path.name, wanted[path])
    is_unit_new = not is_at_work or any(path.suffix != ".json" for path in new)
    argvs = install_argvs(new, names if is_unit_new else [])
    is_done = all(succeeds(argv, SYSTEMCTL_TIMEOUT_S) for argv in argvs)
    if new:
        succeeds(["sync", "-f", str(UNITS)], SYSTEMCTL_TIMEOUT_S)  # or a power cut leaves empty units
    return is_done


def install_argvs(new: Collection[Path], names: Collection[str]) -> list[list[str]]:
    """Return the exact commands, in their order; each may be run again. new: where what is in our folder goes

    Only one of them has systemd read its units anew, which may take long.
    """
    root = ["sudo", "-n"]
    return [
        *([*root, "install", "-D", "-m", "644", str(folder() / path.name), str(path)] for path in sorted(new)),
        *([[*root, "systemctl", "enable", "--no-reload", *names]] if names else []),
        *([[*root, "systemctl", "daemon-reload"], [*root, "systemctl", "restart", *names]] if names else []),
    ]


def text_of(path: Path) -> str | None:
    """Return a file's text; None when it cannot be read or is no text."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


# Where there is no systemd


def tend_guard() -> None:
    """Start our process where one is wanted and none lives: it was killed, or the machine was restarted."""
    told = agreed()
    if told is None or told.by != PROCESS or is_supervised(folder() / "watch"):
        return
    with suppress(Problem, OSError):  # the next conversation tries again
        (folder() / "watch").mkdir(exist_ok=True)
        detached("guard-watch", {})


def guard_watch(say: Callable[[Json], None]) -> None:
    """Look every minute as long as the rules say that a process does it. One at a time.

    What it has seen and was told it remembers by itself as well, for a disk that takes no more.
    """
    leave_parent()
    try:
        with exclusive(folder() / "watch" / "lock", timeout_s=1.0) as lock:
            with suppress(OSError):  # the number is for people; the lock is what counts
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            say({"guards": True})
            close_standard_files()
            told, memory = agreed(), None
            while told is not None and told.by == PROCESS:
                memory = remembered(look_at_all_events(told, memory)) or memory
                time.sleep(EVERY_S)
                told = agreed(told)
    except Problem:
        say({"guards": False})


def guard_look(say: Callable[[Json], None]) -> None:
    """Take the look that the timer runs; its service's journal has what was said."""
    told = agreed()
    say({"did": "nothing", "error": "no guard is set up"} if told is None else look_at_all_events(told))
