"""VBench's folder of videos, and the call of an installed one.

VBench itself needs a GPU and networks that it downloads; what stands in for it here takes the same command line, in an
environment of its own, and pairs videos with prompts as `VBench.build_full_info_json` of 0.1.5 does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.engine.engine import job_here
from support.engine.small_checkpoint import save_small_checkpoint
from support.hosts.door import through_the_door

from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.data.video.decode import read_all_frames
from t2v_core.errors import InvalidRequest, Stopped, WorkFailed
from t2v_core.scores.vbench import USUAL, VBench, chosen_dimensions, file_name, write_layout
from t2v_core.specs import ShapesSpec

STAND_IN = """
import argparse, json, os, sys, time
from pathlib import Path
parser = argparse.ArgumentParser()
for name in ("--output_path", "--videos_path", "--prompt_file", "--mode"):
    parser.add_argument(name, required=True)
parser.add_argument("--dimension", nargs="+", required=True)
args = parser.parse_args()
assert args.mode == "custom_input" and int(os.environ["MASTER_PORT"]) and "PYTHONPATH" not in os.environ
if args.dimension == ["human_action"]:
    sys.exit("CUDA error: no kernel image is available")
while args.dimension == ["temporal_style"]:
    Path("at-work").touch()
    time.sleep(0.1)
prompts = json.load(open(args.prompt_file))
videos = [one for one in os.listdir(args.videos_path) if Path(one).suffix.lower() in (".mp4", ".gif", ".jpg", ".png")]
prompts = {os.path.abspath(os.path.join(args.videos_path, path)): said for path, said in prompts.items()}
each = [{"video_path": one, "video_results": len(prompts[os.path.abspath(os.path.join(args.videos_path, one))])}
        for one in videos]
os.makedirs(args.output_path, exist_ok=True)
mean = sum(one["video_results"] for one in each) / len(each)
said = {} if args.dimension == ["overall_consistency"] else {name: [mean, each] for name in args.dimension}
json.dump(said, open(os.path.join(args.output_path, "results_2026-12-01-01:00:00_eval_results.json"), "w"))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a real environment with nothing in it but the stand-in."""
    root = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True, timeout=240)
    packages = next(root.glob("lib/python*/site-packages"))
    (packages / "vbench/launch").mkdir(parents=True)
    (packages / "vbench/__init__.py").touch()
    (packages / "vbench/launch/evaluate.py").write_text(STAND_IN)
    (packages / "vbench-0.1.5.dist-info").mkdir()
    (packages / "vbench-0.1.5.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: vbench\nVersion: 0.1.5\n")
    return root / "bin/python"


def drawn(seeds: int, value: int) -> torch.Tensor:
    return torch.full((seeds, 4, 32, 32, 3), value, dtype=torch.uint8)


def layout(folder: Path) -> Path:
    prompts = ["ab", "a/b", "ab"]
    write_layout(folder, prompts, [drawn(2, 10), drawn(1, 100), drawn(1, 200)], 8.0)
    return folder


def test_a_video_has_the_name_that_vbench_looks_for(tmp_path: Path) -> None:
    place = layout(tmp_path) / "videos"
    names = sorted(path.name for path in place.iterdir())
    odd = f"{file_name('a/b')}-0.mp4"
    assert names == sorted(["ab-0.mp4", "ab-1.mp4", "ab-2.mp4", odd])
    said = json.loads((tmp_path / "prompts.json").read_text())
    assert said == {"ab-0.mp4": "ab", "ab-1.mp4": "ab", "ab-2.mp4": "ab", odd: "a/b"}
    assert float(read_all_frames(place / "ab-2.mp4").frames.mean()) == pytest.approx(200, abs=5)


@pytest.mark.parametrize("prompt", ["", "../up", ".hidden", "a\0b", "ü" * 300, "a/b", "line\nline", "x" * 300])
def test_any_prompt_becomes_one_file_of_that_folder(prompt: str) -> None:
    name = f"{file_name(prompt)}-0.mp4"
    assert Path(name).name == name
    assert not name.startswith(".")
    assert len(name.encode()) <= 255
    assert "\0" not in name
    assert file_name(prompt) != file_name(prompt + "!")


def test_its_scores_come_back_with_its_version(python: Path, tmp_path: Path) -> None:
    found = VBench.at(python).scores(layout(tmp_path), ["subject_consistency", "imaging_quality"], job_here(tmp_path))
    stamp = {"value": 2.25, "videos": 4, "vbench": "0.1.5", "mode": "custom_input"}
    assert found == {"vbench_subject_consistency": stamp, "vbench_imaging_quality": stamp}


@pytest.mark.parametrize(
    ("dimension", "sentence"), [("human_action", "failed with exit code 1"), ("overall_consistency", "wrote no score")]
)
def test_when_it_fails_the_videos_stay(python: Path, tmp_path: Path, dimension: str, sentence: str) -> None:
    with pytest.raises(WorkFailed, match=sentence):
        VBench.at(python).scores(layout(tmp_path), [dimension], job_here(tmp_path))
    assert len(list((tmp_path / "videos").iterdir())) == 4


def test_a_stop_ends_it(python: Path, tmp_path: Path) -> None:
    job = job_here(tmp_path)
    (job.directory / "stop").touch()
    with pytest.raises(Stopped):
        VBench.at(python).scores(layout(tmp_path), ["temporal_style"], job)


def test_an_environment_without_it_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"no VBench behind .*: ModuleNotFoundError: No module named 'vbench'"):
        VBench.at(Path(sys.executable))
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InvalidRequest, match="no VBench behind"):
            VBench.at(path)


def test_dimensions_are_those_for_prompts_of_ones_own() -> None:
    assert chosen_dimensions("") == list(USUAL)
    assert chosen_dimensions("dynamic_degree, human_action,dynamic_degree") == ["dynamic_degree", "human_action"]
    with pytest.raises(InvalidRequest, match="VBench has no dimension 'color'"):
        chosen_dimensions("color")


def test_evaluate_writes_the_layout_and_adds_the_scores(python: Path, tmp_path: Path) -> None:
    make_set(ShapesSpec(clips=2, test_clips=4), job_here(tmp_path))
    save_small_checkpoint(tmp_path)
    ended = through_the_door(
        tmp_path, "evaluate", data="data/shapes", prompts=2, seeds=2, steps=1, device="cpu", vbench=str(python)
    )
    assert ended.code == 0, ended.error
    scores = {event["name"]: event for event in ended.of("score")}
    assert {name for name in scores if name.startswith("vbench_")} == {f"vbench_{name}" for name in USUAL}
    assert scores["vbench_imaging_quality"]["videos"] == 4
    folder = next((tmp_path / "outputs/vbench").iterdir())
    assert len(list((folder / "videos").glob("*.mp4"))) == 4
