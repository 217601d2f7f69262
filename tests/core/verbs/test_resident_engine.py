"""A resident engine in real processes: it does jobs that stay jobs of their own, with the model loaded once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.engine.engine import TIMEOUT_S, events_of
from support.warm.python import warm

from t2v_core.assemble import load_pipeline
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.workspace import Workspace, create_job_directory

ASKED = {"prompt": "a red circle moving right", "steps": 2, "checkpoint": "embedded", "device": "cpu", "seed": 3}


@dataclass
class Begun:
    """A child of the door and its job directory."""

    child: subprocess.Popen[bytes]
    directory: Path

    def ended(self) -> int:
        return self.child.wait(TIMEOUT_S)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in events_of(self.directory) if event["kind"] == kind]


@dataclass
class Bench:
    """A workspace, and what was begun in it."""

    root: Path
    begun: list[Begun]

    def begin(self, verb: str, *, resident: str = "", **spec: Any) -> Begun:
        directory = create_job_directory(Workspace(self.root), verb)
        (directory / "spec.json").write_text(json.dumps(spec))
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "T2V_RESIDENT": resident}
        with (directory / "log").open("wb") as log:
            child = subprocess.Popen(
                [warm(), "-m", "t2v_core", verb, str(directory)], stdout=log, stderr=log, env=environment
            )
        self.begun.append(Begun(child, directory))
        return self.begun[-1]

    def resident(self, **spec: Any) -> Begun:
        one = self.begin("serve", **spec)
        wait(lambda: one.events("stage") != [])
        return one


def wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    # Deeper than a socket's 107 bytes.
    root = tmp_path_factory.mktemp("workspace") / ("deep" * 20)
    root.mkdir()
    made = Bench(root, [])
    yield made
    for one in made.begun:
        one.child.kill()
        one.child.wait()


@pytest.fixture(scope="module")
def resident(bench: Bench) -> Begun:
    return bench.resident(idle_s=300)


def test_a_job_that_is_handed_over_ends_as_if_its_own_process_had_done_it(bench: Bench, resident: Begun) -> None:
    name = resident.directory.name
    first = bench.begin("generate", resident=name, output="outputs/first.mp4", **ASKED)
    again = bench.begin("generate", resident=name, output="outputs/again.mp4", **ASKED)
    alone = bench.begin("generate", output="outputs/alone.mp4", **ASKED)
    assert [one.ended() for one in (first, again, alone)] == [0, 0, 0]
    videos = {(bench.root / "outputs" / f"{word}.mp4").read_bytes() for word in ("first", "again", "alone")}
    assert len(videos) == 1
    assert [len(one.events("done")) for one in (first, again)] == [1, 1]
    assert resident.child.poll() is None


def test_a_wrong_request_ends_with_its_own_sentence_and_the_resident_goes_on(bench: Bench, resident: Begun) -> None:
    wrong = bench.begin("generate", resident=resident.directory.name, **ASKED | {"frames": 500})
    assert wrong.ended() == 2
    assert "500 frames" in wrong.events("error")[0]["message"]
    assert "500 frames" in (wrong.directory / "log").read_text()
    assert resident.child.poll() is None


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (lambda job: (job.directory / "stop").touch(), 4),
        (lambda job: job.child.send_signal(signal.SIGINT), 130),
        (lambda job: job.child.send_signal(signal.SIGTERM), 4),
        (lambda job: job.child.kill(), -9),
    ],
    ids=["stop file", "SIGINT", "SIGTERM", "SIGKILL"],
)
def test_however_a_job_is_ended_the_work_ends_within_a_step_and_the_next_is_done(
    bench: Bench, resident: Begun, how: Callable[[Begun], None], code: int
) -> None:
    name = resident.directory.name
    long = bench.begin("generate", resident=name, **ASKED | {"steps": 1000})
    wait(lambda: any(event["done"] > 1 for event in long.events("progress")))
    how(long)
    assert long.ended() == code
    following = bench.begin("generate", resident=name, **ASKED)
    assert following.ended() == 0
    assert long.events("error")[0]["exit_code"] == (code if code > 0 else 4)
    assert max(event["done"] for event in long.events("progress")) < 1000


def test_a_job_that_waits_for_its_turn_can_be_stopped(bench: Bench, resident: Begun) -> None:
    name = resident.directory.name
    long = bench.begin("generate", resident=name, **ASKED | {"steps": 1000})
    wait(lambda: long.events("progress") != [])
    waiting = bench.begin("generate", resident=name, **ASKED)
    (waiting.directory / "stop").touch()
    assert waiting.ended() == 4
    (long.directory / "stop").touch()
    assert long.ended() == 4


def test_when_the_resident_is_killed_at_work_the_job_fails_with_a_sentence(bench: Bench) -> None:
    one = bench.resident()
    long = bench.begin("generate", resident=one.directory.name, **ASKED | {"steps": 1000})
    wait(lambda: long.events("progress") != [])
    one.child.kill()
    assert long.ended() == 1
    assert "ended while it worked" in long.events("error")[0]["message"]


def test_a_resident_ends_when_nobody_comes_and_a_job_then_does_its_own_work(bench: Bench) -> None:
    one = bench.resident(idle_s=0.2)
    assert one.ended() == 0
    assert not (one.directory / "door").exists()
    (one.directory / "exit.json").write_text("{}")  # what a supervisor writes
    job = bench.begin("generate", resident=one.directory.name, **ASKED)
    assert job.ended() == 0


def test_a_resident_that_is_asked_to_stop_ends_its_job_too(bench: Bench) -> None:
    one = bench.resident()
    long = bench.begin("generate", resident=one.directory.name, **ASKED | {"steps": 1000})
    wait(lambda: long.events("progress") != [])
    (one.directory / "stop").touch()
    assert (long.ended(), one.ended()) == (4, 4)


def test_the_models_of_a_checkpoint_are_loaded_once_and_another_checkpoint_takes_their_place() -> None:
    keep: dict[str, Any] = {}
    checkpoint = open_checkpoint(Path("embedded"))
    first = load_pipeline(checkpoint, device="cpu", precision="fp32", keep=keep)
    again = load_pipeline(checkpoint, device="cpu", precision="fp32", sampler="dpm++", keep=keep)
    raw = load_pipeline(checkpoint, device="cpu", precision="fp32", weights="ema", keep={})
    assert again.denoiser is first.denoiser
    assert type(again.scheduler) is not type(first.scheduler)
    assert raw.denoiser is not first.denoiser
    load_pipeline(checkpoint, device="cpu", precision="bf16", keep=keep)
    assert keep["models"][-1] is not first.denoiser
