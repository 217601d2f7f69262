"""Work on a real machine that loses its power, or is restarted, at a random moment; and what is asked of the work then.

Used by tests/remote/machine/test_machine_power.py for a few trials, by benchmarks/faults/power_cuts.py for forty.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from remote.jobs.client import HostJobs
from remote.replies.job_row import JobRow
from support.hosts.agent_here import wait_until
from support.hosts.small_release import small_checkout, write_engine
from support.house.needs import needs
from support.machines.machine_here import MachineHere

RESTARTED = "the machine restarted while it ran"
POWER_CUT, REBOOT = "power cut", "reboot"
USER = "me"
SHAPES = ("data", "shapes", "--clips", "32", "--test-clips", "4", "--frames", "4", "--size", "32", "--host", USER)
PREPROCESS = (
    "preprocess", "--vae", "embedded", "--text-encoder", "embedded", "--frames", "4", "--size", "32", "--shard-clips",
    "4", "--device", "cpu", "--host", USER,
)  # fmt: skip
TRAIN = (
    "train", "--preset", "tiny", "--data", "data/shapes", "--epochs", "6", "--batch-size", "8", "--checkpoint-every",
    "1", "--keep-last", "9", "--samples", "0", "--device", "cpu", "--host", USER,
)  # fmt: skip
PULLED_BYTES = 150_000_000


@dataclass(frozen=True)
class Trial:
    """What came of one: how the job stood after the machine was back, and whether the work came to its right end."""

    work: str
    ending: str
    after_s: float
    named: str
    is_right: bool


class Trials:
    """A machine with a small data set, and what each work comes to when nothing happens to it."""

    def __init__(self, machine: MachineHere, seed: int) -> None:
        self.machine, self.random = machine, random.Random(seed)
        self.number = 0
        self.there = machine.there(USER)
        self.done(*SHAPES, "--data", "data/shapes")
        self.took = {"preprocess": self.timed(*PREPROCESS, "--data", "data/shapes")}
        self.whole_store = digest(self.there / "data/shapes")
        self.took["train"] = self.timed(*TRAIN, "--checkpoints", "checkpoints/whole")
        self.whole_weights = digest(self.last_checkpoint("whole"))
        self.took["pull"] = 3.0
        self.checkout = Path()

    def done(self, *words: str, checkout: Path | None = None) -> str:
        done = self.machine.ran(*words, checkout=checkout)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def timed(self, *words: str, checkout: Path | None = None) -> float:
        began = time.monotonic()
        self.done(*words, checkout=checkout)
        return time.monotonic() - began

    def last_checkpoint(self, run: str) -> Path:
        folders = self.there.glob(f"checkpoints/{run}/checkpoint_epoch_*/manifest.json")
        return max((one.parent for one in folders), key=lambda one: int(one.name.rpartition("_")[2]))

    def trial(self, work: str, ending: str) -> Trial:
        self.number += 1
        self.machine.machine.inside("sync")  # what earlier trials left is not what this one is about
        works = {"train": self.train, "preprocess": self.preprocess, "pull": self.pull, "bootstrap": self.bootstrap}
        return works[work](ending)

    def interrupt(self, ending: str, after_s: float) -> None:
        time.sleep(after_s)  # the random moment
        if ending == REBOOT:
            self.machine.machine.reboot()
        else:
            self.machine.machine.cut_power()
            self.machine.machine.start()

    def moment(self, work: str) -> float:
        return self.random.uniform(0.0, 0.8 * self.took[work])

    def train(self, ending: str) -> Trial:
        run = f"run-{self.number}"
        words = (*TRAIN, "--checkpoints", f"checkpoints/{run}")
        row, after_s = self.cut_job("train", ending, words)
        if row is None or row.state != "succeeded":
            has_begun = any(self.there.glob(f"checkpoints/{run}/checkpoint_*/manifest.json"))
            self.done(*words, *(["--resume"] if has_begun else []))
        is_right = digest(self.last_checkpoint(run)) == self.whole_weights
        shutil.rmtree(self.there / f"checkpoints/{run}")
        return Trial("train", ending, after_s, named(row), is_right and is_named_rightly(row))

    def preprocess(self, ending: str) -> Trial:
        data = f"data/shapes-{self.number}"
        shutil.copytree(self.there / "data/shapes", self.there / data, ignore=only_sources)
        self.machine.machine.inside("chown", "-R", f"{USER}:{USER}", f"/home/{USER}/text2video/{data}")
        self.machine.machine.inside("sync")
        words = (*PREPROCESS, "--data", data)
        row, after_s = self.cut_job("preprocess", ending, words)
        self.done(*words)
        is_right = digest(self.there / data) == self.whole_store
        shutil.rmtree(self.there / data)
        return Trial("preprocess", ending, after_s, named(row), is_right and is_named_rightly(row))

    def cut_job(self, work: str, ending: str, words: tuple[str, ...]) -> tuple[JobRow | None, float]:
        """The row is None for a job that nobody had confirmed yet when the power went."""
        after_s = self.moment(work)
        child = self.machine.t2v(*words, "--detach")
        job = child.communicate(timeout=120)[0].strip()
        assert child.returncode == 0
        self.interrupt(ending, after_s)
        with self.machine.jobs(USER) as jobs:
            wait_until(lambda: jobs.row(job).has_ended)
            return jobs.row(job), after_s

    def pull(self, ending: str) -> Trial:
        """A video of random bytes, as large as takes some seconds, and whoever pulls it stays where they are."""
        name = f"outputs/pulled-{self.number}.mp4"
        content = self.random.randbytes(PULLED_BYTES)
        (self.there / "outputs").mkdir(exist_ok=True)
        (self.there / name).write_bytes(content)
        self.machine.machine.inside("chown", "-R", f"{USER}:{USER}", f"/home/{USER}/text2video/outputs")
        self.machine.machine.inside("sync")
        after_s = self.moment("pull")
        child = self.machine.t2v("pull", "videos", "--host", USER)
        self.interrupt(ending, after_s)
        child.communicate(timeout=240)
        code = child.returncode
        if code != 0:
            self.done("pull", "videos", "--host", USER)
        is_right = (self.machine.here.root / name).read_bytes() == content
        for root in (self.there, self.machine.here.root):
            (root / name).unlink()
        return Trial("pull", ending, after_s, f"exit {code}", is_right)

    def bootstrap(self, ending: str) -> Trial:
        """Of a workspace with nothing in it, out of a folder of wheels; what it is for is a job there afterwards."""
        if "bootstrap" not in self.took:
            self.prepare_bootstrap()
        host = self.bare()
        after_s = self.moment("bootstrap")
        child = self.machine.t2v("bootstrap", "--host", host, checkout=self.checkout)
        self.interrupt(ending, after_s)
        child.communicate(timeout=240)
        code = child.returncode
        with HostJobs(self.machine.host(USER, workdir=f"~/{host}"), self.machine.here) as jobs:
            wait_until(lambda: all(row.has_ended for row in jobs.rows()))
            row = next(iter(jobs.rows()), None)
        if code != 0:
            self.done("bootstrap", "--host", host, checkout=self.checkout)
        self.done(*SHAPES[:-1], host, "--data", "data/shapes", checkout=self.checkout)
        there = self.machine.home(USER) / host
        is_same = digest(there / "data", "*.mp4") == digest(self.there / "data", "*.mp4")
        is_right = is_same and is_named_rightly(row) and not left_of_installs(there)
        shutil.rmtree(there)
        said = f"exit {code}; the install: {named(row)}"
        return Trial("bootstrap", ending, after_s, said, is_right)

    def cut_after_bootstrap(self) -> None:
        """A job runs there afterwards, without anything that is made again."""
        if "bootstrap" not in self.took:
            self.prepare_bootstrap()
        host = self.bare()
        self.done("bootstrap", "--host", host, checkout=self.checkout)
        self.machine.machine.cut_power()
        self.machine.machine.start()
        self.done(*SHAPES[:-1], host, "--data", "data/shapes", checkout=self.checkout)
        shutil.rmtree(self.machine.home(USER) / host)

    def prepare_bootstrap(self) -> None:
        needs("python3.11")
        (folder := self.machine.config / "checkout").mkdir(parents=True)
        self.checkout = small_checkout(folder)
        write_engine(self.machine.machine.path("/srv/wheels"))
        self.machine.machine.write("/etc/pip.conf", "[global]\nno-index = true\nfind-links = /srv/wheels\n")
        self.took["bootstrap"] = self.timed("bootstrap", "--host", self.bare(), checkout=self.checkout)

    def bare(self) -> str:
        host = f"bare-{self.number}-{self.random.randrange(1000)}"
        self.machine.add_bare(host)
        return host


def left_of_installs(workspace: Path) -> list[Path]:
    """What is half there."""
    return [*workspace.glob(".t2v/incoming/*"), *list(workspace.glob(".t2v/releases/*"))[1:]]


def is_named_rightly(row: JobRow | None) -> bool:
    return row is None or row.state == "succeeded" or row.reason.startswith(RESTARTED)


def named(row: JobRow | None) -> str:
    return "not begun" if row is None else f"{row.state}: {row.reason}"


def only_sources(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder).name == "shapes" and name not in ("videos", "annotations")]


def digest(folder: Path, pattern: str = "*.safetensors") -> str:
    """Of what the manifests and the files say, whatever the folder is called and whenever it was made."""
    found = sorted(path for path in folder.rglob(pattern))
    assert found
    sums = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()
