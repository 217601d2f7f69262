"""`t2v verify-resume`: real kills, every part compared, and a verdict that can be bad."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.engine import sabotaged_resume
from support.engine.engine import events_of
from support.engine.forked_command import FORKS
from support.hosts.door import through_the_door

from t2v_core.events.results import KilledRun, ResumeVerified
from t2v_core.resume_check.compare import FILES, compare
from t2v_core.specs import VerifyResumeSpec
from t2v_core.verbs.verify_resume import ACCUMULATION, STEPS_PER_EPOCH, cases
from t2v_core.workspace import Workspace, create_job_directory
from t2v_tui.cli.engine.resume_verdict import verdict_lines

KILLS = ["in the middle of an epoch", "in the middle of an accumulation", "in the middle of a checkpoint write"]


@pytest.mark.slow
def test_tiny_resumes_exactly_and_the_kills_were_where_they_should_be(tmp_path: Path) -> None:
    ended = through_the_door(tmp_path, "verify-resume", device="cpu")
    assert ended.code == 0, ended.log
    done = ended.done
    assert (done["exact"], done["largest_difference"]) == (True, 0)
    assert [case["killed"] for case in done["cases"]] == KILLS
    assert all(case["order_is_same"] and case["tensors"] > 500 for case in done["cases"])
    epoch, accumulation, write = done["cases"]
    assert (epoch["resumed_at"], epoch["resumed_at"] % STEPS_PER_EPOCH, epoch["steps_done"]) == (6, 2, 7)
    assert (accumulation["resumed_at"], accumulation["steps_done"]) == (4, 6)
    assert (write["resumed_at"], write["left_half_written"]) == (4, ["ema.safetensors", "model.safetensors"])
    assert list(tmp_path.glob("jobs/*/trial")) == []  # nothing is left of what went well
    read = ResumeVerified.of(done)
    assert read is not None
    said = verdict_lines(read)
    assert said[0] == "tiny, 12 steps, cpu"
    assert said[-1].startswith("training resumes exactly: weights, averages, moments and order are the same")


@pytest.mark.slow
def test_two_processes_resume_exactly_with_deterministic_algorithms(tmp_path: Path) -> None:
    ended = through_the_door(tmp_path, "verify-resume", device="cpu", processes=2, steps=8, deterministic=True)
    assert ended.code == 0, ended.log
    assert (ended.done["exact"], ended.done["processes"]) == (True, 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sabotage", "sentence"),
    [
        ("moments", "killed in the middle of an epoch and resumed, training ended differently: "),
        ("order", "killed in the middle of an epoch and resumed, training saw other clips or noise than "),
    ],
)
def test_a_resume_that_loses_something_is_found_out(sabotage: str, sentence: str, tmp_path: Path) -> None:
    directory = create_job_directory(Workspace(tmp_path), "verify-resume")
    (directory / "spec.json").write_text('{"device": "cpu", "steps": 8}')
    process = FORKS.Process(target=sabotaged_resume.verify, args=(directory, sabotage))
    process.start()
    process.join(280)
    (error,) = [event for event in events_of(directory) if event["kind"] == "error"]
    assert (process.exitcode, error["exit_code"]) == (1, 1)
    assert error["message"].startswith(sentence)
    assert str(directory / "trial") in error["hint"]
    assert (directory / "trial/whole").is_dir()


@pytest.mark.parametrize("steps", range(8, 60))
def test_for_every_number_of_steps_the_kills_come_after_a_save_and_before_the_end(steps: int) -> None:
    spec = VerifyResumeSpec(steps=steps)
    epoch, accumulation, write = (case.point for case in cases(spec.steps))
    assert epoch.save_at is not None
    assert epoch.forward is not None
    saved_after = epoch.save_at // ACCUMULATION + 1
    assert saved_after % STEPS_PER_EPOCH != 0
    assert STEPS_PER_EPOCH < saved_after < epoch.forward / ACCUMULATION < steps
    assert accumulation.forward is not None
    assert accumulation.forward % ACCUMULATION != 0
    assert STEPS_PER_EPOCH * ACCUMULATION < accumulation.forward < steps * ACCUMULATION
    assert write.checkpoint is not None
    assert 1 < write.checkpoint <= steps // STEPS_PER_EPOCH


def test_a_comparison_finds_one_bit_a_sign_a_nan_a_shape_and_a_missing_tensor(tmp_path: Path) -> None:
    ours = {
        "same": np.float32([1, 2]), "bit": np.float32([1]), "zero": np.float32([0.0]), "nan": np.float32([1]),
        "shape": np.zeros(3, np.float32), "gone": np.zeros(1, np.float32),
    }  # fmt: skip
    theirs = ours | {
        "bit": np.nextafter(np.float32([1]), np.float32(2)), "zero": np.float32([-0.0]), "nan": np.float32([np.nan]),
        "shape": np.zeros(4, np.float32),
    }  # fmt: skip
    del theirs["gone"]
    for name, tensors in (("one", ours), ("other", theirs)):
        (tmp_path / name).mkdir()
        for file in FILES.values():
            save_file(tensors, tmp_path / name / file)
    found = compare(tmp_path / "one", tmp_path / "other")["moments"]
    assert found.differing == ("bit", "gone", "nan", "shape", "zero")
    assert (found.tensors, found.largest) == (6, np.inf)
    assert compare(tmp_path / "one", tmp_path / "one")["weights"].differing == ()


def test_two_runs_on_a_gpu_that_differ_a_little_are_told_with_the_difference_between_whole_ones() -> None:
    case = KilledRun(
        killed=KILLS[0], steps_done=7, resumed_at=6, left_half_written=(), order_is_same=True, tensors=524,
        differing=("weights a", "moments b"), largest_difference=3e-6,
    )  # fmt: skip
    said = verdict_lines(
        ResumeVerified(
            exact=False, largest_difference=3e-6, cases=(case,), between_two_whole_runs=2e-6, preset="base", steps=12,
            processes=1, device="cuda", took_s=31.4,
        )
    )  # fmt: skip
    assert said[1].endswith("2 of 524 tensors differ, by up to 3e-06")
    assert "largest difference is 3e-06, and 2e-06 between two runs that were not killed" in said[2]
    assert json.dumps(said)
