"""How a video is sampled is asked in one way of every verb, and what was taken is written beside the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.engine.small_checkpoint import save_small_checkpoint
from support.hosts.door import EndedHere, through_the_door

from t2v_core.data.video.decode import read_all_frames
from t2v_core.data.video.frames import write_video

PROMPT = "a red circle moving left"
GENERATE = {"prompt": PROMPT, "output": "out.mp4", "steps": 4, "device": "cpu", "seed": 7}
REFINE = {"input": "in.mp4", "output": "out.mp4", "prompt": PROMPT, "steps": 10, "device": "cpu"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A checkpoint of a model that predicts flow, and a grey video."""
    save_small_checkpoint(tmp_path)
    write_video(tmp_path / "in.mp4", np.full((8, 64, 64, 3), 90, np.uint8), fps=8)
    return tmp_path


def settings_of(ended: EndedHere) -> dict[str, Any]:
    assert ended.code == 0
    settings: dict[str, Any] = json.loads(Path(ended.done["settings"]).read_text())
    return settings


def video_of(ended: EndedHere) -> bytes:
    return Path(ended.done["video"]).read_bytes()


@pytest.mark.parametrize(("asked", "taken"), [({}, "euler"), ({"sampler": "dpm++"}, "dpm++")])
@pytest.mark.parametrize(("verb", "spec"), [("generate", GENERATE), ("refine", REFINE)])
def test_the_json_beside_a_video_names_the_sampler_that_made_it(
    workspace: Path, verb: str, spec: dict[str, Any], asked: dict[str, Any], taken: str
) -> None:
    first = through_the_door(workspace, verb, **spec | asked)
    settings = settings_of(first)
    assert settings["spec"]["sampler"] == taken
    again = through_the_door(workspace, verb, **settings["spec"] | {"output": "again.mp4"})
    assert settings_of(again)["spec"] == settings["spec"] | {"output": "again.mp4"}


@pytest.mark.parametrize("objective", ["epsilon", "v"])
def test_a_ddpm_models_video_names_ddim(tmp_path: Path, objective: str) -> None:
    save_small_checkpoint(tmp_path, objective=objective)
    ended = through_the_door(tmp_path, "generate", **GENERATE)
    assert settings_of(ended)["spec"]["sampler"] == "ddim"
    assert ended.of("stage")[1]["detail"] == "4 ddim steps, guidance 2, seed 7"


def test_another_sampler_or_rescale_makes_another_video(workspace: Path) -> None:
    videos = [
        video_of(
            through_the_door(workspace, "generate", **GENERATE | {"guidance_scale": 8, "output": f"{n}.mp4"} | more)
        )
        for n, more in enumerate(({}, {"sampler": "dpm++"}, {"guidance_rescale": 0.7}))
    ]
    assert len(set(videos)) == 3


@pytest.mark.parametrize(
    ("objective", "sampler", "hint"), [("flow", "ddim", "dpm++ or euler"), ("v", "euler", "ddim or dpm++")]
)
def test_a_sampler_that_does_not_fit_the_model_is_refused_in_one_sentence(
    tmp_path: Path, objective: str, sampler: str, hint: str
) -> None:
    save_small_checkpoint(tmp_path, objective=objective)
    ended = through_the_door(tmp_path, "generate", **GENERATE | {"sampler": sampler})
    assert ended.sentence == f"the sampler {sampler} does not fit this model, which predicts {objective}"
    assert hint in ended.error["hint"]
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(("values", "name"), [({"sampler": "heun"}, "sampler"), ({"guidance_rescale": 2}, "rescale")])
def test_a_value_that_cannot_be_is_named(workspace: Path, values: dict[str, Any], name: str) -> None:
    assert name in through_the_door(workspace, "generate", **GENERATE | values).sentence


def test_refine_with_dpm_solver_keeps_a_videos_length(workspace: Path) -> None:
    write_video(workspace / "in.mp4", np.full((21, 64, 64, 3), 90, np.uint8), fps=8)
    ended = through_the_door(workspace, "refine", **REFINE | {"sampler": "dpm++", "strength": 0.5})
    assert ended.of("progress")[-1]["total"] == 5
    assert len(read_all_frames(Path(ended.done["video"])).frames) == 21
