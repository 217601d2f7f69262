"""Files between here and a host 50 ms away: ours beside gcloud, scp, rsync, Fabric and tar, in turns; medians.

python benchmarks/hosts/transfer.py                        a checkpoint of 1 GiB, 500 files of 100 KB, nothing to do, up
python benchmarks/hosts/transfer.py --mib 64 --rounds 1 --only big,idle    a look; some of the parts
python benchmarks/hosts/transfer.py --only plan,renamed    100 checkpoints of 2 GB planned, one that has come renamed

The link is `tests/bench/wan.py`: real TCP over two TUN devices, which takes root. `t2v` is the whole command each time,
from the start of its interpreter to its end, with every byte hashed and synced; the others are as they come.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

TESTS = Path(__file__).parents[2] / "tests"
sys.path[:1] = [str(TESTS.parent), str(TESTS), str(TESTS.with_name("setup"))]

from bench.cloud.compute_emulator import ComputeEmulator
from bench.cloud.compute_state import Instance
from bench.cloud.guest_agent import SshdGuest
from bench.sshd import Sshd
from bench.wan import Line, Wan, raw_tcp, wan
from support.hosts.transfers import write_checkpoint

from remote.hosts.known_hosts import KnownHosts
from t2v_core.disk.files import staged_directory

ONE_WAY_S = 0.025
MIB = 2**20
FILES, FILE_BYTES = 500, 100_000
IDLE_CHECKPOINTS = 200
PLANNED_CHECKPOINTS, PLANNED_BYTES = 100, 2 * 10**9
RENAMED_MIB = 256
GCM = "aes128-gcm@openssh.com"
MODEL = "checkpoints/checkpoint_step_1/model.safetensors"
FABRIC = """
import sys
from fabric import Connection
host, user, port, key, there, here = sys.argv[1:]
options = {"key_filename": key, "look_for_keys": False}
Connection(host, user, int(port), connect_kwargs=options).get(there, here)
"""


@dataclass
class Bench:
    """A workspace at either end of the link, and who else may log in there.

    root: a folder on a disk, for everything
    """

    root: Path
    link: Wan
    sshd: Sshd
    gcloud: dict[str, str] | None

    @property
    def there(self) -> Path:
        return self.root / "there"

    @property
    def known(self) -> Path:
        return self.root / "config/t2v/known_hosts"

    def here(self) -> Path:
        """A new workspace that names the host."""
        here = Path(tempfile.mkdtemp(dir=self.root, prefix="here-"))
        (here / "t2v.toml").write_text(
            f'[host.vm]\naddress = "{self.link.there}"\nport = {self.sshd.port}\nuser = "{self.sshd.user}"\n'
            f'identity = "{self.sshd.client_key}"\nworkdir = "{self.there}"\npython = "{sys.executable}"\n'
        )
        return here

    @property
    def options(self) -> list[str]:
        known = f"UserKnownHostsFile={self.known}"
        return ["-F", "none", "-i", str(self.sshd.client_key), "-o", "BatchMode=yes", "-o", known]

    @property
    def who(self) -> str:
        return f"{self.sshd.user}@{self.link.there}"

    def ssh(self, *words: str) -> list[str]:
        return ["ssh", "-p", str(self.sshd.port), "-c", GCM, *self.options, self.who, *words]

    def t2v(self, here: Path, *words: str) -> list[str]:
        return [sys.executable, "-m", "t2v_tui.cli.main", "--workspace", str(here), *words]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "SSH_"))}
        return kept | {"XDG_CONFIG_HOME": str(self.root / "config")}


@contextmanager
def bench(root: Path, line: Line | None = None, *, has_gcloud: bool = True) -> Iterator[Bench]:
    with wan(line or Line(ONE_WAY_S)) as link:
        sshd = Sshd(root / "sshd", address=link.there, inside=link.inside)
        sshd.start()
        try:
            with gcloud_to(root / "vm", link) if has_gcloud else nullcontext() as environment:
                this = Bench(root, link, sshd, environment)
                this.there.mkdir()
                KnownHosts(this.known).pin(f"[{link.there}]:{sshd.port}", [sshd.public_host_key])
                yield this
        finally:
            sshd.kill()


@contextmanager
def gcloud_to(folder: Path, link: Wan) -> Iterator[dict[str, str] | None]:
    """What gcloud needs to be told to find a VM at the far end of the link; None where it is not installed."""
    if shutil.which("gcloud") is None:
        yield None
        return
    folder.mkdir()
    sshd = Sshd(folder / "sshd", address=link.there, inside=link.inside)
    with ComputeEmulator(SshdGuest(sshd)) as emulator:
        instance = emulator.cloud.add(Instance("vm", address=link.there))
        emulator.cloud.bring_up(instance)
        environment = emulator.environment(folder) | {"BENCH_PORT": str(sshd.port)}
        try:
            first = ["gcloud", "compute", "ssh", f"--ssh-flag=-p {sshd.port}", f"{sshd.user}@vm", "--command=true"]
            subprocess.run(first, env=environment, check=True, capture_output=True, timeout=120)
            yield environment
        finally:
            sshd.kill()


def gcloud_scp(this: Bench, *words: str) -> list[str]:
    assert this.gcloud is not None
    flags = [f"--port={this.gcloud['BENCH_PORT']}", "--scp-flag=-q", "--scp-flag=-c", f"--scp-flag={GCM}"]
    return ["gcloud", "compute", "scp", "--quiet", *flags, *words]


def run(this: Bench, argv: list[str], environment: dict[str, str] | None = None) -> float:
    """Seconds that a command takes."""
    began = time.monotonic()
    subprocess.run(argv, env=environment or this.environment, check=True, capture_output=True, timeout=600)
    return time.monotonic() - began


def run_watched(this: Bench, argv: list[str]) -> tuple[float, float]:
    """The same, and the most memory that it held, in MB."""
    peak, began = 0.0, time.monotonic()
    child = subprocess.Popen(argv, env=this.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None:
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
            peak = max(peak, next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM:")))
        time.sleep(0.02)
    assert child.returncode == 0
    return time.monotonic() - began, peak


Way = Callable[[Path], float]


def in_turns(this: Bench, ways: dict[str, Way], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, one after the other in every round, each into a workspace of its own."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            here = this.here()
            took[name].append(way(here))
            shutil.rmtree(here)
    return took


def tell(title: str, took: dict[str, list[float]], size: int) -> None:
    """Medians, and how often each is as slow as ours."""
    ours = statistics.median(took["t2v"])
    for name, values in took.items():
        middle, spread = statistics.median(values), f"{min(values):.2f} … {max(values):.2f}"
        print(
            f"{title:22} {name:22} {middle:7.2f} s  {size / middle / 1e6:6.1f} MB/s  {middle / ours:5.1f} ×  ({spread})"
        )


def big(this: Bench, mib: int, rounds: int) -> None:
    """One checkpoint."""
    size = mib * MIB
    with staged_directory(this.there / "checkpoints/checkpoint_step_1") as partial:
        with (partial / "model.safetensors").open("wb") as file:
            for _ in range(mib):
                file.write(os.urandom(MIB))
        (partial / "trainer.json").write_text('{"step": 1}')
    source, peaks = str(this.there / MODEL), list[float]()

    def ours(here: Path) -> float:
        seconds, peak = run_watched(this, this.t2v(here, "pull", "checkpoints"))
        peaks.append(peak)
        return seconds

    fabric = [sys.executable, "-c", FABRIC, this.link.there, this.sshd.user, str(this.sshd.port)]
    fabric += [str(this.sshd.client_key), source]
    rsync = ["rsync", "-e", shlex.join(this.ssh()[:-1]), f"{this.who}:{source}"]
    scp = ["scp", "-q", "-P", str(this.sshd.port), "-c", GCM, *this.options, f"{this.who}:{source}"]
    ways: dict[str, Way] = {
        "t2v": ours,
        "scp": lambda here: run(this, [*scp, str(here / "m")]),
        "rsync": lambda here: run(this, [*rsync, str(here / "m")]),
        "Fabric get": lambda here: run(this, [*fabric, str(here / "m")]),
    }
    if this.gcloud is not None:
        ways["gcloud compute scp"] = lambda here: run(
            this, gcloud_scp(this, f"{this.sshd.user}@vm:{source}", str(here / "m")), this.gcloud
        )
    tell(f"{mib} MiB down", in_turns(this, ways, rounds), size)
    print(f"{mib} MiB down           t2v held {statistics.median(peaks):.0f} MB RSS at most")
    for streams in (1, 4, 8):
        print(f"{mib} MiB down           raw TCP, {streams} streams {raw_tcp(this.link, size, streams) / 1e6:.0f} MB/s")


def many(this: Bench, files: int, rounds: int) -> None:
    """Many small files."""
    (this.there / "outputs").mkdir()
    for number in range(files):
        (this.there / f"outputs/v{number}.mp4").write_bytes(os.urandom(FILE_BYTES))
    tar = f"{shlex.join(this.ssh('tar', '-C', str(this.there), '-cf', '-', 'outputs'))} | tar -xf - -C "
    rsync = ["rsync", "-a", "-e", shlex.join(this.ssh()[:-1]), f"{this.who}:{this.there}/outputs"]
    ways: dict[str, Way] = {
        "t2v": lambda here: run(this, this.t2v(here, "pull", "videos")),
        "ssh tar | tar": lambda here: run(this, ["sh", "-c", tar + shlex.quote(str(here))]),
        "rsync -a": lambda here: run(this, [*rsync, str(here)]),
    }
    took = in_turns(this, ways, rounds)
    if this.gcloud is not None:  # minutes: once
        source = f"{this.sshd.user}@vm:{this.there}/outputs"
        slow = {
            "gcloud scp --recurse": lambda here: run(
                this, gcloud_scp(this, "--recurse", source, str(here)), this.gcloud
            )
        }
        took |= in_turns(this, slow, 1)
    tell(f"{files} files of 100 KB", took, files * FILE_BYTES)


def idle(this: Bench, rounds: int) -> None:
    """A pull of checkpoints that are all here."""
    shutil.rmtree(this.there / "checkpoints", ignore_errors=True)
    for step in range(IDLE_CHECKPOINTS):
        write_checkpoint(this.there, step, size=7000)
    here = this.here()
    run(this, this.t2v(here, "pull", "checkpoints"))
    took = [run(this, this.t2v(here, "pull", "checkpoints")) for _ in range(2 * rounds + 1)]
    bare = [run(this, this.ssh("true")) for _ in range(2 * rounds + 1)]
    helps = [run(this, this.t2v(here, "pull", "--help")) for _ in range(2 * rounds + 1)]
    for name, values in (("t2v pull", took), ("ssh true", bare), ("t2v pull --help", helps)):
        print(f"nothing to do, {IDLE_CHECKPOINTS} checkpoints  {name:16} {statistics.median(values):.2f} s")


def plan(this: Bench, rounds: int) -> None:
    """What a pull of many large checkpoints would bring, none of which is here; the files are sparse."""
    shutil.rmtree(this.there / "checkpoints", ignore_errors=True)
    for step in range(PLANNED_CHECKPOINTS):
        folder = this.there / f"checkpoints/checkpoint_step_{step}"
        folder.mkdir(parents=True)
        files = {}
        for name, part in (("model", 4), ("ema", 4), ("optimizer", 2)):
            size = PLANNED_BYTES // part
            with (folder / f"{name}.safetensors").open("wb") as file:
                file.truncate(size)
            digest = hashlib.sha256(f"{step} {name}".encode()).hexdigest()
            files[f"{name}.safetensors"] = {"size_bytes": size, "sha256": digest}
        (folder / "manifest.json").write_text(json.dumps({"files": files}))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = [run_watched(this, this.t2v(this.here(), "pull", "checkpoints", "--dry-run")) for _ in range(rounds)]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / rounds
    seconds, peaks = zip(*took, strict=True)
    which, at_most = f"{PLANNED_CHECKPOINTS} checkpoints of {PLANNED_BYTES / 1e9:.0f} GB", statistics.median(peaks)
    print(f"{which} planned in {statistics.median(seconds):.2f} s, {cpu_s:.2f} s of CPU, {at_most:.0f} MB RSS at most")


def renamed(this: Bench, rounds: int) -> None:
    """A checkpoint that has another name there than when it came."""
    shutil.rmtree(this.there / "checkpoints", ignore_errors=True)
    write_checkpoint(this.there, 1, size=RENAMED_MIB * MIB * 7 // 8)
    here, names = this.here(), ["checkpoint_step_1", *(f"final-{number}" for number in range(rounds))]
    first, took = run(this, this.t2v(here, "pull", "checkpoints")), list[float]()
    for old, new in pairwise(names):
        (this.there / "checkpoints" / old).rename(this.there / "checkpoints" / new)
        took.append(run(this, this.t2v(here, "pull", f"checkpoints/{new}")))
    print(f"{RENAMED_MIB} MiB renamed there: {statistics.median(took):.2f} s; when it came first, {first:.2f} s")


def up(this: Bench, mib: int, rounds: int) -> None:
    """One file to the host."""
    source = this.root / "up.bin"
    with source.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
    scp = ["scp", "-q", "-P", str(this.sshd.port), "-c", GCM, *this.options, str(source)]

    def ours(here: Path) -> float:
        shutil.rmtree(this.there / "data", ignore_errors=True)
        (here / "data").mkdir()
        os.link(source, here / "data/up.bin")
        return run(this, this.t2v(here, "push", "data"))

    ways: dict[str, Way] = {"t2v": ours, "scp": lambda _: run(this, [*scp, f"{this.who}:{this.there}/up.bin"])}
    tell(f"{mib} MiB up", in_turns(this, ways, rounds), mib * MIB)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="size of the big file")
    parser.add_argument("--files", type=int, default=FILES, help="number of small files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="big,many,idle,up", help="parts, with commas")
    parser.add_argument("--folder", type=Path, help="where to work (default: the folder for temporary files)")
    asked = parser.parse_args()
    parts: dict[str, Callable[[Bench], None]] = {
        "big": lambda this: big(this, asked.mib, asked.rounds),
        "many": lambda this: many(this, asked.files, asked.rounds),
        "idle": lambda this: idle(this, asked.rounds),
        "plan": lambda this: plan(this, asked.rounds),
        "renamed": lambda this: renamed(this, asked.rounds),
        "up": lambda this: up(this, asked.mib, asked.rounds),
    }
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder, bench(Path(folder)) as this:
        for name in asked.only.split(","):
            parts[name](this)


if __name__ == "__main__":
    main()
