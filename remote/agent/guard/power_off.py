"""Powering a machine off, in every way that there is: it comes first, and needs no disk and no memory to speak of."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from contextlib import suppress
from typing import Any

from ..base.bounded import FAILURES, ran
from ..base.cloud import is_one_to_stop
from ..base.units import succeeds
from .records import RUN

COMMAND_TIMEOUT_S = 20.0
OTHER_POWER_OFF = "T2V_POWER_OFF"
COMMANDS = (
    ("sudo", "-n", "systemctl", "poweroff"),
    ("sudo", "-n", "shutdown", "-h", "now"),
    ("systemctl", "poweroff"),
    ("poweroff",),
)


def power_off(product: Any = None) -> str | None:
    """Power the machine off; returns None when it is on its way down, else why it is not.

    product: of the machine that the rules name, if they name one
    """
    commands = power_off_commands(product)
    if not commands:
        is_named = isinstance(product, str)
        what = "another machine than the guard was made for" if is_named else "not a Google Cloud machine"
        return f"it cannot power itself off: it is {what}"
    with suppress(ValueError):  # not the first thread
        # What is left to write down is written while the machine goes down.
        signal.signal(signal.SIGTERM, lambda *_: None)
    ask_systemd()
    why = ""
    for argv in commands:
        try:
            done = ran(argv, COMMAND_TIMEOUT_S)
        except (*FAILURES, subprocess.SubprocessError) as error:
            why = why or f"{argv[0]}: {error}"
            continue
        if done.returncode == 0:
            return None
        said = " ".join(done.stderr.decode(errors="replace").split())[:200]
        why = why or said or f"{argv[0]}: code {done.returncode}"
    return f"it cannot power itself off: {why}"


def ask_systemd() -> None:
    """Ask by a file in memory that a unit of ours waits for: no program is begun for it, so none can fail or hang."""
    with suppress(*FAILURES):
        os.close(os.open(RUN / "off", os.O_WRONLY | os.O_CREAT, 0o600))


def power_off_commands(product: Any = None) -> list[list[str]]:
    """Return the commands; none where the machine is no cloud's and was not named to be powered off: somebody's desk.

    T2V_POWER_OFF names another program, for tests.
    """
    if OTHER_POWER_OFF in os.environ:
        return [shlex.split(os.environ[OTHER_POWER_OFF])]
    return [list(argv) for argv in COMMANDS] if is_one_to_stop(product) else []


def can_power_off(product: Any = None) -> bool:
    """Tell whether this user may power the machine off. Asks sudo, and runs nothing."""
    commands = power_off_commands(product)
    if not commands or OTHER_POWER_OFF in os.environ or os.getuid() == 0:
        return bool(commands)
    return any(succeeds(["sudo", "-n", "-l", *argv[2:]]) for argv in commands if argv[0] == "sudo")
