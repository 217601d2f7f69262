"""The root of a bare Debian 12, as a Compute Engine VM looks from inside: real systemd, sshd, two users, no packages.

Made once by debootstrap (about a minute) in `.machine/` of the checkout, or where BENCH_MACHINE says. Machines boot on
an overlay over it, so nothing ever changes in it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SUITE = "bookworm"
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "python3", "python3-venv", "sudo", "rsync",
    "procps", "iproute2", "ca-certificates", "policykit-1", "libgomp1", "libstdc++6", "faketime",
)  # fmt: skip
USERS = ("me", "plain")  # with passwordless sudo, and without
DEBOOTSTRAP_TIMEOUT_S = 900.0


def machine_folder() -> Path:
    return Path(os.environ.get("BENCH_MACHINE") or CHECKOUT / ".machine").resolve()


def made_root() -> Path:
    """The folder with `root`, `id` (the users' key) and `host_key.pub`; made when it is not there.

    Whoever comes meanwhile waits. Raises RuntimeError with debootstrap's last words.
    """
    folder = machine_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark = folder / "root/.made"
        if not mark.exists() or mark.read_text() != recipe():
            make(folder)
            mark.write_text(recipe())
    return folder


def recipe() -> str:
    return f"{SUITE} {' '.join(PACKAGES)}\n"


def make(folder: Path) -> None:
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    debootstrap(folder, root)
    key = folder / "id"
    if not key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "machine", "-f", str(key))
    for user in USERS:
        add_user(root, user, key.with_suffix(".pub").read_text())
    write(root / "etc/sudoers.d/google_sudoers", "me ALL=(ALL) NOPASSWD:ALL\n", 0o440)
    write(root / "etc/hostname", "a100-golden\n")
    write(root / "etc/hosts", "127.0.0.1 localhost a100-golden\n")
    (root / "root").chmod(0o711)  # a Python below this machine's /root is lent to the users there
    run("chroot", str(root), "systemctl", "enable", "ssh")
    # One less to wait for at each boot, and none of them has anything to do on a bench.
    run("chroot", str(root), "systemctl", "mask", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_reap.service")
    shutil.copy(root / "etc/ssh/ssh_host_ed25519_key.pub", folder / "host_key.pub")


def debootstrap(folder: Path, root: Path) -> None:
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)]
    log = folder / "debootstrap.log"
    with log.open("wb") as out:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=DEBOOTSTRAP_TIMEOUT_S, check=False
        )
    if done.returncode != 0:
        last = " / ".join(log.read_text(errors="replace").splitlines()[-3:])
        raise RuntimeError(f"debootstrap failed: {last}")


def add_user(root: Path, user: str, public_key: str) -> None:
    run("chroot", str(root), "useradd", "-m", "-s", "/bin/bash", user)
    run("chroot", str(root), "usermod", "-p", "*", user)
    (root / f"home/{user}/.ssh").mkdir(mode=0o700)
    write(root / f"home/{user}/.ssh/authorized_keys", public_key, 0o600)
    run("chroot", str(root), "chown", "-R", f"{user}:{user}", f"/home/{user}")


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def run(*argv: str) -> None:
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=True)


if __name__ == "__main__":
    print(made_root())
