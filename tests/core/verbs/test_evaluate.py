"""Scores that mean something: stamped, between a ceiling and a floor, seen and unseen apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.engine import job_here
from support.engine.small_checkpoint import save_small_checkpoint
from support.hosts.door import EndedHere, through_the_door

from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.specs import ShapesSpec

EVALUATE = {"data": "data/shapes", "prompts": 12, "seeds": 2, "steps": 1, "device": "cpu"}
SCALES = {"value", "clipscore_2.5x", "torchmetrics_100x"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve test clips, half of them of combinations kept out of training, and an untrained model."""
    root = tmp_path_factory.mktemp("evaluate")
    make_set(ShapesSpec(clips=2, test_clips=12), job_here(root))
    save_small_checkpoint(root)
    return root


@pytest.fixture(scope="module")
def ended(workspace: Path) -> EndedHere:
    return evaluate(workspace)


def evaluate(workspace: Path, **values: Any) -> EndedHere:
    return through_the_door(workspace, "evaluate", **EVALUATE | values)


def scores_of(ended: EndedHere) -> dict[str, dict[str, Any]]:
    return {event["name"]: event for event in ended.of("score")}


def test_every_score_carries_its_protocol(ended: EndedHere) -> None:
    scores = scores_of(ended)
    assert (ended.code, ended.done["clips"], ended.done["videos"]) == (0, 12, 24)
    for name in ("clip_generated", "clip_real_ceiling", "clip_shuffled_floor"):
        assert scores[name].keys() >= SCALES
        stamp = {"model": "embedded", "images": "2×2 storyboard", "prefix": "", "frames": 8, "seed": 0, "seeds": 2}
        assert {key: scores[name][key] for key in stamp} == stamp
        assert scores[name]["resize"] == "shortest edge 64, bicubic, centre 64×64"
        assert len(scores[name]["sha256"]) == 16


def test_the_forms_are_of_one_set_of_cosines(ended: EndedHere) -> None:
    for name in ("clip_generated", "clip_real_ceiling", "clip_shuffled_floor"):
        score = scores_of(ended)[name]
        assert score["torchmetrics_100x"] == pytest.approx(max(0, 100 * score["value"]), abs=1e-2)
        assert score["clipscore_2.5x"] >= 2.5 * score["value"] - 3e-4  # an image below zero counts as zero


def test_real_clips_lie_far_above_the_floor(ended: EndedHere) -> None:
    scores = {name: score["value"] for name, score in scores_of(ended).items()}
    assert scores["clip_real_ceiling"] > scores["clip_shuffled_floor"] + 0.2
    assert scores["clip_real_ceiling"] > scores["clip_generated"] + 0.2


def test_an_untrained_model_obeys_no_more_than_chance_allows(ended: EndedHere) -> None:
    scores = scores_of(ended)
    for group in ("seen", "unseen"):
        assert scores[f"all_obeyed_{group}"]["value"] <= 0.25


def test_combinations_kept_out_of_training_are_scored_apart(ended: EndedHere) -> None:
    scores = scores_of(ended)
    for group in ("seen", "unseen"):
        for part in ("colour", "shape", "motion", "all"):
            score = scores[f"{part}_obeyed_{group}"]
            assert score["videos"] == 12
            assert 0 <= score["value"] <= 1
        assert scores[f"jitter_px_{group}"]["videos"] == 12


def test_the_scores_are_written_with_what_was_asked(ended: EndedHere, workspace: Path) -> None:
    file = Path(ended.done["scores"])
    written = json.loads(file.read_text())
    assert file.parent == workspace / "outputs/scores"
    assert (written["step"], written["spec"]["prompts"], written["spec"]["seeds"]) == (12, 12, 2)
    assert Path(written["checkpoint"]).name == "checkpoint_step_12"
    reported = {event["name"]: event["value"] for event in ended.of("score")}
    assert {name: score["value"] for name, score in written["scores"].items()} == pytest.approx(reported, nan_ok=True)


def test_the_same_seed_gives_the_same_scores(workspace: Path) -> None:
    first, second = (scores_of(evaluate(workspace, prompts=4, seeds=1)) for _ in range(2))
    assert {name: score["value"] for name, score in first.items()} == {name: s["value"] for name, s in second.items()}


@pytest.mark.parametrize(("wanted", "other"), [("seen", "unseen"), ("unseen", "seen")])
def test_only_the_wanted_combinations_are_sampled(workspace: Path, wanted: str, other: str) -> None:
    ended = evaluate(workspace, combinations=wanted, prompts=3, seeds=1)
    names = set(scores_of(ended))
    assert (ended.done["clips"], f"all_obeyed_{wanted}" in names, f"all_obeyed_{other}" in names) == (3, True, False)


def test_a_set_without_the_wanted_combinations_is_refused(tmp_path: Path) -> None:
    make_set(ShapesSpec(clips=2, test_clips=1), job_here(tmp_path))
    save_small_checkpoint(tmp_path)
    ended = evaluate(tmp_path, combinations="unseen")
    assert "no test clip" in ended.sentence


def test_a_set_that_is_not_the_built_in_world_has_scores_without_obedience(tmp_path: Path) -> None:
    make_set(ShapesSpec(clips=1, test_clips=3), job_here(tmp_path))
    (tmp_path / "data/shapes/shapes.json").unlink()
    save_small_checkpoint(tmp_path)
    ended = evaluate(tmp_path, prompts=3, seeds=1, prefix="A photo depicts ")
    of_movement = {"motion_amount", "flicker", "frame_consistency"}
    assert set(scores_of(ended)) == {"clip_generated", "clip_real_ceiling", "clip_shuffled_floor"} | of_movement
    assert scores_of(ended)["clip_generated"]["prefix"] == "A photo depicts "
    assert "is for the built-in world" in evaluate(tmp_path, combinations="seen").sentence


def test_without_test_captions_it_says_what_is_missing(tmp_path: Path) -> None:
    save_small_checkpoint(tmp_path)
    assert "data/shapes" in evaluate(tmp_path).sentence


# Movement, distances from real videos, and what a score does not see


class Means(torch.nn.Module):
    """Sees colours and changes of colour, and no order of frames: a network for tests."""

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return torch.cat([video.mean((2, 3, 4)), video.std(2).mean((2, 3))], 1)


def test_movement_stands_beside_that_of_the_real_clips(ended: EndedHere) -> None:
    scores = scores_of(ended)
    for name in ("motion_amount", "flicker", "frame_consistency"):
        assert (scores[name]["videos"], "real" in scores[name]) == (24, True)
    assert scores["motion_amount"]["real"] > scores["flicker"]["real"] > 0


def test_distances_have_interval_floor_and_stamp_and_few_videos_are_said(workspace: Path) -> None:
    exported = torch.export.export(Means(), (torch.zeros(1, 3, 8, 64, 64),))
    torch.export.save(exported, str(workspace / "net.pt"))
    ended = evaluate(workspace, features="net.pt", degradations=True)
    assert ended.code == 0, ended.log
    scores = scores_of(ended)
    for name in ("fvd", "mmd"):
        low, high = scores[name]["interval_95"]
        assert low < scores[name]["value"] < high
        assert scores[name]["value"] > scores[name]["real_floor"]  # an untrained model
        assert (scores[name]["network"], scores[name]["form"]) == ("net.pt", "plain")
        assert (scores[name]["videos"], scores[name]["real_videos"]) == (24, 12)
    assert any("distances of 12 videos say little" in one["message"] for one in ended.of("warning"))
    unseen = {name: scores[name]["blindness"] for name in ("clip_generated", "fvd", "mmd")}
    assert "shuffled" in unseen["fvd"]["blind_to"]  # the network does not see order, and that is found out
    assert unseen["fvd"]["is_blind_to_time"]
    assert all(len(one["degraded"]) == 6 for one in unseen.values())
    assert "recoloured" not in unseen["clip_generated"]["blind_to"]


def test_a_network_that_is_none_is_refused_before_anything_is_drawn(workspace: Path) -> None:
    ended = evaluate(workspace, features="t2v.toml")
    assert (ended.code, ended.of("progress")) == (2, [])
    assert "TorchScript" in ended.error["message"] + ended.error["hint"]
