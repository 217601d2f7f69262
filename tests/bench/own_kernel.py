"""A Linux kernel of its own, as a program: user-mode Linux over this machine's files, in some seconds and without root.

What only a kernel decides is real in it: which process dies when memory runs out, and what is counted of it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from support.house.needs import leave_out, needs

TIMEOUT_S = 240.0
REGISTERS = "ptrace set fp regs failed"
ROOT = Path(__file__).resolve().parents[2]
# Its memory groups are those of version 2, all in one tree; the machine's own files lie below, with this user's rights.
# Unless each mount is there, what is written behind it would be this machine's.
INIT = """#!/bin/sh
set -e
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 none /sys/fs/cgroup
echo +memory > /sys/fs/cgroup/cgroup.subtree_control
cd {folder}
code=0
{environment} {program} > said 2>&1 || code=$?
echo $code > code
echo o > /proc/sysrq-trigger
sleep 60
"""


def run_in_kernel(program: str, folder: Path, *, memory_mb: int) -> str:
    """Run a Python program there as root, in `folder`; returns what it printed.

    It finds this checkout and its tests. Skips the test where no such kernel runs. Raises AssertionError with
    its words, or the kernel's, when it fails.
    """
    kernel = needs("linux.uml")
    (folder / "program.py").write_text(program)
    environment = f"PATH={shlex.quote(os.environ['PATH'])} HOME={folder} PYTHONPATH={ROOT}:{ROOT / 'tests'}"
    init = folder / "init"
    init.write_text(
        INIT.format(folder=folder, environment=environment, program=f"{shlex.quote(sys.executable)} program.py")
    )
    init.chmod(0o755)
    # Without addresses at random: the program that it is counts its gaps as memory.
    command = [
        "setarch", "--addr-no-randomize", kernel, f"mem={memory_mb}M", "root=/dev/root", "rootfstype=hostfs",
        "rootflags=/", "rw", f"init={init}", "con=null", "con0=fd:0,fd:1", f"uml_dir={folder}",
    ]  # fmt: skip
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd=folder
    )
    require_up(init, done.stdout)
    code, said = folder / "code", folder / "said"
    assert code.exists(), done.stdout[-3000:] + done.stderr[-1000:]
    assert code.read_text().strip() == "0", said.read_text()
    return said.read_text()


def require_up(init: Path, said: str) -> None:
    """Skip the test where such a kernel cannot run. said: its console"""
    if f"Run {init}" not in said:  # it does not come up where a container forbids what it is made of
        leave_out("linux.uml")
    if REGISTERS in said:  # an AMX processor has more of them than it has room for
        leave_out("small-registers")
