"""An interrupted training goes on as if nothing had happened, however it ended; and never as another run."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support.engine.engine import events_of, job_here
from support.engine.engine import start as start_at_the_door
from support.engine.training_set import STEPS_AN_EPOCH, asked, contents, data_set, differing
from support.engine.warm_engine import Child, begin, run_warm
from support.warm.python import warm

from t2v_core.checkpoints.checkpoints import latest_checkpoint
from t2v_core.errors import InvalidRequest, Stopped
from t2v_core.specs import TrainSpec
from t2v_core.training.resume import TRAJECTORY, restore
from t2v_core.verbs.train import train

EPOCHS = 6
LAST = f"checkpoints/checkpoint_epoch_{EPOCHS}"
OTHERWISE: dict[str, Any] = {
    "preset": "base", "objective": "v", "attention": "frame", "batch_size": 3, "gradient_accumulation": 2,
    "optimizer": "muon", "contrast": 0.05, "learning_rate": 1e-5, "weight_decay": 0.5, "adam_beta2": 0.9,
    "lr_schedule": "constant", "warmup_steps": 3,
    "max_grad_norm": 0.5, "ema_decay": 0.9, "caption_dropout": 0.5, "held_out_clips": 1,
    "distill_guidance": 3.0, "timestep_logit_mean": 1.0, "min_snr_gamma": 5.0, "zero_terminal_snr": True, "seed": 1,
    "layer_sync": 0.2, "token_route": 0.5, "power_averages": True, "captions_per_clip": 1,
    "lora": True, "lora_rank": 4, "lora_alpha": 8.0, "lora_targets": "all", "lora_dropout": 0.1, "quantize": "nf4",
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose training was never interrupted."""
    root = tmp_path_factory.mktemp("whole")
    ended = run_warm(root, "train", **asked(epochs=EPOCHS))
    assert ended.code == 0
    return root


@pytest.fixture
def trained(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to go on from."""
    shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints")
    return tmp_path


def chance() -> random.Random:
    seed = time.time_ns() % 10**6
    print("seed", seed)
    return random.Random(seed)


def is_checkpoint(event: dict[str, Any]) -> bool:
    return event["kind"] == "checkpoint"


def kill_after_a_checkpoint(child: Child, delay_s: float) -> None:
    child.wait_for(is_checkpoint)
    child.process.join(delay_s)
    child.signal(signal.SIGKILL)
    assert child.end().code == -signal.SIGKILL


def test_a_killed_run_resumes_bit_for_bit_with_the_command_that_people_type(whole: Path, tmp_path: Path) -> None:
    """`python -m t2v_core train`, kill -9 between two checkpoints, `t2v train --resume` and nothing else."""
    process, directory = start_at_the_door(tmp_path, "train", **asked(epochs=EPOCHS))
    middle = EPOCHS // 2 * STEPS_AN_EPOCH
    while not any(event.get("step") == middle + 1 for event in events_of(directory)):
        assert process.poll() is None, (directory / "log").read_text()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    assert not (tmp_path / LAST).exists()

    environment = {name: value for name, value in os.environ.items() if not name.startswith("T2V_")}
    resumed = subprocess.run(
        [warm(), "-m", "t2v_tui.cli.main", "train", "--resume"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert (resumed.returncode, resumed.stdout) == (0, f"{LAST}\n"), resumed.stderr
    assert differing(tmp_path / LAST, whole / LAST) == []


def test_killed_again_and_again_at_random_moments_it_ends_up_the_same(whole: Path, tmp_path: Path) -> None:
    dice = chance()
    kill_after_a_checkpoint(begin(tmp_path, "train", **asked(epochs=EPOCHS)), dice.uniform(0, 0.2))
    for _ in range(2):
        child = begin(tmp_path, "train", resume=True)
        child.wait_for(lambda event: event["kind"] == "step")
        child.process.join(dice.uniform(0, 0.1))
        child.signal(signal.SIGKILL)
        child.end()
    assert run_warm(tmp_path, "train", resume=True).code == 0
    assert differing(tmp_path / LAST, whole / LAST) == []
    assert list((tmp_path / "checkpoints").glob(".partial-*")) == []  # what the kills left is cleared away


def test_ctrl_c_within_an_epoch_saves_says_how_to_go_on_and_loses_nothing(whole: Path, tmp_path: Path) -> None:
    child = begin(tmp_path, "train", **asked(epochs=EPOCHS))
    child.wait_for(lambda event: event.get("step") == STEPS_AN_EPOCH + 1)
    child.signal(signal.SIGINT)
    ended = child.end()

    step = ended.of("step")[-1]["step"]
    assert step % STEPS_AN_EPOCH, "the machine was too slow to stop within the epoch"
    assert ended.code == 130
    assert ended.error["message"] == (
        f"interrupted after step {step} of {EPOCHS * STEPS_AN_EPOCH}; saved checkpoints/checkpoint_step_{step}"
    )
    assert "t2v train --resume" in ended.error["hint"]
    assert ended.of("checkpoint")[-1]["reason"] == "stopped"
    saved = latest_checkpoint(tmp_path / "checkpoints")
    assert saved is not None
    assert (saved.path.name, saved.held_out_loss) == (f"checkpoint_step_{step}", None)

    resumed = run_warm(tmp_path, "train", resume=True)
    assert (resumed.code, resumed.of("step")[0]["step"]) == (0, step + 1)
    assert differing(tmp_path / LAST, whole / LAST) == []


@pytest.mark.parametrize("how", ["SIGTERM", "a stop file"])
def test_a_request_to_stop_saves_and_ends_with_code_4(how: str, tmp_path: Path) -> None:
    child = begin(tmp_path, "train", **asked(epochs=EPOCHS))
    child.wait_for(lambda event: event["kind"] == "step")
    child.signal(signal.SIGTERM) if how == "SIGTERM" else (child.directory / "stop").touch()
    ended = child.end()
    step = ended.of("step")[-1]["step"]
    saved = latest_checkpoint(tmp_path / "checkpoints")
    assert ended.code == 4
    assert saved is not None
    assert saved.step == step
    assert ended.error["message"].startswith("stopped ")
    assert ended.error["hint"] == "continue with: t2v train --resume"


def test_a_stop_before_the_first_step_leaves_no_checkpoint_and_says_so(tmp_path: Path) -> None:
    job = job_here(tmp_path)
    (job.directory / "stop").touch()
    with pytest.raises(Stopped, match="before the first step"):
        train(TrainSpec.model_validate(asked()), job)
    assert latest_checkpoint(tmp_path / "checkpoints") is None


def test_a_stop_right_after_resuming_does_not_write_the_checkpoint_again(trained: Path) -> None:
    before = contents(trained / "checkpoints")
    job = job_here(trained)
    (job.directory / "stop").touch()
    with pytest.raises(Stopped):
        train(TrainSpec.model_validate({"resume": True, "epochs": EPOCHS + 1}), job)
    assert contents(trained / "checkpoints") == before


def test_more_epochs_go_on_as_if_they_had_been_asked_for_at_first(tmp_path: Path) -> None:
    constant = asked(lr_schedule="constant", epochs=2)
    assert run_warm(tmp_path, "train", **constant).code == 0
    longer = run_warm(tmp_path, "train", resume=True, epochs=3)
    assert run_warm(tmp_path, "train", **(constant | {"epochs": 3, "checkpoints": "at-once"})).code == 0
    assert longer.code == 0
    assert differing(tmp_path / "checkpoints/checkpoint_epoch_3", tmp_path / "at-once/checkpoint_epoch_3") == []


def test_a_schedule_that_is_stretched_by_more_epochs_is_a_warning(trained: Path) -> None:
    job = job_here(trained)
    restore(TrainSpec.model_validate({"resume": True, "epochs": 2 * EPOCHS}), job)
    (warning,) = [event["message"] for event in events_of(job.directory) if event["kind"] == "warning"]
    assert "one-cycle" in warning
    assert f"{2 * EPOCHS * STEPS_AN_EPOCH} steps" in warning


def test_a_finished_run_says_so_and_keeps_its_checkpoint_as_it_is(trained: Path) -> None:
    before = contents(trained / "checkpoints")
    for values in ({}, {"epochs": 2}):
        ended = run_warm(trained, "train", resume=True, **values)
        assert ended.code == 0
        assert ended.done["checkpoint"] == str(trained / LAST)
        assert "finished already" in ended.warnings
        assert "--epochs" in ended.of("warning")[0]["hint"]
    assert contents(trained / "checkpoints") == before


@pytest.mark.parametrize("setting", TRAJECTORY)
def test_another_run_under_the_name_of_this_one_is_refused_with_the_difference(setting: str, trained: Path) -> None:
    asked_for = TrainSpec.model_validate({"resume": True, setting: OTHERWISE[setting]})
    with pytest.raises(InvalidRequest) as caught:
        restore(asked_for, job_here(trained))
    assert f"{setting} was " in caught.value.message
    assert f"now {OTHERWISE[setting]}" in caught.value.message
    assert "--checkpoints" in caught.value.hint


def test_a_refusal_names_all_differences_in_one_sentence_ends_with_2_and_touches_nothing(trained: Path) -> None:
    before = contents(trained / "checkpoints")
    child = begin(trained, "train", resume=True, seed=5, batch_size=7)
    ended = child.end()
    assert ended.code == 2
    assert ended.error["message"] == (
        f"checkpoint_epoch_{EPOCHS} belongs to another run: batch_size was 2, now 7; seed was 0, now 5"
    )
    assert child.log.splitlines() == [ended.error["message"]]
    assert contents(trained / "checkpoints") == before


def test_settings_that_do_not_steer_the_run_may_change(trained: Path) -> None:
    run = restore(TrainSpec.model_validate({"resume": True, "checkpoint_every": 3, "keep_last": 9}), job_here(trained))
    assert (run.spec.checkpoint_every, run.spec.keep_last, run.spec.batch_size) == (3, 9, 2)


def test_resuming_on_changed_data_is_refused(trained: Path) -> None:
    changed = Path(shutil.copytree(data_set(), trained / "data"))
    manifest = changed / "latents/train/manifest.json"
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(values | {"clips": values["clips"][1:]}))
    asked_for = TrainSpec.model_validate({"resume": True, "data": str(changed)})
    with pytest.raises(InvalidRequest, match=r"the clips of .* changed since checkpoint_epoch_"):
        restore(asked_for, job_here(trained))
    manifest.write_text(json.dumps(values | {"settings": values["settings"] | {"vae": "another"}}))
    with pytest.raises(InvalidRequest, match=r"the latents of .* changed since"):
        restore(asked_for, job_here(trained))


def test_a_fresh_start_where_a_run_lies_is_refused_and_nothing_is_lost(trained: Path) -> None:
    before = contents(trained / "checkpoints")
    ended = run_warm(trained, "train", **asked())
    assert ended.code == 2
    assert ended.error["message"] == f"checkpoints already holds a run, at step {EPOCHS * STEPS_AN_EPOCH}"
    assert "--resume" in ended.error["hint"]
    assert contents(trained / "checkpoints") == before
