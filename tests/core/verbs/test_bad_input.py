"""What people get wrong, through the command line they type: one sentence, the right exit code, nothing made is lost.

Proved elsewhere: unknown commands, flags and presets, strength outside 0 … 1, a missing input (test_cli); every form of
a wrong t2v.toml (test_settings); broken clips and annotation files, captions without clips and clips without captions
(test_preprocess, test_annotations).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.engine.engine import job_here
from support.engine.forked_command import ran
from support.engine.training_set import asked, contents, data_set
from support.engine.warm_engine import run_warm
from support.machines.small_disk import mounted

from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.specs import ShapesSpec
from t2v_core.workspace import Dataset


def t2v(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("T2V_")}
    environment = kept | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(cwd / "no-cache")}
    return ran(arguments, cwd, environment)


def refusal(answer: subprocess.CompletedProcess[str], code: int) -> str:
    """The sentence; checks that it is one, with a hint, and that stdout and the rest of stderr are clean."""
    lines = answer.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert answer.returncode == code, answer.stderr
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr
    assert len(errors) == 1, answer.stderr
    assert any(line.startswith("hint:  ") for line in lines), answer.stderr
    return errors[0].removeprefix("error: ")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with clips, nothing preprocessed."""
    root = tmp_path_factory.mktemp("raw")
    make_set(ShapesSpec(data=Path("data"), clips=4, test_clips=2, frames=4, size=32), job_here(root))
    return root


@pytest.fixture
def workspace(raw: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(raw, tmp_path / "workspace"))


def test_preprocessing_a_folder_that_is_not_there(tmp_path: Path) -> None:
    said = refusal(t2v("preprocess", "--data", "nowhere", cwd=tmp_path), 2)
    assert said == f"there is no data set at {tmp_path / 'nowhere'}"


def test_preprocessing_with_an_empty_annotation_file_keeps_what_was_made(workspace: Path) -> None:
    shutil.copytree(data_set() / "latents", workspace / "data/latents")
    (workspace / "data/annotations/train_9k.json").write_text("")
    before = contents(workspace / "data/latents")
    said = refusal(t2v("preprocess", "--data", "data", cwd=workspace), 2)
    assert said.endswith("train_9k.json is empty")
    assert contents(workspace / "data/latents") == before


def test_a_hub_model_that_is_not_cached_without_a_network(workspace: Path) -> None:
    ended = run_warm(workspace, "preprocess", data="data", vae="someone/vae")
    assert (ended.code, ended.error["message"]) == (
        2, "the VAE someone/vae is not on this machine and cannot be fetched (the hub cannot be reached)",
    )  # fmt: skip
    assert "'embedded'" in ended.error["hint"]
    assert not Dataset(workspace / "data").latents.exists()


def test_training_on_clips_that_are_not_preprocessed(raw: Path) -> None:
    answer = t2v("train", "--data", "data", cwd=raw)
    assert "is not preprocessed yet" in refusal(answer, 2)
    assert "hint:  t2v preprocess" in answer.stderr
    assert not (raw / "checkpoints").exists()


def test_resuming_where_there_is_no_checkpoint(tmp_path: Path) -> None:
    answer = t2v("train", "--resume", cwd=tmp_path)
    assert refusal(answer, 2) == "there is no complete checkpoint in checkpoints"
    assert "t2v train" in answer.stderr


def test_generating_to_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    said = refusal(t2v("generate", "a red circle", "-o", "file/video.mp4", cwd=tmp_path), 2)
    assert said.startswith(f"cannot write {tmp_path / 'file'}")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("arguments", [("preprocess", "--data", "data"), ("train",), ("generate", "x")])
def test_a_wrong_t2v_toml_stops_every_verb_before_it_starts(arguments: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "t2v.toml"
    file.write_text("[train]\nepocs = 3\n")
    unknown = t2v(*arguments, cwd=tmp_path)
    assert refusal(unknown, 2) == f"{file} line 2: [train] has no setting 'epocs'"
    assert "did you mean 'epochs'?" in unknown.stderr
    file.write_text('device = "cpu"\n\nseed = = 3\n')
    broken = t2v(*arguments, cwd=tmp_path)
    assert (broken.returncode, broken.stdout) == (2, "")
    assert broken.stderr.startswith(f"error: {file} line 3: not valid TOML")
    assert list(tmp_path.iterdir()) == [file]


def test_a_disk_without_room_for_the_checkpoint(tmp_path: Path) -> None:
    """A file system of 4 MB under `checkpoints`, through the command line."""
    values = {"preset": "tiny", "data": str(data_set()), "max-steps": "1", "samples": "0", "device": "cpu"}
    flags = [part for name, value in values.items() for part in (f"--{name}", value)]
    with mounted(tmp_path / "checkpoints", "4m") as place:
        said = refusal(t2v("train", *flags, cwd=tmp_path), 1)
        left = list(place.iterdir())
    assert said.startswith("checkpoint checkpoint_epoch_1 needs ")
    assert left == []
    assert json.loads(next(tmp_path.glob("jobs/*/exit.json")).read_text())["code"] == 1


BAD_TRAINING = {
    "data that are not there": ({"data": "odd"}, 2, "is not preprocessed yet"),
    "a device that is not there": ({"device": "cuda:7"}, 2, "there is no device 'cuda:7' here"),
    "a seed model over time": ({"preset": "seed", "attention": "temporal"}, 2, "no attention over time"),
    "a checkpoint folder that is a file": ({"checkpoints": "file/checkpoints"}, 2, "cannot write"),
    "no epochs": ({"epochs": 0}, 2, "epochs = 0"),
}


@pytest.mark.parametrize("name", BAD_TRAINING)
def test_a_training_that_cannot_be_is_refused_with_a_sentence_and_a_hint(name: str, tmp_path: Path) -> None:
    values, code, sentence = BAD_TRAINING[name]
    (tmp_path / "file").write_text("mine")
    ended = run_warm(tmp_path, "train", **asked(max_steps=1, **values))
    assert (ended.code, sentence in ended.error["message"]) == (code, True), ended.error
    assert ended.error["hint"]
    assert "\n" not in ended.error["message"]
