"""What a later t2v wrote is named as that, with the way to read it; it is never used, removed or written over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.engine.small_checkpoint import save_small_checkpoint
from support.engine.training_set import asked, contents, data_set
from support.hosts.door import EndedHere, through_the_door

from t2v_core.data.store.shards import Shard, write_shard
from t2v_core.diagnosis.check import State
from t2v_core.diagnosis.checkpoints import examine_checkpoints
from t2v_core.disk.files import MANIFEST, seal, write_json
from t2v_core.disk.formats import CHECKPOINT_FORMAT, SHARD_FORMAT

LATER = CHECKPOINT_FORMAT + 98
QUICK = {"prompt": "a red circle", "steps": 1, "device": "cpu"}


def edit(path: Path, **changes: Any) -> None:
    """Change what a checkpoint's trainer.json says, and make its manifest fit."""
    file = path / "trainer.json"
    write_json(file, json.loads(file.read_text()) | changes)
    (path / MANIFEST).unlink()
    seal(path, {})


def refused(ended: EndedHere) -> str:
    assert "pip install --upgrade 't2v[engine]'" in ended.error["hint"]
    return ended.sentence


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A workspace with a run of two checkpoints."""
    assert through_the_door(tmp_path, "train", **asked(max_steps=2, keep_last=9, lr_schedule="constant")).code == 0
    values: dict[str, Any] = {"max_steps": 3, "resume": True}
    assert through_the_door(tmp_path, "train", **values).code == 0
    return tmp_path


@pytest.mark.parametrize("found", [LATER, CHECKPOINT_FORMAT + 1, "2.0", {"major": 2}])
@pytest.mark.parametrize("asks_by_name", [True, False])
def test_a_checkpoint_of_a_later_format_is_not_generated_from(
    found: object, asks_by_name: bool, tmp_path: Path
) -> None:
    path = save_small_checkpoint(tmp_path).path
    edit(path, format=found)
    named = {"checkpoint": str(path)} if asks_by_name else {}
    assert f"checkpoint {path} was made by a later t2v (format " in refused(
        through_the_door(tmp_path, "generate", **QUICK, **named)
    )
    assert not list(tmp_path.rglob("*.mp4"))


def test_one_that_says_no_format_is_of_the_first(tmp_path: Path) -> None:
    path = save_small_checkpoint(tmp_path).path
    values = json.loads((path / "trainer.json").read_text())
    del values["format"]
    write_json(path / "trainer.json", values)
    (path / MANIFEST).unlink()
    seal(path, {})
    assert through_the_door(tmp_path, "generate", **QUICK).code == 0


@pytest.mark.parametrize("which", [0, -1])
def test_a_folder_that_a_later_t2v_trained_in_is_neither_resumed_nor_written_over(which: int, trained: Path) -> None:
    edit(sorted((trained / "checkpoints").iterdir())[which], format=LATER)
    before = contents(trained / "checkpoints")
    assert "was made by a later t2v" in refused(through_the_door(trained, "train", resume=True, max_steps=5))
    assert "was made by a later t2v" in refused(through_the_door(trained, "train", **asked(max_steps=5)))
    assert contents(trained / "checkpoints") == before


def test_a_run_with_a_setting_that_is_not_known_here_is_not_gone_on_with(trained: Path) -> None:
    newest = sorted((trained / "checkpoints").iterdir())[-1]
    spec = json.loads((newest / "trainer.json").read_text())["spec"]
    for changes in ({"new_thing": 5}, {"objective": "score"}, {"preset": "large"}, {"epochs": -1}):
        edit(newest, spec=spec | changes)
        sentence = refused(through_the_door(trained, "train", resume=True, max_steps=5))
        assert f"{newest / 'trainer.json'} belongs to a run that this t2v does not know" in sentence
        assert next(iter(changes)) in sentence


def test_a_sampler_or_a_denoiser_that_is_not_known_here_is_named(tmp_path: Path) -> None:
    path = save_small_checkpoint(tmp_path).path
    edit(path, sampler={"class": "RectifiedSampler"})
    assert "a sampler that this t2v does not have: RectifiedSampler" in refused(
        through_the_door(tmp_path, "generate", **QUICK)
    )


def test_the_doctor_says_update_and_not_remove(tmp_path: Path) -> None:
    path = save_small_checkpoint(tmp_path).path
    edit(path, format=LATER, step="many")
    (check,) = examine_checkpoints(path.parent, checksums=True)
    assert check.state is State.BAD
    assert "it was made by a later t2v (format 99; this one reads up to 1)" in check.sentence
    assert check.mend.endswith("-m pip install --upgrade 't2v[engine]'")


@pytest.fixture
def later_store(tmp_path: Path) -> Path:
    """A workspace whose data set a later t2v preprocessed."""
    shutil.copytree(data_set(), tmp_path / "data")
    for folder in (tmp_path / "data/latents/train", tmp_path / "data/text_embeddings/train"):
        for file in folder.glob("*.safetensors"):
            shard = Shard(file)
            metadata = shard.metadata
            metadata["settings"]["version"] = SHARD_FORMAT + 1
            write_shard(file, {name: shard.read(name) for name in _names(file)}, metadata)
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["settings"]["version"] = SHARD_FORMAT + 1
        (folder / MANIFEST).unlink()
        seal(folder, {})
        write_json(folder / MANIFEST, manifest | json.loads((folder / MANIFEST).read_text()))
    return tmp_path


def _names(file: Path) -> list[str]:
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    return [name for name in header if name != "__metadata__"]


def test_latents_of_a_later_format_are_not_trained_on(later_store: Path) -> None:
    assert "data/latents/train was made by a later t2v (format 2" in refused(
        through_the_door(later_store, "train", **asked(data="data", max_steps=1))
    )


def test_preprocessing_leaves_them_as_they_are(later_store: Path) -> None:
    before = contents(later_store / "data/latents") | contents(later_store / "data/text_embeddings")
    root = data_set().parent
    values = {"data": "data", "vae": str(root / "vae"), "text_encoder": str(root / "clip"), "frames": 4, "size": 32}
    ended = through_the_door(later_store, "preprocess", **values, device="cpu")
    assert "was made by a later t2v" in refused(ended)
    assert contents(later_store / "data/latents") | contents(later_store / "data/text_embeddings") == before


def test_a_job_that_a_later_t2v_asked_for_says_what_is_not_known_and_what_to_do(tmp_path: Path) -> None:
    ended = through_the_door(tmp_path, "generate", prompt="a", holographic=True)
    assert ended.sentence == "there is no setting 'holographic' here"
    assert "if a later t2v wrote it" in ended.error["hint"]
