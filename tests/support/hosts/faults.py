"""Faults put into real jobs at random: kills, a disk that fills, flipped bytes, a clock that jumps.

Each takes the dice it is to use and how often, and checks after each fault that the job can be taken up and that
nothing is lost but what was made since the last save. `benchmarks/faults/kill_anywhere.py` runs each a hundred times.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import libfaketime
import pytest

from support.engine.engine import Ended, events_of
from support.engine.engine import start as start_at_the_door
from support.engine.training_set import STEPS_AN_EPOCH, asked, data_set, differing
from support.engine.warm_engine import Child, begin, run_warm
from support.machines.small_disk import mounted
from t2v_core.checkpoints.checkpoints import latest_checkpoint

# A schedule that does not know how long the run is: however often it is cut, the steps are the same.
STEADY: dict[str, Any] = {"lr_schedule": "constant", "warmup_steps": 0, "keep_last": 2, "keep_best": 0}
ENDLESS = 100_000
PREPROCESS: dict[str, Any] = {"data": "data", "frames": 4, "size": 32, "device": "cpu", "shard_clips": 2}


Tell = Callable[[int], None]


def silent(_done: int) -> None:
    """Nobody watches."""


def seeded(seed: int | None = None) -> random.Random:
    """Dice whose seed is printed."""
    seed = time.time_ns() % 10**6 if seed is None else seed
    print("seed", seed, flush=True)
    return random.Random(seed)


def duration_of(job: Callable[[], Ended]) -> float:
    """Seconds that a job takes; those of the second time, as the first one has the engine to load."""
    job()
    began = time.monotonic()
    assert job().code == 0
    return time.monotonic() - began


def kill_after(child: Child, seconds: float) -> bool:
    """SIGKILL so long after the start; False when it had ended by itself, and then well."""
    child.process.join(seconds)
    if child.process.exitcode is None:
        with suppress(ProcessLookupError):
            child.signal(signal.SIGKILL)
    code = child.end().code
    assert code in (0, -signal.SIGKILL), child.log
    return code != 0


# Training


class Training:
    """One run that is cut into many; it is compared with one that never was."""

    def __init__(self, root: Path) -> None:
        self.root, self.announced = root, 0

    def go_on(self, **values: Any) -> Child:
        """Begin, or go on when there is something to go on from, as a person would."""
        self.before = self.saved_step
        if self.before:
            return begin(self.root, "train", resume=True, **values)
        return begin(self.root, "train", **asked(**STEADY | {"epochs": ENDLESS} | values))

    @property
    def saved_step(self) -> int:
        saved = latest_checkpoint(self.root / "checkpoints")
        return saved.step if saved else 0

    def check(self, directory: Path, *, since: int | None = None) -> None:
        """It went on from the newest checkpoint, and what it had announced as saved is still there."""
        events = events_of(directory)
        steps = [event["step"] for event in events if event["kind"] == "step"]
        assert steps[:1] in ([], [(self.before if since is None else since) + 1])
        self.announced = max([self.announced, *(e["step"] for e in events if e["kind"] == "checkpoint")])
        assert self.saved_step >= self.announced

    def ends_as_one_that_was_not_cut(self, whole: Path) -> None:
        """Train the epoch to its end, and the same number of epochs in `whole` without a fault."""
        saved = latest_checkpoint(self.root / "checkpoints")
        epochs = 1 + (saved.info["epoch"] if saved else 0)
        ended = self.go_on(epochs=epochs).end()
        assert ended.code == 0, ended.error
        assert run_warm(whole, "train", **asked(**STEADY | {"epochs": epochs})).code == 0
        name = f"checkpoints/checkpoint_epoch_{epochs}"
        assert differing(self.root / name, whole / name) == []


def kill_training(root: Path, dice: random.Random, kills: int, tell: Tell = silent) -> int:
    """Kill one training again and again: every other time anywhere from its start on, else after a step of the next two
    epochs, wherever it then is, so that it gets on also on a machine that is slower than a moment ago.

    Returns the step that it had reached.
    """
    window = duration_of(lambda: run_warm(root / f"timed-{time.time_ns()}", "train", **asked(**STEADY | {"epochs": 3})))
    training = Training(root / "cut")
    for number in range(kills):
        child = training.go_on()
        if number % 2:
            step = training.before + dice.randint(1, 2 * STEPS_AN_EPOCH)
            child.wait_for(lambda event, step=step: event.get("step", 0) >= step)  # type: ignore[misc]
        assert kill_after(child, dice.uniform(0, 0.2 if number % 2 else window))
        training.check(child.directory)
        tell(number + 1)
    reached = training.saved_step
    training.ends_as_one_that_was_not_cut(root / "whole")
    assert list((root / "cut/checkpoints").glob(".partial-*")) == []  # what the kills left is swept away
    return reached


def fill_disks(root: Path, dice: random.Random, fills: int, tell: Tell = silent) -> int:
    """Fill the disk on which a workspace lies at a random moment of its training, then make room and go on.

    Returns the step that it had reached.
    """
    with mounted(root / "disk", "160m") as disk:
        training = Training(disk / "cut")
        for number in range(fills):
            child = training.go_on()
            child.process.join(dice.uniform(0, 2))
            ballast = fill(disk)
            ended = child.end()
            assert ended.code == 1, (ended, child.log)  # the work failed, and nothing worse
            assert "Traceback" not in child.log, child.log
            ballast.unlink()
            training.check(child.directory)
            shutil.rmtree(disk / "cut/jobs")
            tell(number + 1)
        reached = training.saved_step
        training.ends_as_one_that_was_not_cut(root / "whole")
    return reached


def fill(disk: Path) -> Path:
    """A file that takes all the space there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 65536):
            pass
    return ballast


def flip_bytes(root: Path, dice: random.Random, flips: int, tell: Tell = silent) -> int:
    """Change one byte of the newest checkpoint, of each of its files in turn, and go on.

    Returns how often the run went on from the checkpoint before it; the others changed nothing that counts, such as a
    blank of the manifest.
    """
    whole = root / "whole"
    assert run_warm(whole, "train", **asked(**STEADY | {"epochs": 3, "keep_last": 9})).code == 0
    newest = "checkpoints/checkpoint_epoch_2"
    names = sorted(path.name for path in (whole / newest).iterdir())
    passed_over = 0
    for number in range(flips):
        here = root / "flipped"
        for epoch in (1, 2):
            name = f"checkpoints/checkpoint_epoch_{epoch}"
            shutil.copytree(whole / name, here / name)
        file = here / newest / names[number % len(names)]
        data = bytearray(file.read_bytes())
        at, bit = dice.randrange(len(data)), 1 << dice.randrange(8)
        data[at] ^= bit
        file.write_bytes(data)
        ended = run_warm(here, "train", resume=True)
        assert ended.code == 0, (file.name, at, bit, ended.error)
        passed_over += "checkpoint_epoch_2 is" in ended.warnings
        assert file.name == "manifest.json" or "checkpoint_epoch_2 is" in ended.warnings, (file.name, at, bit)
        last = "checkpoints/checkpoint_epoch_3"
        assert differing(here / last, whole / last) == [], (file.name, at, bit)
        shutil.rmtree(here)
        tell(number + 1)
    return passed_over


# Preprocessing


def kill_preprocessing(root: Path, dice: random.Random, kills: int, tell: Tell = silent) -> int:
    """Kill preprocessing again and again at random moments; when it gets to its end, begin anew.

    Returns how often it got to its end.
    """
    whole = clips_in(root / "whole")

    def preprocess_whole() -> Ended:
        shutil.rmtree(whole / "latents", ignore_errors=True)
        shutil.rmtree(whole / "text_embeddings", ignore_errors=True)
        return run_warm(root / "whole", "preprocess", **PREPROCESS | encoders())

    window = duration_of(preprocess_whole)
    done, ends, place = 0, 0, clips_in(root / "cut-0")
    while done < kills:
        before = shards(place)
        killed = kill_after(begin(place.parent, "preprocess", **PREPROCESS | encoders()), dice.uniform(0, window))
        now = shards(place)
        assert before.items() <= now.items()  # what was whole is there, and was not made again
        if killed:
            done += 1
            tell(done)
        else:
            assert differing_files(place, whole) == []
            ends += 1
            shutil.rmtree(place.parent)
            place = clips_in(root / f"cut-{ends}")
    assert run_warm(place.parent, "preprocess", **PREPROCESS | encoders()).code == 0
    assert differing_files(place, whole) == []
    return ends + 1


def clips_in(workspace: Path) -> Path:
    """The clips and captions of the small data set, not preprocessed; with the times of the files."""
    for part in ("videos", "annotations"):
        shutil.copytree(data_set() / part, workspace / "data" / part)
    return workspace / "data"


def encoders() -> dict[str, str]:
    return {"vae": str(data_set().parent / "vae"), "text_encoder": str(data_set().parent / "clip")}


def shards(data: Path) -> dict[str, int]:
    """The whole shards, and when each was written."""
    return {str(path.relative_to(data)): path.stat().st_mtime_ns for path in data.glob("*/*/shard-*")}


def differing_files(one: Path, other: Path) -> list[str]:
    """What preprocessing made in one place and not, or not the same, in the other; nothing may lie beside it."""
    left, right = made_in(one), made_in(other)
    return [name for name in sorted({*left, *right}) if left.get(name) != right.get(name)]


def made_in(data: Path) -> dict[str, bytes]:
    folders = (data / "latents", data / "text_embeddings")
    return {str(path.relative_to(data)): path.read_bytes() for f in folders for path in f.rglob("*") if path.is_file()}


# The clock


def jump_clocks(root: Path, dice: random.Random, jumps: int, tell: Tell = silent) -> int:
    """Set the clock of a training forward or back by years as it runs, once a step, then kill it and go on.

    The clock is libfaketime's, which stands between the process and the system's. Returns the step that it had reached.
    """
    training, offset, done = Training(root / "cut"), root / "offset", 0
    root.mkdir(exist_ok=True)
    while done < jumps:
        offset.write_text("+0")
        process, directory = start_with_clock(training, offset)
        goal = min(jumps, done + 20)
        while done < goal:
            step = wait_for_another_step(process, directory)
            offset.write_text(f"{dice.randrange(-9000, 9000):+d}d")
            done += 1
            tell(done)
        wait_for_another_step(process, directory, beyond=step + 1)
        process.kill()
        assert process.wait(30) == -signal.SIGKILL
        training.check(directory)
    reached = training.saved_step
    training.ends_as_one_that_was_not_cut(root / "whole")
    return reached


def start_with_clock(training: Training, offset: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """`python -m t2v_core train` under a clock that is as far from the system's as `offset` says."""
    library = Path(libfaketime.__file__).parent / "vendor/libfaketime/src/libfaketime.so.1"
    assert library.exists()
    clock = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    clock |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}  # which no administrator and no time server can set
    training.before = training.saved_step
    values = {"resume": True} if training.before else asked(**STEADY | {"epochs": ENDLESS})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clock.items():
            patch.setenv(name, value)
        return start_at_the_door(training.root, "train", **values)


def wait_for_another_step(process: subprocess.Popen[bytes], directory: Path, *, beyond: int | None = None) -> int:
    """The newest step, once it is another than it was, or more than `beyond`."""

    def newest() -> int:
        events = events_of(directory) if (directory / "events.jsonl").exists() else []
        return max((event["step"] for event in events if event["kind"] == "step"), default=0)

    limit = newest() if beyond is None else beyond
    deadline = time.monotonic() + 120
    while (step := newest()) <= limit:
        assert process.poll() is None, (directory / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return step
