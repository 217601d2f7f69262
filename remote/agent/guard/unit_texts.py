"""The units of systemd that guard a machine, as text.

t2v-guard.timer      has a look taken every minute, by t2v-guard.service as the user whose guard it is
t2v-guard-off.path   waits for the file by which a look says that the machine is due; t2v-guard-off.service does it
t2v-guard-cap.timer  does it after `max_run_h`, and a little, whatever has become of the looks

What powers off is process 1 itself: it needs neither the user's folder, nor Python, sudo or a disk that takes more.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..base.cloud import PRODUCT, is_google, is_one_to_stop
from ..base.processes import JOB_VARIABLE, NOBODY
from .agreed import COPY, Agreed
from .records import RUN
from .rules import EVERY_S

NAME = "t2v-guard"
# A look that works comes before it, asks the jobs for a checkpoint, and writes down why.
CAP_GRACE_S = 2.5 * EVERY_S
# Of this boot only: a machine that was up for days when it got its guard has its cap from then on.
SINCE = Path(f"/run/systemd/system/{NAME}-cap.timer.d/since.conf")

# KillMode: a supervisor that a look starts for a job goes on when the look has ended.
SERVICE = """[Unit]
Description=t2v: power this machine off when it has been idle
StartLimitIntervalSec=0

[Service]
Type=oneshot
User={uid}
Group={gid}
Environment={variable}={nobody}
RuntimeDirectory={run}
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
ExecStart=/bin/sh {script}
TimeoutStartSec=300
TimeoutStopSec=15
KillMode=process
"""
TIMER = """[Unit]
Description=t2v: look every minute whether this machine is idle

[Timer]
OnActiveSec={first:g}
OnUnitActiveSec={every:g}
AccuracySec={accuracy:g}

[Install]
WantedBy=timers.target
"""
# The disk of a cloud's machine may be started elsewhere, as somebody's desk: that is never powered off.
OFF_SERVICE = """[Unit]
Description=t2v: power this machine off, if it is the one that the guard was made for
SuccessAction=poweroff

[Service]
Type=oneshot
ExecStart={is_it}
"""
OFF_PATH = """[Unit]
Description=t2v: wait for the guard's word that this machine is to be off

[Path]
PathExists={run}/off

[Install]
WantedBy=paths.target
"""
CAP_TIMER = """[Unit]
Description=t2v: power this machine off at its cap, whatever it does

[Timer]
OnBootSec={cap:.0f}
OnUnitInactiveSec=60
AccuracySec=5
Unit={name}-off.service

[Install]
WantedBy=timers.target
"""
CAP_SINCE = """[Timer]
OnBootSec=
OnBootSec={cap:.0f}
"""


def units(told: Agreed, script: Path) -> dict[Path, str]:
    """Return the units' texts by their place below the folder for units, or as a whole path.

    The rules lie beside them, for when ours are lost.

    script: what takes a look
    """
    rules = told.rules
    found = {
        f"{NAME}.service": SERVICE.format(
            uid=os.getuid(), gid=os.getgid(), variable=JOB_VARIABLE, nobody=NOBODY, run=RUN.name,
            script=in_unit(str(script)),
        ),
        f"{NAME}.timer": TIMER.format(first=min(5.0, EVERY_S), every=EVERY_S, accuracy=min(5.0, EVERY_S / 4)),
        COPY: json.dumps({**told.as_json(), "uid": os.getuid()}, indent=2) + "\n",
    }  # fmt: skip
    if is_one_to_stop(told.product):
        found[f"{NAME}-off.service"] = OFF_SERVICE.format(is_it=is_it(told.product))
        found[f"{NAME}-off.path"] = OFF_PATH.format(run=RUN)
        found[f"{NAME}-cap.timer"] = CAP_TIMER.format(cap=rules.cap_s + CAP_GRACE_S, name=NAME)
        if rules.cap_from_s > 0:
            found[str(SINCE)] = CAP_SINCE.format(cap=rules.cap_from_s + rules.cap_s + CAP_GRACE_S)
    return {Path(name): text for name, text in found.items()}


def is_it(product: Any) -> str:
    """Return the command that succeeds on Google's machines, or on the one that was named: its firmware says the same.

    A machine whose firmware says nothing (a board, a container) is whichever its disk is in.
    """
    if is_google():
        return f"/bin/grep -q ^Google {in_unit(str(PRODUCT))}"
    return f"/bin/grep -qxF -- {in_unit(product)} {in_unit(str(PRODUCT))}" if product else "/bin/true"


def started(wanted: dict[Path, str]) -> list[str]:
    """Return the names of those that wait for something, from each boot on."""
    return sorted(path.name for path in wanted if path.suffix in (".timer", ".path"))


def in_unit(path: str) -> str:
    """Quote a path as one argument in a unit file, where % and $ would be expanded."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
