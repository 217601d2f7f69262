"""System programs that the tests use: one list, and the set-up that brings what is missing. Only the standard library.

    python3 setup/programs.py         what the tests use, by apt where this user may
    python3 setup/programs.py venv    what `python3 -m venv` needs

A test whose program is missing all the same is left out by name (tests/support/house/needs.py); nothing here is an
error.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# A server's programs are often not on an ordinary user's PATH.
SEARCHED = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
APT = ("apt-get", "-qq", "-o", "Acquire::http::Timeout=30", "-o", "Acquire::Retries=2", "-o", "DPkg::Lock::Timeout=300")
MAY_MOUNT = 1 << 21  # CAP_SYS_ADMIN; a container's root often lacks it


@dataclass(frozen=True)
class Program:
    """What brings a program.

    package: Debian's and Ubuntu's
    other:   what to do where no package of theirs brings it
    as_root: only tests that run as root use it
    """

    package: str = ""
    other: str = ""
    as_root: bool = False

    @property
    def mend(self) -> str:
        return f"sudo apt-get install {self.package}" if self.package else self.other


PROGRAMS = {
    "git": Program("git"),
    "ssh": Program("openssh-client"),
    "ssh-keygen": Program("openssh-client"),
    "sshd": Program("openssh-server"),
    "rsync": Program("rsync"),
    "tmux": Program("tmux"),
    "zsh": Program("zsh"),
    "fish": Program("fish"),
    "tcsh": Program("tcsh"),
    "ssh-agent": Program("openssh-client"),
    "chromium": Program("chromium"),
    "libatomic": Program("libatomic1"),
    "linux.uml": Program("user-mode-linux"),
    "mkfs.ext4": Program("e2fsprogs"),
    "debootstrap": Program("debootstrap", as_root=True),
    "systemd-nspawn": Program("systemd-container", as_root=True),
    "slurmctld": Program("slurmctld", as_root=True),
    "slurmd": Program("slurmd", as_root=True),
    "sbatch": Program("slurm-client", as_root=True),
    "ffmpeg": Program(other="make test (it comes with the test tools)"),
    "gcloud": Program(other="install the Google Cloud CLI, https://cloud.google.com/sdk/docs/install"),
    "python3.9": Program(other="put a Python 3.9 on the PATH as python3.9, as pyenv does"),
    "lent-python": Program(
        other="use a Python that is no part of the system, as pyenv's or uv's: a machine is lent it"
    ),
    "python3.11": Program(other="run the tests by Python 3.11: a machine's own, of Debian 12, uses their packages"),
    "root": Program(other="run make test as root, where it may mount"),
    "cgroup": Program(other="run make test as root, where memory groups can be made"),
    "small-registers": Program(other="run make test on a processor without AMX; user-mode Linux runs nothing on one"),
    "/proc": Program(other="run make test on Linux"),
}


def find(name: str) -> str | None:
    """Where a program of the list lies, or None."""
    return FINDERS[name]() if name in FINDERS else shutil.which(name, path=SEARCHED)


def may_mount() -> bool:
    if os.geteuid() != 0:
        return False
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return effective is None or bool(int(effective[1], 16) & MAY_MOUNT)


def find_ffmpeg() -> str | None:
    """The one that came with the test tools, the same on every machine; else the system's."""
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return shutil.which("ffmpeg")
    from imageio_ffmpeg import get_ffmpeg_exe  # the set-up runs before it is there

    try:
        return str(get_ffmpeg_exe())
    except RuntimeError:  # this platform has no wheel with the program in it
        return None


def find_libatomic() -> str | None:
    """A library of the program that drives the browser."""
    folders = [*Path("/usr/lib").glob("*-linux-*"), Path("/usr/lib64"), Path("/usr/lib")]
    return next((str(file) for folder in folders if (file := folder / "libatomic.so.1").exists()), None)


def find_python39() -> str | None:
    """One that runs; a shim by that name may not."""
    found = [shutil.which("python3.9"), *map(str, Path.home().glob(".pyenv/versions/3.9*/bin/python"))]
    for program in filter(None, found):
        said = subprocess.run([program, "-V"], capture_output=True, text=True, timeout=30, check=False)
        if said.stdout.startswith("Python 3.9"):
            return program
    return None


FINDERS: dict[str, Callable[[], str | None]] = {
    "root": lambda: "/" if may_mount() else None,
    "lent-python": lambda: sys.base_prefix if Path(sys.base_prefix) != Path("/usr") else None,
    "python3.11": lambda: sys.base_prefix if sys.version_info[:2] == (3, 11) else None,
    "/proc": lambda: "/proc" if Path("/proc/self/stat").exists() else None,
    "libatomic": find_libatomic,
    "ffmpeg": find_ffmpeg,
    "python3.9": find_python39,
}


def missing() -> list[str]:
    """Debian packages of what the tests use and this machine lacks."""
    is_root = os.geteuid() == 0
    wanted = {name: one for name, one in PROGRAMS.items() if one.package and (is_root or not one.as_root)}
    return sorted({one.package for name, one in wanted.items() if find(name) is None})


def missing_for_venv() -> list[str]:
    """Debian takes ensurepip out of its Python."""
    has_all = importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv")
    return [] if has_all else [f"python{sys.version_info.major}.{sys.version_info.minor}-venv"]


def root_prefix() -> list[str] | None:
    """What makes a command root's; None where this user may not, or would be asked for a password."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    asked = subprocess.run(["sudo", "-n", "true"], capture_output=True, timeout=60, check=False)
    return ["sudo", "-n"] if asked.returncode == 0 else None


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def bring(packages: list[str]) -> bool:
    """Install them by apt where this user may; say beforehand what and how large. False when they did not come."""
    names, by_hand = ", ".join(packages), f"sudo apt-get install {' '.join(packages)}"
    prefix = root_prefix()
    if shutil.which("apt-get") is None:
        say(f"missing here: what Debian calls {names}; this system has no apt: install it with yours")
        return False
    if prefix is None:
        say(f"missing here: {names}; this user may not install them: {by_hand}")
        return False
    # sudo drops the environment: env sets it again.
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", *APT]
    run(*apt, "update")
    there = offered(packages)
    if unknown := sorted({*packages} - {*there}):
        say(f"apt has no {', '.join(unknown)} here; the tests that use it are left out")
    if not there:
        return False
    names, by_hand = ", ".join(there), f"sudo apt-get install {' '.join(there)}"
    install = ["install", "--no-install-recommends", *there]
    say(f"installing by apt: {names} ({size_of([*apt, *install])})")
    failed = run(*apt, "--yes", *install)
    if "openssh-server" in there and not failed and Path("/run/systemd/system").exists():
        run(*prefix, "systemctl", "disable", "--now", "ssh.service", "ssh.socket")
        say("the machine's own SSH server stays switched off: the tests start theirs, on loopback")
    if failed:
        say(f"apt could not install {names}: {failed}; by hand: {by_hand}")
    return not failed and there == packages


def offered(packages: list[str]) -> list[str]:
    """Those that apt could install: one name that a distribution lacks would make it refuse all of them."""
    asked = ["env", "LC_ALL=C", "apt-cache", "policy", *packages]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=False).stdout
    candidates = dict(re.findall(r"^(\S+):\n(?:  .*\n)*?  Candidate: (.+)$", said, re.MULTILINE))
    return [package for package in packages if candidates.get(package, "(none)") != "(none)"]


def run(*command: str) -> str:
    """Returns why it failed; empty when it did not."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return "" if done.returncode == 0 else (lines or [f"code {done.returncode}"])[-1]


def size_of(command: list[str]) -> str:
    """In apt's own words; what it would do is printed, and not done."""
    # The last -q counts: -qq would say nothing.
    done = subprocess.run([*command, "-q=0", "--assume-no"], capture_output=True, text=True, timeout=120, check=False)
    fetched = re.search(r"Need to get ([\d.,]+ \w+)", done.stdout)
    used = re.search(r"After this operation, ([\d.,]+ \w+) of additional disk space", done.stdout)
    if not fetched:
        return "apt does not say how large"
    return f"{fetched[1]} to fetch" + (f", {used[1]} on disk" if used else "")


def main() -> int:
    if sys.argv[1:] == ["venv"]:
        packages = missing_for_venv()
        return 0 if not packages or bring(packages) else 2
    if packages := missing():
        bring(packages)
    return 0


if __name__ == "__main__":
    sys.exit(main())
