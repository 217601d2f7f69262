"""A real machine: Debian with its own systemd, sshd, users, clock since boot and disk, booted in a second.

Real in it: systemd, logind, PAM, sudo, sshd, every process and signal, an ext4 disk whose power can be cut. It is a
container, so what it has not is a kernel of its own (`bench.own_kernel` is one) and firmware (T2V_PRODUCT_FILE says
Google); its network is this machine's loopback.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.machine_root import CHECKOUT, made_root
from bench.sshd import free_port

BOOT_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 240.0  # systemd alone gives a user's manager that does not end 120 s
DISK_BYTES = 4 * 1024**3  # sparse: what is not written takes no room
# Of cgroup v1 where that has the memory, else of v2.
MEMORY_GROUPS = next(filter(Path.is_dir, map(Path, ("/sys/fs/cgroup/memory", "/sys/fs/cgroup"))), Path("/nowhere"))
PRODUCT_FILE = "/etc/t2v-bench-product"


@dataclass
class Machine:
    """It is off at first; `close` when done with it.

    folder:      its disk, mounts and console
    environment: what every login (`/etc/environment`) and every unit there has
    binds:       further folders of this machine, read-only there under the same path
    """

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    binds: Sequence[Path] = ()
    disk_bytes: int = DISK_BYTES
    port: int = 0
    _nspawn: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.made = made_root()
        self.port = self.port or free_port()
        for name in ("disk", "root"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        with self.image.open("wb") as image:
            image.truncate(self.disk_bytes)
        run("mkfs.ext4", "-q", "-F", "-m", "0", str(self.image))
        self.mount()
        self.write("/etc/ssh/sshd_config.d/port.conf", f"Port {self.port}\nListenAddress 127.0.0.1\nMaxStartups 100\n")
        self.write(PRODUCT_FILE, "Google Compute Engine\n")
        said = {"T2V_PRODUCT_FILE": PRODUCT_FILE, **self.environment}
        self.write("/etc/environment", "".join(f"{name}={value}\n" for name, value in said.items()))
        for_units = " ".join(shlex.quote(f"{name}={value}") for name, value in said.items())
        self.write("/etc/systemd/system.conf.d/bench.conf", f"[Manager]\nDefaultEnvironment={for_units}\n")

    # Its disk

    @property
    def image(self) -> Path:
        return self.folder / "disk.img"

    @property
    def root(self) -> Path:
        """Its files, also while it is off."""
        return self.folder / "root"

    def path(self, inside: str | Path) -> Path:
        return self.root / str(inside).lstrip("/")

    def write(self, inside: str, text: str) -> None:
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        run("sync", "-f", str(path))  # a power cut comes to what a test left there, not to what the bench did

    def mount(self) -> None:
        disk = self.folder / "disk"
        run("mount", "-o", "loop", str(self.image), str(disk))
        for name in ("upper", "work"):
            (disk / name).mkdir(exist_ok=True)
        layers = f"lowerdir={self.made / 'root'},upperdir={disk / 'upper'},workdir={disk / 'work'}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, str(self.root))

    def unmount(self) -> None:
        for name in ("root", "disk"):
            if os.path.ismount(self.folder / name):
                run("umount", str(self.folder / name))

    # Its power

    def start(self) -> None:
        """Boot, and wait until it lets its users in. Raises RuntimeError with the console's last lines."""
        with (self.folder / "console").open("ab") as console:
            self._nspawn = subprocess.Popen(
                self.argv(), stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                env={**os.environ, "SYSTEMD_NSPAWN_TMPFS_TMP": "0"},
            )  # fmt: skip
        # `plain`: whether `me` is let in, a cloud's metadata may say.
        self.wait_for(self.lets_in, BOOT_TIMEOUT_S, "lets nobody in")

    def argv(self) -> list[str]:
        """In a time namespace of its own: seconds since boot begin at nothing, as on any machine that was started."""
        up_s = int(time.clock_gettime(time.CLOCK_BOOTTIME))
        clock = ["unshare", "--time", "--boottime", str(-up_s), "--monotonic", str(-int(time.monotonic())), "--fork"]
        lent = [f"--bind-ro={folder}" for folder in lent_folders(self.binds)]
        return [
            *clock, "systemd-nspawn", "--quiet", "--directory", str(self.root), "--machine", f"t2v-{self.port}",
            "--register=no", "--keep-unit", "--resolv-conf=off", "--timezone=off", *lent, "--boot",
        ]  # fmt: skip

    @property
    def is_on(self) -> bool:
        return self._nspawn is not None and self._nspawn.poll() is None

    @property
    def init_pid(self) -> int:
        """Of its process 1, as this machine counts."""
        assert self._nspawn is not None
        return next(iter(descendants(self._nspawn.pid, "systemd")), 0)

    def wait_until_off(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        self.wait_for(lambda: not self.is_on, timeout_s, "is still on")

    def power_off(self) -> None:
        """As its button does: an orderly shutdown, every unit asked to stop."""
        if self.is_on:
            os.kill(self.init_pid, signal.SIGRTMIN + 4)
            self.wait_until_off()

    def reboot(self) -> None:
        """An orderly one, to the moment when it lets its users in again."""
        with suppress(subprocess.SubprocessError):  # the way in goes down with it
            self.inside("systemctl", "reboot")
        self.wait_until_off()
        self.start()

    def cut_power(self) -> None:
        """Every process ends at once, and what had not reached the disk is lost, as it is in the page cache."""
        if self.is_on:
            os.kill(self.init_pid, signal.SIGKILL)
            self.wait_until_off()
        saved = self.folder / "saved.img"
        run("cp", "--sparse=always", str(self.image), str(saved))  # what the disk has; unmounting writes the rest
        self.unmount()
        saved.replace(self.image)
        self.mount()

    @contextmanager
    def without_lingering(self, user: str) -> Iterator[None]:
        """Its users may not keep programs alive beyond their logins."""
        rule = "/etc/polkit-1/rules.d/no-linger.rules"
        lingers = 'action.id == "org.freedesktop.login1.set-self-linger"'
        self.write(rule, f"polkit.addRule(function(action) {{ if ({lingers}) return polkit.Result.NO; }});\n")
        self.inside("systemctl", "restart", "polkit")
        self.inside("loginctl", "disable-linger", user)
        try:
            yield
        finally:
            self.path(rule).unlink()
            self.inside("systemctl", "restart", "polkit")

    @contextmanager
    def little_memory(self, size_bytes: int) -> Iterator[None]:
        """The machine, all of it, has so much; the kernel kills what wants more."""
        group = MEMORY_GROUPS / f"t2v-{self.port}"
        group.mkdir()
        try:
            limit = "memory.limit_in_bytes" if (group / "memory.limit_in_bytes").exists() else "memory.max"
            (group / limit).write_text(str(size_bytes))
            for pid in descendants(self.init_pid):
                with suppress(OSError):  # it ended meanwhile
                    (group / "cgroup.procs").write_text(str(pid))
            yield
        finally:
            self.wait_for(lambda: is_emptied(group), 60, f"leaves processes in {group}")

    def close(self) -> None:
        if self.is_on:
            with suppress(ProcessLookupError):
                os.kill(self.init_pid or self._nspawn.pid, signal.SIGKILL)  # type: ignore[union-attr]
            self.wait_until_off()
        self.unmount()
        shutil.rmtree(self.folder)

    # In it

    def ssh(self, *words: str, user: str = "me", timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A login of its own, by OpenSSH's client, with a command line for its shell."""
        return subprocess.run(
            [*self.ssh_argv(user), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s,
            check=False,
        )  # fmt: skip

    def ssh_argv(self, user: str = "me") -> list[str]:
        options = ("BatchMode=yes", "ConnectTimeout=5", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
        said = [word for option in options for word in ("-o", option)]
        return [
            "ssh",
            "-q",
            "-F",
            "none",
            "-i",
            str(self.made / "id"),
            "-p",
            str(self.port),
            *said,
            f"{user}@127.0.0.1",
        ]

    def inside(self, *argv: str, timeout_s: float = 60.0) -> str:
        """What a program says that root runs there, without a login. Raises CalledProcessError."""
        enter = ["nsenter", "--target", str(self.init_pid), "--all", "--"]
        done = subprocess.run(
            [*enter, *argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=True
        )
        return done.stdout

    def boot_id(self) -> str:
        """Empty while it has none to say."""
        with suppress(OSError, subprocess.SubprocessError):
            return self.inside("cat", "/proc/sys/kernel/random/boot_id", timeout_s=5).strip() if self.init_pid else ""
        return ""

    @property
    def public_host_key(self) -> str:
        """Type and base64, as in a known_hosts line."""
        return " ".join((self.made / "host_key.pub").read_text().split()[:2])

    def lets_in(self) -> bool:
        """A login that began while it boots may hang: the next does not."""
        with suppress(subprocess.TimeoutExpired):
            if self.ssh("true", user="plain", timeout_s=15).returncode == 0:
                return True
        self.permit_sessions()
        return False

    def permit_sessions(self) -> None:
        """Where many machines boot at once, Debian's unit that permits logins fails now and then: once more."""
        unit = "systemd-user-sessions"
        with suppress(subprocess.SubprocessError):
            if self.init_pid:
                self.inside("sh", "-c", f"systemctl is-failed -q {unit} && systemctl restart {unit}", timeout_s=10)

    def wait_for(self, is_so: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_so():
            if time.monotonic() > deadline:
                last = (self.folder / "console").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the machine {otherwise} after {timeout_s:g} s; its console ends:\n{last}")
            time.sleep(0.1)


def is_emptied(group: Path) -> bool:
    """Move what is in a control group to the one above it, and remove it; False while something is still in it."""
    for pid in (group / "cgroup.procs").read_text().split():
        with suppress(OSError):
            (group.parent / "cgroup.procs").write_text(pid)
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


def lent_folders(more: Sequence[Path] = ()) -> list[Path]:
    """What our Python needs to run there: this checkout, its environment, its interpreter."""
    wanted = [CHECKOUT, Path(sys.prefix), Path(sys.base_prefix), *map(Path, sys.path), *more]
    kept: list[Path] = []
    for folder in sorted({one.resolve() for one in wanted if str(one) not in ("", ".") and one.is_dir()}):
        if folder != Path("/usr") and not any(folder.is_relative_to(other) for other in kept):
            kept.append(folder)
    return kept


def descendants(pid: int, name: str = "") -> list[int]:
    """A process and those below it, the nearest first; only those that carry a name, if there is one."""
    ahead, found = [pid], []
    while ahead:
        parent = ahead.pop(0)
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                ahead += [int(child) for child in (task / "children").read_text().split()]
            if name in ("", Path(f"/proc/{parent}/comm").read_text().strip()):
                found.append(parent)
    return found


def run(*argv: str) -> None:
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=True)
