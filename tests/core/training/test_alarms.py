"""A training tells on itself: each alarm is caused here, and told once, with what can be seen of why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.engine import events_of, job_here
from support.engine.training_set import make_run

from t2v_core import run_job
from t2v_core.training.callbacks.callback import Callback
from t2v_core.training.callbacks.loss_spikes import LossSpikes
from t2v_core.training.callbacks.pace_alarm import PaceAlarm
from t2v_core.training.pace.slowness import Stretch, causes
from t2v_core.training.trainer import Trainer

GIB = 2**30
# It speaks the CSV of a real one, at a GPU that another process shares and that is too hot for its clock.
NVIDIA_SMI = """#!{python}
import os, sys
if "--query-compute-apps=pid,process_name,used_memory" in sys.argv:
    print("2147483647, /usr/bin/other, 30000")
    print(f"{{os.getppid()}}, python, 8000")
else:
    print("765, 1410, 88")
"""


class Paced(Callback):
    """Steps that take as long as the test says, by its own clock; `swaps` bytes are swapped in each slow one."""

    def __init__(self, proc: Path, seconds: list[tuple[float, float]], *, swaps: int = 0) -> None:
        self.now, self.proc, self.seconds, self.swaps, self.swapped = 0.0, proc, seconds, swaps, 0
        self._tell()

    def on_step_end(self, trainer: Trainer) -> None:
        waited, computed = self.seconds[trainer.run.step - 1]
        trainer.run.clock.waited(waited)
        trainer.run.clock.stepped(computed)
        self.now += waited + computed
        self.swapped += self.swaps if waited + computed > 1 else 0
        self._tell()

    def _tell(self) -> None:
        pages = self.swapped // 4096
        (self.proc / "vmstat").write_text(f"pgpgin 7\npswpin {pages}\npswpout 0\n")


def alarms_of_pace(root: Path, seconds: list[tuple[float, float]], *, swaps: int = 0) -> list[dict[str, Any]]:
    (root / "loadavg").write_text("0.10 0.10 0.10 1/100 999\n")
    paced = Paced(root, seconds, swaps=swaps)
    job = job_here(root)
    Trainer(make_run(root, max_steps=len(seconds)), job, [paced, PaceAlarm(lambda: paced.now, root)]).train()
    return [event for event in events_of(job.directory) if event["kind"] == "alarm"]


def test_steps_that_are_slow_for_two_minutes_are_told_once_with_what_they_wait_for(tmp_path: Path) -> None:
    usual, slow = [(0.0, 10.0)] * 34, [(8.0, 10.0)] * 10
    (alarm,) = alarms_of_pace(tmp_path, usual + slow)
    assert alarm["name"] == "pace"
    assert alarm["message"] == "a step has taken 18 s for two minutes, 1.8 times as long as before"
    assert alarm["cause"] == alarm["hint"] == "it waits for data 31% of the time (0% before)"
    assert 34 < alarm["step"] <= 44


def test_a_slow_minute_and_steps_a_little_slower_are_no_alarm(tmp_path: Path) -> None:
    for name, late in (("minute", [(0.0, 30.0)] * 2 + [(0.0, 10.0)] * 8), ("little", [(0.0, 14.0)] * 10)):
        (tmp_path / name).mkdir()
        assert alarms_of_pace(tmp_path / name, [(0.0, 10.0)] * 34 + late) == []


def test_a_machine_that_swaps_is_named(tmp_path: Path) -> None:
    (alarm,) = alarms_of_pace(tmp_path, [(0.0, 0.5)] * 30 + [(0.0, 20.0)] * 12, swaps=GIB)
    assert "the machine swaps 5" in alarm["cause"]
    assert "MB a second: its memory is full" in alarm["cause"]


def test_a_gpu_that_is_shared_and_slowed_down_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(NVIDIA_SMI.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert causes(Stretch(120.0, 1.0), 0.0, torch.device("cuda")) == [
        "the GPU's clock is at 765 of 1410 MHz, at 88 °C",
        "another process is on the GPU: /usr/bin/other, pid 2147483647, with 30000 MiB",
    ]
    monkeypatch.setenv("PATH", "/nowhere")
    assert causes(Stretch(120.0, 1.0), 0.0, torch.device("cuda")) == []


def test_processors_that_others_want_are_named(tmp_path: Path) -> None:
    (tmp_path / "loadavg").write_text("990.0 1.0 1.0 1/100 999\n")
    (said,) = causes(Stretch(120.0, 1.0), 0.0, torch.device("cpu"), proc=tmp_path)
    assert said.startswith("other processes compete for the processors: load 990.0 on ")


def test_a_loss_that_leaps_is_told_once_with_its_clips(tmp_path: Path) -> None:
    job, seen = job_here(tmp_path), {}

    class Clips(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            seen[trainer.run.step] = trainer.clips()
            if trainer.run.step in (60, 61):
                trainer.loss *= 1000

    Trainer(make_run(tmp_path, max_steps=64, epochs=9), job, [Clips(), LossSpikes()]).train()
    (alarm,) = [event for event in events_of(job.directory) if event["kind"] == "alarm"]
    assert (alarm["name"], alarm["step"], alarm["clips"]) == ("loss-spike", 60, seen[60])
    assert alarm["message"].startswith("the loss leapt to ")
    assert len(alarm["clips"]) == 2


@pytest.mark.parametrize(
    ("error", "name", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "gpu-memory", "the GPU has not"),
        (MemoryError("Unable to allocate 26.0 GiB"), "memory", "there is not"),
    ],
)
def test_memory_that_runs_out_is_an_alarm_before_it_is_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, name: str, said: str
) -> None:
    def out_of_memory(_spec: object, _job: object) -> None:
        raise error

    monkeypatch.setattr(run_job, "_load", lambda _verb: out_of_memory)
    job = job_here(tmp_path)
    (job.directory / "spec.json").write_text('{"data": "x"}')
    assert run_job.run_job("shapes", job) == 1
    alarm, last = events_of(job.directory)
    assert (alarm["kind"], alarm["name"], last["kind"]) == ("alarm", name, "error")
    assert alarm["message"] == last["message"] == f"{said} enough memory: {error}"
    assert "--batch-size" in last["hint"] or name == "memory"
