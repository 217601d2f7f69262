"""Work on another machine: how soon a job runs, how late its log is, how fast it comes, how soon it comes again.

python benchmarks/hosts/far_work.py   the host is a real sshd on loopback; a proxy holds bytes for 25 ms each way
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

TESTS = Path(__file__).parents[2] / "tests"
# The bench that the tests use as well, in place of this folder, in which `remote` is this file.
sys.path[:1] = [str(TESTS.parent), str(TESTS), str(TESTS.with_name("setup"))]

from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings
from remote.hosts.ssh import SSHHost
from remote.jobs.client import HostJobs
from remote.jobs.follow import Follower, LinkState, LogChunk
from remote.jobs.spool import Spool
from t2v_core.specs import ShapesSpec
from t2v_core.workspace import Workspace

ONE_WAY_S = 0.025
ROUNDS, LINES = 7, 200
BULK_BYTES = 512 * 2**20
STAMPS = """
import sys, time
for _ in range(int(sys.argv[1])):
    print(time.time(), flush=True)
    time.sleep(0.02)
"""
BULK = "import sys; line = b'x' * 99 + b'\\n'"
IMPORTS = "import remote.hosts.host, remote.jobs.client, remote.jobs.follow"


if TYPE_CHECKING:
    from bench.chaos import ChaosProxy
    from bench.sshd import Sshd


class Bench:
    """A host with a pinned key, and a workspace at either end."""

    def __init__(self, folder: Path, proxy: ChaosProxy, sshd: Sshd) -> None:
        self.proxy, self.sshd = proxy, sshd
        self.here, self.there = Workspace(folder / "here"), folder / "there"
        for root in (self.here.root, self.there):
            root.mkdir()
        self.known = KnownHosts(folder / "known_hosts")
        self.known.pin(self.host().key_name, [sshd.public_host_key])

    def host(self) -> SSHHost:
        settings = HostSettings(
            address="127.0.0.1",
            port=self.proxy.port,
            user=self.sshd.user,
            identity=self.sshd.client_key,
            workdir=str(self.there),
            python=sys.executable,
        )
        return SSHHost("vm", settings, known_hosts=self.known, config=Path("/nonexistent"))

    def begin(self, jobs: HostJobs, *program: str) -> str:
        return jobs.submit("shapes", ShapesSpec(), argv=[sys.executable, "-c", *program]).job

    def spool(self, job: str) -> Spool:
        return Spool.of(self.here, f"vm-{time.monotonic_ns()}", job)

    def log(self, job: str) -> Path:
        return self.there / "jobs" / job / "log"

    def ssh(self, *command: str) -> list[str]:
        """OpenSSH through the same proxy."""
        return [
            "ssh", "-F", "none", "-i", str(self.sshd.client_key), "-p", str(self.proxy.port), "-o", "BatchMode=yes",
            "-o", f"UserKnownHostsFile={self.known.path}", "-o", "IdentitiesOnly=yes",
            f"{self.sshd.user}@127.0.0.1", shlex.join(command),
        ]  # fmt: skip


@contextmanager
def bench() -> Iterator[Bench]:
    from bench.chaos import ChaosProxy  # the reader whose memory is measured has no use for them
    from bench.sshd import Sshd

    with tempfile.TemporaryDirectory() as folder:
        sshd = Sshd(Path(folder) / "sshd")
        sshd.start()
        try:
            with ChaosProxy(("127.0.0.1", sshd.port)) as proxy:
                yield Bench(Path(folder), proxy, sshd)
        finally:
            sshd.kill()


def main() -> None:
    if sys.argv[1:2] == ["--bulk"]:
        follow_bulk(*sys.argv[2:])
        return
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with bench() as this:
        this.host().open(["serve"]).close()  # the agent is there from now on
        this.proxy.rules.delay_s = ONE_WAY_S
        print_starts(this)
        print_lags(this)
        print_reconnect(this)
        this.proxy.rules.delay_s = 0.0
        print_bulk(this)
    print_imports()


def print_starts(this: Bench) -> None:
    cold, warm = [], []
    for _ in range(ROUNDS):
        with HostJobs(this.host(), this.here) as jobs:
            cold.append(seconds(lambda jobs=jobs: this.begin(jobs, "pass")))
            warm.append(seconds(lambda jobs=jobs: this.begin(jobs, "pass")))
    print(f"start of a job, 50 ms RTT     cold {median(cold):.3f} s   warm {median(warm):.3f} s   ({ROUNDS} each)")


def print_lags(this: Bench) -> None:
    """From the moment a line is written to the moment this side has it; in turns, so that all meet the same machine."""
    ways: dict[str, Callable[[Bench, HostJobs], list[float]]] = {
        "t2v": lag_of_t2v, "ssh tail -F": lag_of_ssh, "Fabric run(tail -F)": lag_of_fabric,
    }  # fmt: skip
    lags: dict[str, list[float]] = {name: [] for name in ways}
    with HostJobs(this.host(), this.here) as jobs:
        for _ in range(3):
            for name, measure in ways.items():
                lags[name] += measure(this, jobs)
    for name, values in lags.items():
        late = sorted(values)[int(0.95 * len(values))]
        print(
            f"log lag, 50 ms RTT            {name:22} median {median(values) * 1e3:6.1f} ms   p95 {late * 1e3:6.1f} ms"
        )


def lag_of_t2v(this: Bench, jobs: HostJobs) -> list[float]:
    job = this.begin(jobs, STAMPS, str(LINES))
    lags: list[float] = []
    for said in Follower(this.host(), job, this.spool(job)):
        if isinstance(said, LogChunk):
            lags += ages(said.data)
    return lags[LINES // 4 :]  # the first lines were written before the connection was there


def lag_of_ssh(this: Bench, jobs: HostJobs) -> list[float]:
    job = this.begin(jobs, STAMPS, str(LINES))
    child = subprocess.Popen(this.ssh("tail", "-n", "+1", "-F", str(this.log(job))), stdout=subprocess.PIPE)
    lags: list[float] = []
    while child.stdout is not None and len(lags) < LINES:
        lags += ages(child.stdout.readline())
    child.kill()
    child.wait()
    return lags[LINES // 4 :]


def lag_of_fabric(this: Bench, jobs: HostJobs) -> list[float]:
    from fabric import Connection  # only here

    job = this.begin(jobs, STAMPS, str(LINES))
    lags: list[float] = []

    class Sink:
        """What Fabric writes a command's output to."""

        def write(self, text: str) -> None:
            lags.extend(ages(text.encode()))

        def flush(self) -> None:
            """Fabric asks for it after each write."""

    options = {"key_filename": str(this.sshd.client_key), "look_for_keys": False}
    with Connection("127.0.0.1", this.sshd.user, this.proxy.port, connect_kwargs=options) as plain:
        command = f"timeout 8 tail -n +1 -F {shlex.quote(str(this.log(job)))}"
        plain.run(command, out_stream=Sink(), in_stream=False, warn=True, hide="err")
    return lags[LINES // 4 : LINES]


def ages(data: bytes) -> list[float]:
    """How old each stamp is now."""
    now = time.time()
    return [now - float(line) for line in data.split() if line.strip()]


def print_reconnect(this: Bench) -> None:
    """From a cut to the next byte of a log that goes on."""
    waits = []
    with HostJobs(this.host(), this.here) as jobs:
        job = this.begin(jobs, STAMPS, "100000")
        cut_at, heard = 0.0, 0
        for said in Follower(this.host(), job, this.spool(job)):
            if isinstance(said, LogChunk) and cut_at:
                waits.append(time.monotonic() - cut_at)
                cut_at, heard = 0.0, 0
            heard += isinstance(said, LogChunk)
            if len(waits) == ROUNDS:
                break
            if heard == 20 and not cut_at and not isinstance(said, LinkState):
                cut_at = time.monotonic()
                this.proxy.cut()
        jobs.stop(job, grace_s=0.0)
    print(f"cut to the next byte, 50 ms   median {median(waits):.2f} s   worst {max(waits):.2f} s   ({ROUNDS} cuts)")


def print_bulk(this: Bench) -> None:
    """A log of half a gigabyte over loopback, each reader in a process of its own; in turns."""
    with HostJobs(this.host(), this.here) as jobs:
        program = f"{BULK}\nfor _ in range({BULK_BYTES // 6_553_600}): sys.stdout.buffer.write(line * 65536)"
        job = this.begin(jobs, program)
        while jobs.row(job).state != "succeeded":
            time.sleep(0.2)
    size = this.log(job).stat().st_size
    ours: list[tuple[float, float]] = []
    theirs: list[float] = []
    for number in range(5):
        said = json.loads(
            subprocess.run(bulk_command(this, job, number), stdout=subprocess.PIPE, check=True, text=True).stdout
        )
        ours.append((size / said["seconds"] / 1e6, said["rss_bytes"] / 1e6))
        cat = this.ssh("cat", str(this.log(job)))
        took = seconds(lambda cat=cat: subprocess.run(cat, stdout=subprocess.DEVNULL, check=True))
        theirs.append(size / took / 1e6)
    rate, held = (median(values) for values in zip(*ours, strict=True))
    print(f"follow {size / 1e6:.0f} MB on loopback      t2v {rate:.0f} MB/s into the spool, {held:.0f} MB RSS")
    print(f"                              ssh cat {median(theirs):.0f} MB/s to nowhere")


def bulk_command(this: Bench, job: str, number: int) -> list[str]:
    where = [str(this.proxy.port), this.sshd.user, str(this.sshd.client_key), str(this.known.path), str(this.there)]
    return [sys.executable, __file__, "--bulk", *where, str(this.here.root / f"bulk{number}"), job]


def follow_bulk(port: str, user: str, identity: str, known: str, there: str, here: str, job: str) -> None:
    """In a process of its own: follow to the end, and say how long it took and how much memory it held."""
    settings = HostSettings(address="127.0.0.1", port=int(port), user=user, identity=Path(identity), workdir=there)
    host = SSHHost("vm", settings, known_hosts=KnownHosts(Path(known)), config=Path("/nonexistent"))
    began, size = time.monotonic(), 0
    for said in Follower(host, job, Spool(Path(here))):
        size += len(said.data) if isinstance(said, LogChunk) else 0
    took = time.monotonic() - began
    print(json.dumps({"seconds": took, "bytes": size, "rss_bytes": peak_rss_bytes()}))


def peak_rss_bytes() -> int:
    """Of this process. getrusage would begin with what its parent held when it forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def print_imports() -> None:
    times = {statement: [cpu_of(statement) for _ in range(ROUNDS)] for statement in ("pass", "import remote", IMPORTS)}
    for statement, values in times.items():
        print(f"CPU s of python -c            {statement:52} {median(values):.3f}")


def cpu_of(statement: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    threading.excepthook = lambda _: None  # paramiko's threads speak when a connection is cut under them
    main()
