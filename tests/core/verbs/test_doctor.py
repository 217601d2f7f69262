"""`t2v doctor`: what it says of a workspace, and that the lines it offers really mend it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from support.engine.small_checkpoint import save_small_checkpoint
from support.engine.training_set import contents, data_set
from support.hosts.door import through_the_door

from t2v_core import embedded
from t2v_core.data.annotations.msrvtt import Clip
from t2v_core.data.quarantine import Quarantine
from t2v_core.diagnosis.check import Check, State
from t2v_core.diagnosis.checkpoints import examine_checkpoints, examine_leftovers, newest_bytes
from t2v_core.diagnosis.dataset import examine_dataset
from t2v_core.diagnosis.engine import examine_encoders, examine_engine
from t2v_core.diagnosis.machine import engine_is_complete, examine_machine, examine_packages, requirements
from t2v_core.diagnosis.settings import examine_disk, examine_settings, examine_workspace
from t2v_core.specs import PreprocessSpec
from t2v_core.workspace import Dataset, Workspace
from t2v_tui.cli.main import main

TIMEOUT_S = 120
# A process id that no process has: beyond the largest that Linux gives.
NOBODY = 4_194_305


def states(checks: Iterable[Check]) -> list[State]:
    return [check.state for check in checks]


def only(checks: Iterable[Check]) -> Check:
    (check,) = checks
    return check


def type_in(line: str, folder: Path) -> None:
    """As a person would, in a shell."""
    subprocess.run(["sh", "-c", line], cwd=folder, check=True, timeout=TIMEOUT_S, capture_output=True)


@pytest.mark.parametrize(
    "text",
    [
        "seed = 1\nepoch = 3\n", "[train]\nbatch-size = 3\n", "[tran]\nepochs = 3\n", "[train]\nepochs = 0\n",
        "xyzzy = 1\n", 'device = cuda\n', "[preprocess]\nfps = 3\n[train]\nepochs = 2\n",
    ],
)  # fmt: skip
def test_the_line_under_a_wrong_setting_mends_it(text: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.settings_file.write_text(text)
    wrong = list(examine_settings(workspace, {}))
    assert set(states(wrong)) == {State.BAD}
    for check in wrong:
        type_in(check.mend, tmp_path)
    assert states(examine_settings(workspace, {})) == [State.GOOD]
    assert (tmp_path / "t2v.toml.bak").read_text() == text


def test_a_wrong_variable_is_to_be_forgotten(tmp_path: Path) -> None:
    Workspace(tmp_path).settings_file.touch()
    assert only(examine_settings(Workspace(tmp_path), {"T2V_EPOCH": "3"})).mend == "unset T2V_EPOCH"


def test_a_missing_settings_file_is_made_by_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(tmp_path)
    check = only(examine_settings(workspace, {}))
    assert check.state is State.ODD
    assert main(check.mend.split()[1:]) == 0
    capsys.readouterr()
    assert states(examine_settings(workspace, {})) == [State.GOOD]


def test_leftovers_of_ended_processes_are_removed_by_the_line_and_others_stay(tmp_path: Path) -> None:
    for pid in (NOBODY, os.getpid()):
        (tmp_path / f".partial-{pid}-checkpoint_epoch_1").mkdir()
        (tmp_path / f".partial-{pid}-checkpoint_epoch_1/model.safetensors").write_bytes(bytes(10))
    check = only(examine_leftovers([tmp_path]))
    assert "1 unfinished file" in check.sentence
    type_in(check.mend, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f".partial-{os.getpid()}-checkpoint_epoch_1"]
    assert states(examine_leftovers([tmp_path])) == [State.GOOD]


def test_a_folder_that_had_stepped_aside_comes_back_by_the_line(tmp_path: Path) -> None:
    aside = tmp_path / f".partial-{NOBODY}-old-checkpoint_epoch_2"
    aside.mkdir()
    (aside / "model.safetensors").write_bytes(b"the only copy")
    type_in(only(examine_leftovers([tmp_path])).mend, tmp_path)
    assert (tmp_path / "checkpoint_epoch_2/model.safetensors").read_bytes() == b"the only copy"


def test_a_torn_checkpoint_is_named_and_removed_by_the_line(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    save_small_checkpoint(tmp_path, step=4)
    torn = save_small_checkpoint(tmp_path, step=8).path
    assert states(examine_checkpoints(folder, checksums=False)) == [State.GOOD]
    os.truncate(torn / "model.safetensors", 1000)
    whole, broken = examine_checkpoints(folder, checksums=False)
    assert "the newest checkpoint_step_4" in whole.sentence
    assert (broken.state, "model.safetensors has 1000 bytes" in broken.sentence) == (State.ODD, True)
    type_in(broken.mend, tmp_path)
    assert states(examine_checkpoints(folder, checksums=False)) == [State.GOOD]
    assert newest_bytes(folder) > 10_000


def test_a_flipped_byte_is_found_when_every_byte_is_read(tmp_path: Path) -> None:
    path = save_small_checkpoint(tmp_path, step=4).path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert states(examine_checkpoints(path.parents[1], checksums=False)) == [State.GOOD]
    check = only(examine_checkpoints(path.parents[1], checksums=True))
    assert check.state is State.BAD
    assert "does not match its checksum" in check.sentence


def test_a_checkpoint_whose_header_is_not_one_cannot_be_used(tmp_path: Path) -> None:
    path = save_small_checkpoint(tmp_path, step=4).path
    weights = path / "model.safetensors"
    weights.write_bytes(bytes(weights.stat().st_size))
    check = only(examine_checkpoints(path.parent, checksums=False))
    assert "has no header" in check.sentence


def test_no_checkpoints_are_no_fault(tmp_path: Path) -> None:
    assert states(examine_checkpoints(tmp_path / "checkpoints", checksums=False)) == [State.GOOD]


def copied_set(root: Path) -> Dataset:
    shutil.copytree(data_set(), root / "data")
    return Dataset(root / "data")


def test_a_preprocessed_set_is_good_and_what_is_wrong_with_it_is_said(tmp_path: Path) -> None:
    dataset = copied_set(tmp_path)

    def look(**asked: Any) -> list[Check]:
        return list(examine_dataset(dataset, PreprocessSpec(**asked), "t2v preprocess", checksums=False))

    assert states(look()) == [State.GOOD, State.GOOD]
    assert [check.sentence for check in look()][1] == "24 training clips, 4×4×4×4 each"
    assert "the settings ask for frames 8 instead" in look(frames=8)[-1].sentence
    clip = Clip("video3", dataset.videos / "video3.mp4", ["a"])
    Quarantine(dataset.quarantine).add(clip, "truncated", "ends early")
    assert ("quarantine", State.ODD) in [(check.name, check.state) for check in look()]
    next(dataset.latents.glob("train/shard-*")).unlink()
    torn = [check for check in look() if check.state is State.BAD]
    assert [(check.name, check.mend) for check in torn] == [("latents", "t2v preprocess")]
    shutil.rmtree(dataset.videos)
    assert look()[0].state is State.BAD


def test_a_set_that_is_not_there_can_be_made_when_it_is_the_built_in_world(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path / "data/shapes")
    line = "t2v preprocess --data data/shapes"
    own = only(examine_dataset(dataset, PreprocessSpec(vae="embedded"), line, checksums=False))
    assert own.mend == "t2v data shapes --data data/shapes"
    real = only(examine_dataset(dataset, PreprocessSpec(), line, checksums=False))
    type_in(real.mend, tmp_path)
    assert dataset.videos.is_dir()


def test_encoders_are_compared_with_what_the_data_was_made_with(tmp_path: Path) -> None:
    dataset = copied_set(tmp_path)
    manifest = json.loads((dataset.latents / "train/manifest.json").read_text())
    same = {"source": "vae", "sha256": manifest["encoder"]["sha256"]}
    found = {"encoders": {"VAE": same, "text encoder": {"source": "other", "sha256": "0" * 64}}}
    vae, text = examine_encoders(found, dataset, "t2v preprocess")
    assert (vae.state, text.state) == (State.GOOD, State.ODD)
    assert "other files" in text.sentence
    absent = {"encoders": {what: {"source": "a/b", "wrong": "", "hint": ""} for what in ("VAE", "text encoder")}}
    assert states(examine_encoders(absent, dataset, "t2v preprocess")) == [State.BAD, State.BAD]


@pytest.mark.parametrize(
    ("found", "preset", "state"),
    [
        ({"device": "cpu"}, "tiny", State.GOOD),
        ({"device": "cpu"}, "base", State.ODD),
        ({"device": "cuda", "name": "L4", "memory_bytes": 24e9, "has_bf16": True}, "base", State.GOOD),
        ({"device": "cuda", "name": "T4", "memory_bytes": 16e9, "has_bf16": False}, "base", State.ODD),
    ],
)
def test_an_accelerator_is_judged_by_what_is_to_be_trained(
    found: dict[str, Any], preset: str, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("t2v_core.diagnosis.engine.NVIDIA_DRIVER", Path("/nowhere"))
    monkeypatch.setattr("shutil.which", lambda _name: None)
    torch, accelerator = examine_engine({"torch": "2.13.0", "cuda_build": None} | found, preset, "t2v estimate")
    assert (torch.state, accelerator.state) == (State.GOOD, state)


def test_a_driver_that_torch_cannot_use_is_bad(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("t2v_core.diagnosis.engine.NVIDIA_DRIVER", tmp_path)
    found = {"torch": "2.13.0+cpu", "cuda_build": None, "device": "cpu"}
    assert states(examine_engine(found, "tiny", "")) == [State.GOOD, State.BAD]
    assert states(examine_engine({"wrong": "torch cannot be used: ImportError: libx"}, "tiny", "")) == [State.BAD]


def test_the_disk_must_hold_the_next_checkpoint(tmp_path: Path) -> None:
    assert examine_disk(Workspace(tmp_path), 0, {}).state is not State.BAD
    full = examine_disk(Workspace(tmp_path), 10**18, {"latents": tmp_path})
    assert full.state is State.BAD
    type_in(full.mend, tmp_path)


def test_a_workspace_that_cannot_be_written_to_is_bad(tmp_path: Path) -> None:
    assert states(examine_workspace(Workspace(tmp_path))) == [State.GOOD]
    assert list(tmp_path.iterdir()) == []
    assert states(examine_workspace(Workspace(Path("/proc/self")))) == [State.BAD]


def test_this_environment_has_what_it_requires() -> None:
    assert engine_is_complete()
    assert ("torch", "2.6") in requirements("engine")
    assert "pydantic" in dict(requirements(""))
    assert State.BAD not in states([*examine_machine(), *examine_packages()])


def test_the_whole_of_it_through_the_door(tmp_path: Path) -> None:
    """With the real torch and the real encoders that are shipped; nothing changes."""
    settings = f'data = "{data_set()}"\nvae = "embedded"\ntext_encoder = "embedded"\n[train]\npreset = "tiny"\n'
    (tmp_path / "t2v.toml").write_text(settings)
    before = contents(data_set())
    done = through_the_door(tmp_path, "doctor", checksums=True).done
    found = {check["name"]: (check["state"], check["sentence"]) for check in done["checks"]}
    assert found["torch"][0] == "good"
    # The set was made with other encoders than the shipped ones.
    assert found["vae"] == (
        "odd",
        f"embedded is here, and the data was made with other files ({data_set().parent}/vae)",
    )
    assert found["latents"][0] == "good"
    assert done["healthy"] == (State.BAD not in [state for state, _ in found.values()])
    assert contents(data_set()) == before
    assert embedded.VAE.is_dir()


def test_run_from_a_folder_it_knows_as_well_what_t2v_requires(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {extra: requirements(extra) for extra in ("", "engine")}

    def not_installed(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", not_installed)
    assert {extra: requirements(extra) for extra in installed} == installed != {"": [], "engine": []}
