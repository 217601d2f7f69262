"""One file of 20 GiB (sparse there) comes home through a cut line, a laptop that sleeps, and a kill of either end.

python benchmarks/hosts/transfer_huge.py                       20 GiB at 50 ms; needs as much disk, and root
python benchmarks/hosts/transfer_huge.py --gib 2 --sleep-s 5   a look

The line is down for 15 s; every process here is stopped for two minutes, by which the far end's connections are gone;
the SSH server and all its sessions are killed and it starts again; t2v is killed with its programs and begun anew. What
is printed of each: what the journal had before it, and in the end how many bytes came again, by t2v's own count and by
the line's, and whether the sha256 is that of the file there.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[2] / "tests"
sys.path[:1] = [str(Path(__file__).parent), str(TESTS.parent), str(TESTS), str(TESTS.with_name("setup"))]

from bench.wan import Line
from cpu_group import CpuGroup, cpu_group
from transfer import ONE_WAY_S, Bench, bench

from remote.agent.transfer.parts import journal_path, merged
from t2v_core.disk.files import MANIFEST, sha256, staged_directory

GIB, MIB = 2**30, 2**20
NAME = "checkpoints/checkpoint_step_1"
FAULTS = ("cut", "sleep", "server", "client")
TIMEOUT_S = 3600.0


@dataclass
class Huge:
    """this: the line and its ends; group: of the processes here; here: the workspace"""

    this: Bench
    group: CpuGroup
    here: Path
    size: int
    sleep_s: float
    cut_s: float

    def begin(self) -> subprocess.Popen[bytes]:
        argv = self.group.within([*self.this.t2v(self.here, "pull", "checkpoints", "--json")])
        return subprocess.Popen(
            argv, env=self.this.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )

    @property
    def noted(self) -> int:
        """Bytes that the journal says are here."""
        part = self.here / f"{NAME}.part" / "model.safetensors"
        with suppress(OSError, ValueError):
            lines = journal_path(part).read_text().splitlines()[1:]
            return sum(end - begin for begin, end in merged(tuple(json.loads(line)) for line in lines))
        return 0

    def pids(self) -> list[int]:
        return [int(pid) for pid in (self.group.count / "cgroup.procs").read_text().split()]

    def all_here(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def cut(self) -> None:
        """Nothing passes; what is written there meanwhile is lost."""
        device = link_device().name
        subprocess.run(["ip", "link", "set", device, "down"], check=True, timeout=20)
        time.sleep(self.cut_s)
        subprocess.run(["ip", "link", "set", device, "up"], check=True, timeout=20)

    def sleep(self) -> None:
        self.all_here(signal.SIGSTOP)
        time.sleep(self.sleep_s)
        self.all_here(signal.SIGCONT)

    def server(self) -> None:
        self.this.sshd.kill()
        time.sleep(2)
        self.this.sshd.start()


def link_device() -> Path:
    return next(Path("/sys/class/net").glob("t2vh*"))


def crossed() -> int:
    """Bytes that came over the line, with all headers."""
    return int((link_device() / "statistics/tx_bytes").read_text()) + int(
        (link_device() / "statistics/rx_bytes").read_text()
    )


def make_sparse(root: Path, size: int) -> str:
    """A checkpoint of one file that is mostly holes; returns its sha256."""
    with (
        staged_directory(root / NAME) as partial,
        (partial / "model.safetensors").open("wb") as file,
    ):
        for place in range(0, size, size // 64):
            file.seek(place)
            file.write(os.urandom(MIB))
        file.truncate(size)
    said = json.loads((root / NAME / MANIFEST).read_text())
    return str(said["files"]["model.safetensors"]["sha256"])


def through(huge: Huge, digest: str) -> None:
    """One fault after the other, as the file comes."""
    began, before, moved, child = time.monotonic(), crossed(), 0, huge.begin()
    for number, fault in enumerate(FAULTS, 1):
        while huge.noted < huge.size * number // (len(FAULTS) + 1):
            assert child.poll() is None, "it ended before its time"
            time.sleep(0.1)
        print(f"{fault:7} at {huge.noted / GIB:.2f} GiB, {time.monotonic() - began:.0f} s", flush=True)
        if fault == "client":
            huge.all_here(signal.SIGKILL)
            child.wait()
            there = huge.noted
            child = huge.begin()
            moved = there
        else:
            {"cut": huge.cut, "sleep": huge.sleep, "server": huge.server}[fault]()
    out, _ = child.communicate(timeout=TIMEOUT_S)
    assert child.returncode == 0, f"exit code {child.returncode}"
    again = moved + json.loads(out)["bytes"] - huge.size
    came = crossed() - before
    print(f"in {time.monotonic() - began:.0f} s; after the kill {again / MIB:.2f} MiB more than the journal lacked")
    print(f"over the line, with headers and answers: {came / huge.size - 1:.2%} more than the file")
    same = sha256(huge.here / NAME / "model.safetensors") == digest
    print("sha256: " + ("the same" if same else "ANOTHER"))
    assert same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=20.0)
    parser.add_argument("--sleep-s", type=float, default=120.0)
    parser.add_argument("--cut-s", type=float, default=15.0)
    parser.add_argument("--folder", type=Path, help="where to work (default: the folder for temporary files)")
    asked = parser.parse_args()
    size = int(asked.gib * GIB)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=asked.folder)))
        group = stack.enter_context(cpu_group("huge"))
        this = stack.enter_context(bench(folder, Line(ONE_WAY_S), has_gcloud=False))
        digest = make_sparse(this.there, size)
        through(Huge(this, group, this.here(), size, asked.sleep_s, asked.cut_s), digest)


if __name__ == "__main__":
    main()
