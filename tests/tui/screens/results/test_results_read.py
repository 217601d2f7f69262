"""What checkpoints, videos and data sets say of themselves, here and by the agent."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.engine.results_world import add_checkpoint, results
from support.engine.small_data_sets import add_data_set

from remote.hosts.host import LocalHost
from remote.jobs.client import HostJobs
from remote.replies.questions import REMOVE
from t2v_core.errors import EngineError
from t2v_core.workspace import Workspace
from t2v_tui.library.data_sets import data_sets_here, data_sets_there
from t2v_tui.library.local import checkpoints_here, scores_here, videos_here
from t2v_tui.library.on_host import checkpoints_there, described_there, videos_there
from t2v_tui.library.prompts import file_of, read_prompts, remember_prompt
from t2v_tui.library.views import (
    CheckpointPair,
    CheckpointView,
    both_places,
    checkpoint_asked,
    info_of_checkpoint,
    side_by_side,
)
from t2v_tui.screens.vid2vid import noise_in_words, output_for, path_in

# Reading


def test_what_the_agent_says_of_a_workspace_is_what_reading_it_says(tmp_path: Path) -> None:
    workspace = results(tmp_path)
    with HostJobs(LocalHost(workspace), workspace) as jobs:
        there, here = checkpoints_there(jobs), checkpoints_here(workspace)
        assert [(v.name, v.step, v.loss, v.files, v.is_complete) for v in there] == [
            (v.name, v.step, v.loss, v.files, v.is_complete) for v in here
        ]
        videos = {video.path: video for video in videos_there(jobs)}
        assert list(videos) == [video.path for video in videos_here(workspace)]
        refined = described_there(jobs, videos["outputs/refined.mp4"])
        assert (refined.prompt, refined.settings["strength"]) == ("a red square, sharper", 0.3)
        known = {view.name: view for view in there}
        (tmp_path / "checkpoints/checkpoint_epoch_15/trainer.json").unlink()
        again = {view.name: view for view in checkpoints_there(jobs, known)}
        assert again["checkpoint_epoch_10"] is known["checkpoint_epoch_10"]
        assert (again["checkpoint_epoch_15"].step, again["checkpoint_epoch_15"].is_complete) == (None, False)


def test_a_workspace_without_anything_is_no_error(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with HostJobs(LocalHost(workspace), workspace) as jobs:
        assert (checkpoints_there(jobs), videos_there(jobs)) == ((), ())
    assert (checkpoints_here(workspace), videos_here(workspace), scores_here(workspace)) == ((), (), {})


@pytest.mark.parametrize("said", [b"", b"[]", b'{"spec": 3, "step": "x", "held_out_loss": "nan"}', b"\xff"])
def test_a_broken_trainer_json_leaves_a_checkpoint_that_is_only_less_known(tmp_path: Path, said: bytes) -> None:
    folder = add_checkpoint(tmp_path, 5, loss=0.1)
    (folder / "trainer.json").write_bytes(said)
    (view,) = checkpoints_here(Workspace(tmp_path))
    assert (view.step, view.loss, view.is_complete) == (None, None, False)


def whole(name: str, *files: tuple[str, int]) -> CheckpointView:
    return info_of_checkpoint(CheckpointView(name, 1, files=files), {"step": 3})


def test_only_a_copy_with_the_same_files_is_another_copy() -> None:
    one, other = whole("a", ("model", 3)), whole("a", ("model", 4))
    assert CheckpointPair("a", one, None).is_only_copy(here=True)
    assert not CheckpointPair("a", one, one).is_only_copy(here=True)
    assert CheckpointPair("a", one, other).is_only_copy(here=True)
    torn = CheckpointView("a", 1, "no manifest.json", files=(("model", 3),))
    assert CheckpointPair("a", one, torn).is_only_copy(here=True)
    assert not CheckpointPair("a", one, torn).is_only_copy(here=False)


def test_videos_belong_to_the_checkpoint_that_made_them(tmp_path: Path) -> None:
    workspace = results(tmp_path)
    videos = videos_here(workspace)
    pairs = side_by_side(checkpoints_here(workspace), (), scores_here(workspace), videos)
    assert [(pair.name, len(pair.samples)) for pair in pairs] == [
        ("checkpoint_epoch_20", 0), ("checkpoint_epoch_15", 4), ("checkpoint_epoch_10", 1), ("checkpoint_epoch_5", 0),
    ]  # fmt: skip
    assert dict(pairs[1].scores) == {"all_obeyed_seen": 0.9312, "clip_generated": 0.2710}
    assert [video.is_there for video in both_places(videos[:1], videos)] == [True] * 5


def test_a_checkpoint_is_asked_for_as_every_workspace_has_it() -> None:
    assert checkpoint_asked("/far/away/checkpoints/checkpoint_epoch_5") == "checkpoints/checkpoint_epoch_5"
    assert checkpoint_asked("/site-packages/t2v_core/embedded/denoiser") == "embedded"
    assert checkpoint_asked("embedded") == "embedded"


# Removing


def test_the_agent_removes_results_and_nothing_else(tmp_path: Path) -> None:
    workspace = results(tmp_path / "work")
    outside = tmp_path / "outside"
    outside.mkdir()
    (workspace.root / "outputs" / "link").symlink_to(outside)
    (outside / "kept").write_text("kept")
    with HostJobs(LocalHost(workspace), workspace) as jobs:
        said = jobs.ask(REMOVE, paths=["checkpoints/checkpoint_epoch_5", "outputs/refined.mp4", "outputs/none.mp4"])
        assert said.removed == ("checkpoints/checkpoint_epoch_5", "outputs/refined.mp4")
        for path in ("t2v.toml", "checkpoints", "checkpoints/../data/x", "/etc/passwd", "outputs/link/kept", "~/x", ""):
            with pytest.raises(EngineError):
                jobs.ask(REMOVE, paths=[path])
        jobs.ask(REMOVE, paths=["outputs/link"])
    assert (outside / "kept").exists()
    assert not (workspace.root / "outputs" / "link").is_symlink()
    names = sorted(path.name for path in workspace.checkpoints.iterdir())
    assert names == ["checkpoint_epoch_10", "checkpoint_epoch_15", "checkpoint_epoch_20"]


# Data


def test_data_sets_are_told_with_what_is_missing(tmp_path: Path) -> None:
    prepared = add_data_set(tmp_path, "done")
    for kind in ("latents", "text_embeddings"):
        split = prepared / kind / "train"
        split.mkdir(parents=True)
        (split / "shard-00000.safetensors").write_bytes(bytes(100))
        (split / "manifest.json").write_text('{"clips": [{}, {}, {}]}')
    add_data_set(tmp_path, "empty", has_captions=False)
    add_data_set(tmp_path, "new", is_world=True)
    (tmp_path / "data" / "bare").mkdir()
    told = {one.name: (one.clips, one.needs, one.is_world) for one in data_sets_here(Workspace(tmp_path))}
    assert told == {
        "bare": (0, "no clips in videos/", False),
        "done": (3, "", False),
        "empty": (3, "no captions in annotations/", False),
        "new": (3, "not prepared: p does it", True),
    }
    (done,) = [one for one in data_sets_here(Workspace(tmp_path)) if one.name == "done"]
    assert [(part.split, part.clips, part.shards, part.size_bytes) for part in done.latents] == [("train", 3, 1, 100)]
    with HostJobs(LocalHost(Workspace(tmp_path)), Workspace(tmp_path)) as jobs:
        assert data_sets_there(jobs)[:2] == ("bare (empty)", "done (annotations, latents, text_embeddings, videos)")


@pytest.mark.parametrize(
    ("dropped", "path"),
    [
        ("/a/b.mp4", "/a/b.mp4"),
        ("'/a/b c.mp4' ", "/a/b c.mp4"),
        ("/a/b\\ c.mp4\n", "/a/b c.mp4"),
        ("file:///a/b%20c.mp4\nfile:///d.mp4", "/a/b c.mp4"),
        ("/a/b c.mp4", "/a/b c.mp4"),
        ("it's.mp4", "it's.mp4"),
    ],
)
def test_a_dropped_file_is_its_path_however_the_terminal_quotes_it(dropped: str, path: str) -> None:
    assert path_in(dropped) == path


def test_what_is_refined_twice_gets_another_name() -> None:
    known = {"outputs/a-refined.mp4", "outputs/a-refined-2.mp4"}
    assert output_for("outputs/a.mp4", known) == "outputs/a-refined-3.mp4"
    assert output_for("outputs/a-refined-2.mp4", set()) == "outputs/a-refined.mp4"


def test_strength_is_said_as_steps() -> None:
    assert noise_in_words("0.3", "50").startswith("about 15 of 50 steps  ██████░")
    assert noise_in_words("much", "50") == ""
    assert noise_in_words(7, 50).startswith("about 50 of 50 steps")


def test_prompts_are_kept_once_the_newest_first(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for prompt in ("one", "two", "one"):
        remember_prompt(workspace, prompt)
    assert read_prompts(workspace) == ["one", "two"]
    file_of(workspace).write_text("[1, {}]")
    assert read_prompts(workspace) == []
    file_of(workspace).write_text("no JSON")
    assert read_prompts(workspace) == []


def test_reading_results_loads_no_tensors() -> None:
    import subprocess

    program = (
        "import sys, json; from t2v_tui.registry import SCREENS, load; [load(entry) for entry in SCREENS];"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert loaded & {"torch", "numpy", "av", "PIL", "paramiko", "google", "diffusers"} == set()
