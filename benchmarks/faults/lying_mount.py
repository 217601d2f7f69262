"""Kill a training whose checkpoints lie on a mount that lies: does it go on from a whole one, and what is lost?

    pip install mfusepy; python benchmarks/faults/lying_mount.py [--count 20] [--seed N]

A real FUSE mount before a folder that stands for a bucket. Whoever writes sees it done at once, and fsync says so; what
was written arrives in the bucket later, up to half of the time between two checkpoints, files in any order: by halves,
in their full size before their bytes, or at once. What was removed is gone there at once, and a folder that was renamed
is copied file by file. The training is killed (SIGKILL) at a random moment, most often while a checkpoint is on its
way, and two times of three the mount's own process with it, as when a machine is taken away: what had not arrived is
lost, and the next mount shows what had. Ends with the assertion that noticed when the training does not go on, goes on
from an earlier checkpoint than the last but one that it had told of, or from one that is not, byte for byte, what was
written. Takes whoever may use /dev/fuse.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path[:1] = [str(Path(__file__).parents[2] / name) for name in (".", "tests", "setup")]

EPOCHS, KEEP_LAST = 4, 2
INTERVAL_STEPS = 11 * EPOCHS
MOUNT_TIMEOUT_S = 20.0
RUN: dict[str, Any] = {
    "epochs": 100_000, "lr_schedule": "constant", "checkpoint_every": EPOCHS, "keep_last": KEEP_LAST, "keep_best": 0,
}  # fmt: skip


@dataclass
class Bucket:
    """What has arrived, and what is on its way: (when it begins to show, file), until something later overtakes it.

    late_s: the longest that a file is on its way
    """

    seen: Path
    folder: Path
    late_s: float
    dice: random.Random
    coming: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def changed(self, name: str) -> None:
        """A file of the mount has other bytes: it will arrive."""
        with self.lock:
            self.coming[name] = time.monotonic() + self.dice.random() * self.late_s * 0.8

    def removed(self, name: str) -> None:
        with self.lock:
            self.coming.pop(name, None)
        (self.folder / name).unlink(missing_ok=True)

    def carry(self) -> None:
        """Bring what is due, for ever; a thread for each file, so that they overtake each other."""
        while True:
            with self.lock:
                due = [name for name, at in self.coming.items() if at <= time.monotonic()]
                for name in due:
                    del self.coming[name]
            for name in due:
                threading.Thread(target=self._bring, args=(name, self.dice.choice("hzw")), daemon=True).start()
            time.sleep(0.002)

    def _bring(self, name: str, way: str) -> None:
        there = self.folder / name
        with suppress(OSError):  # it was renamed or removed meanwhile, and comes, or not, under its new name
            data = (self.seen / name).read_bytes()
            there.parent.mkdir(parents=True, exist_ok=True)
            if way != "w":
                there.write_bytes(data[: len(data) // 2] if way == "h" else bytes(len(data)))
                time.sleep(self.dice.random() * self.late_s * 0.2)
            if (self.seen / name).exists():
                there.write_bytes(data)


class Mount:
    """A folder as it is, and each change of it told to the bucket: what FUSE asks for, by mfusepy's names."""

    use_ns = True

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket

    def _at(self, path: str) -> Path:
        return self.bucket.seen / path.lstrip("/")

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        found = os.lstat(self._at(path))
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size")
        times = {f"st_{one}time": getattr(found, f"st_{one}time_ns") for one in "acm"}
        return {name: getattr(found, name) for name in names} | times

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *(one.name for one in self._at(path).iterdir())]

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._at(path))
        return {name: getattr(found, name) for name in ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_frsize")}

    def open(self, path: str, flags: int) -> int:
        return os.open(self._at(path), flags)

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(self._at(path), length)
        self.bucket.changed(path.lstrip("/"))

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        """It says that it is done."""

    def fsyncdir(self, path: str, datasync: int, fh: int) -> None:
        """It says that it is done."""

    def release(self, path: str, fh: int) -> None:
        is_written = fcntl.fcntl(fh, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        os.close(fh)
        if is_written:
            self.bucket.changed(path.lstrip("/"))

    def unlink(self, path: str) -> None:
        self._at(path).unlink()
        self.bucket.removed(path.lstrip("/"))

    def mkdir(self, path: str, mode: int) -> None:
        self._at(path).mkdir(mode)

    def rmdir(self, path: str) -> None:
        self._at(path).rmdir()
        with suppress(OSError):
            (self.bucket.folder / path.lstrip("/")).rmdir()

    def rename(self, old: str, new: str) -> None:
        top = self._at(old).rename(self._at(new))
        for path in [top] if top.is_file() else [one for one in top.rglob("*") if one.is_file()]:
            self.bucket.changed(str(path.relative_to(self.bucket.seen)))
            self.bucket.removed(str(Path(old.lstrip("/")) / path.relative_to(top)))
        with suppress(OSError):
            (self.bucket.folder / old.lstrip("/")).rmdir()

    def link(self, target: str, source: str) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))  # a bucket has none


def serve(bucket: Bucket, mountpoint: Path) -> None:
    """Be the mount, in this process."""
    import mfusepy

    class Operations(Mount, mfusepy.Operations):  # type: ignore[misc]
        """What is not answered here is refused there."""

    threading.Thread(target=bucket.carry, daemon=True).start()
    mfusepy.FUSE(Operations(bucket), str(mountpoint), foreground=True, nothreads=True, fsname="t2v-lying")


@dataclass
class Machine:
    """The mount's process on a machine that comes and goes; `bucket` alone stays."""

    root: Path
    late_s: float
    dice: random.Random
    _process: subprocess.Popen[bytes] | None = None

    @property
    def mountpoint(self) -> Path:
        return self.root / "checkpoints"

    @property
    def written(self) -> Path:
        """What the machine that was taken away had written."""
        return self.root / "written"

    def mount(self) -> None:
        seen, bucket = self.root / "seen", self.root / "bucket"
        bucket.mkdir(exist_ok=True)
        if seen.exists():
            seen.rename(self.written)
        shutil.copytree(bucket, seen)
        self.mountpoint.mkdir(exist_ok=True)
        words = [str(seen), str(bucket), str(self.late_s), str(self.dice.random()), str(self.mountpoint)]
        with (self.root / "mount.log").open("ab") as log:
            self._process = subprocess.Popen([sys.executable, __file__, "--serve", *words], stdout=log, stderr=log)
        deadline = time.monotonic() + MOUNT_TIMEOUT_S
        while not self.mountpoint.is_mount():
            is_there = self._process.poll() is None and time.monotonic() < deadline
            assert is_there, (self.root / "mount.log").read_text()
            time.sleep(0.01)

    def taken_away(self) -> None:
        """SIGKILL to the mount: what is on its way never arrives."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        subprocess.run(["fusermount3", "-u", "-z", str(self.mountpoint)], check=True)


@contextmanager
def mounted(machine: Machine) -> Iterator[None]:
    machine.mount()
    try:
        yield
    finally:
        machine.taken_away()


def sums(folder: Path) -> dict[str, str]:
    """The sha256 of each file, by its name from the folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def trial(root: Path, dice: random.Random, late_s: float) -> str:
    """One kill; returns in words what was lost."""
    from support.engine.training_set import asked
    from support.engine.warm_engine import begin

    machine = Machine(root, late_s, dice)
    with mounted(machine):
        child = begin(root, "train", **asked(**RUN))
        child.wait_for(lambda event: event["kind"] == "checkpoint" and event["step"] >= 2 * INTERVAL_STEPS)
        time.sleep(dice.random() * 1.5 * late_s)
        child.signal(signal.SIGKILL)
        events = child.end().events
        is_machine = dice.random() < 2 / 3
        if is_machine:
            machine.taken_away()
            machine.mount()
        told = max(event["step"] for event in events if event["kind"] == "checkpoint")
        reached = max(event["step"] for event in events if event["kind"] == "step")
        seen = sums(machine.mountpoint)
        written = sums(machine.written) if is_machine else seen
        again = begin(root, "train", resume=True, epochs=RUN["epochs"])
        first = again.wait_for(lambda event: event["kind"] == "step")["step"] - 1
        again.wait_for(lambda event: event["kind"] == "checkpoint" and event["step"] > told)
        again.signal(signal.SIGKILL)
        skipped = again.end().warnings.count("skipped")
    assert first >= told - INTERVAL_STEPS, (first, told, sorted(seen))
    name = f"checkpoint_epoch_{first // INTERVAL_STEPS * EPOCHS}/"
    assert {one: seen[one] for one in seen if one.startswith(name)} == {
        one: written[one] for one in written if one.startswith(name)
    }
    who = "training and mount" if is_machine else "training"
    back = (told - first) // INTERVAL_STEPS
    return f"{who} killed at step {reached}; {skipped} skipped, goes on from {first}, {back} checkpoint back"


def interval_s(root: Path) -> float:
    """Seconds between two checkpoints, here and now."""
    from support.engine.training_set import asked
    from support.engine.warm_engine import begin

    child, moments = begin(root, "train", **asked(**RUN)), []
    for count in (1, 3):
        child.wait_for(
            lambda event, step=count * INTERVAL_STEPS: event["kind"] == "checkpoint" and event["step"] >= step
        )
        moments.append(time.monotonic())
    child.signal(signal.SIGKILL)
    child.end()
    return (moments[1] - moments[0]) / 2


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        seen, bucket, late_s, seed, mountpoint = sys.argv[2:]
        serve(Bucket(Path(seen), Path(bucket), float(late_s), random.Random(seed)), Path(mountpoint))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    asked = parser.parse_args()
    dice = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        between_s = interval_s(Path(folder) / "timed")
        print(f"seed {asked.seed}, {asked.count} kills, a checkpoint every {between_s:.2f} s", flush=True)
        for number in range(asked.count):
            root = Path(folder) / str(number)
            root.mkdir()
            print(f"{number + 1}: {trial(root, dice, between_s / 2)}", flush=True)
            shutil.rmtree(root)
    print(f"{asked.count} of {asked.count} went on from a whole checkpoint, one interval back at most")


if __name__ == "__main__":
    main()
