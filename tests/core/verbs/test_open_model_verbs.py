"""Open models through the same verbs: `generate` and `refine`, with `--model`, and what they say of a wrong request."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.engine.engine import StopsAfter, job_here
from support.engine.open_models import save_open_model
from support.engine.small_checkpoint import save_small_checkpoint
from support.hosts.door import EndedHere, through_the_door

from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.data.video.decode import read_all_frames
from t2v_core.data.video.frames import write_video
from t2v_core.errors import Stopped
from t2v_core.events.open_estimated import OpenEstimated
from t2v_core.models.open.families import open_model
from t2v_core.models.open.memory.footprint import footprint
from t2v_core.models.open.memory.placing import SHARE
from t2v_core.models.open.parts import Placing
from t2v_core.specs import GenerateSpec, ShapesSpec
from t2v_core.verbs.generate import generate
from t2v_tui.cli.engine.estimate import open_lines

PROMPT = "a red circle moving left"
SMALL = {"prompt": PROMPT, "height": 32, "width": 32, "frames": 9, "steps": 3, "device": "cpu"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each family that the verbs are tried with."""
    root = tmp_path_factory.mktemp("open")
    for name in ("wan", "ltx", "hunyuan-video"):
        save_open_model(name, root / name)
    return root


def draw(workspace: Path, model: Path, **values: Any) -> EndedHere:
    given = SMALL | {"model": str(model), "output": "out.mp4"}
    return through_the_door(workspace, "generate", **given | values)


def refine(workspace: Path, model: Path, **values: Any) -> EndedHere:
    given = {"input": "in.mp4", "output": "out.mp4", "prompt": PROMPT, "steps": 3, "device": "cpu"}
    return through_the_door(workspace, "refine", **given | {"model": str(model)} | values)


def frames_of(path: Path) -> NDArray[np.uint8]:
    return read_all_frames(path).frames


def film(path: Path, frames: int, height: int = 32, width: int = 32) -> None:
    shown = np.random.default_rng(3).integers(0, 256, (frames, height, width, 3), np.uint8)
    write_video(path, shown, fps=16)


def test_a_prompt_becomes_a_video_and_the_json_beside_it_makes_it_again(tmp_path: Path, models: Path) -> None:
    ended = draw(tmp_path, models / "wan", seed=4)
    assert (ended.code, ended.warnings) == (0, "")
    assert frames_of(tmp_path / "out.mp4").shape == (9, 32, 32, 3)
    assert ended.done["fps"] == 16  # Wan's own
    assert [event["done"] for event in ended.of("progress")] == [1, 2, 3]
    assert "unipc" in next(event["detail"] for event in ended.of("stage") if event["name"] == "sample")
    settings = json.loads((tmp_path / "out.json").read_text())
    assert settings["model"] == {
        "id": str(models / "wan"), "family": "Wan", "licence": "apache-2.0", "revision": None,
    }  # fmt: skip
    through_the_door(tmp_path, "generate", **settings["spec"] | {"output": "again.mp4"})
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "out.mp4").read_bytes()


def test_another_seed_and_another_prompt_make_another_video(tmp_path: Path, models: Path) -> None:
    for name, changed in {"a": {}, "b": {"seed": 9}, "c": {"prompt": "a blue dog"}}.items():
        draw(tmp_path, models / "wan", output=f"{name}.mp4", **changed)
    a, b, c = (frames_of(tmp_path / f"{name}.mp4") for name in "abc")
    assert not np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_how_parts_come_to_the_device_changes_nothing(tmp_path: Path, models: Path) -> None:
    for offload, tiling in {"none": "no", "model": "yes", "group": "yes"}.items():
        ended = draw(
            tmp_path, models / "hunyuan-video", output=f"{offload}.mp4", offload=offload, vae_tiling=tiling, steps=2,
            frames=5, preview=True,
        )  # fmt: skip
        assert ended.code == 0
    made = [(tmp_path / f"{offload}.mp4").read_bytes() for offload in ("none", "model", "group")]
    assert made[1:] == made[:1] * 2


def test_strength_1_of_refine_is_what_generate_makes(tmp_path: Path, models: Path) -> None:
    film(tmp_path / "in.mp4", 9)
    draw(tmp_path, models / "wan", output="drawn.mp4", seed=7)
    ended = refine(tmp_path, models / "wan", strength=1, seed=7)
    assert ended.code == 0
    assert np.array_equal(frames_of(tmp_path / "out.mp4"), frames_of(tmp_path / "drawn.mp4"))


def test_strength_0_of_refine_is_the_vaes_round_trip(tmp_path: Path, models: Path) -> None:
    film(tmp_path / "in.mp4", 9)
    assert refine(tmp_path, models / "wan", strength=0).code == 0
    model = open_model(models / "wan", Placing(torch.device("cpu"), torch.float32))
    there = model.encode(torch.from_numpy(frames_of(tmp_path / "in.mp4")))
    write_video(tmp_path / "vae.mp4", model.decode(there[None])[0].numpy(), fps=16)
    assert np.array_equal(frames_of(tmp_path / "out.mp4"), frames_of(tmp_path / "vae.mp4"))


def test_a_film_of_any_length_and_size_comes_back_with_its_length(tmp_path: Path, models: Path) -> None:
    film(tmp_path / "in.mp4", 11, 50, 80)
    ended = refine(tmp_path, models / "ltx", strength=0.5)
    assert ended.code == 0
    assert "its middle goes through the model at 80×48" in ended.warnings
    assert frames_of(tmp_path / "out.mp4").shape == (11, 48, 80, 3)


def test_a_long_film_goes_through_in_windows_of_the_models_length(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(tmp_path / "in.mp4", 30)
    usual = open_model(models / "wan", Placing(torch.device("cpu"), torch.float32)).usual
    short = type(usual)((32, 32), 9, 16.0, 3)
    monkeypatch.setattr("t2v_core.models.open.wan.Wan.usual", short)
    assert refine(tmp_path, models / "wan", strength=0.7).code == 0
    assert frames_of(tmp_path / "out.mp4").shape == (30, 32, 32, 3)


def test_a_licence_that_is_not_open_is_named_before_the_first_use_and_once(tmp_path: Path, models: Path) -> None:
    first = draw(tmp_path, models / "ltx")
    kinds = [(event["kind"], event.get("name")) for event in first.events]
    assert "its licence is LTXV open weights" in first.warnings
    assert kinds.index(("warning", None)) < kinds.index(("stage", "load"))
    assert draw(tmp_path, models / "ltx").warnings == ""


def test_a_models_own_card_says_its_licence(tmp_path: Path, models: Path) -> None:
    model = shutil.copytree(models / "wan", tmp_path / "wan")
    (model / "README.md").write_text(
        "---\nlicense: other\nlicense_name: our-own\nlicense_link: https://example.org/terms\ntags:\n- video\n---\n"
    )
    ended = draw(tmp_path, model)
    assert "its licence is our-own" in ended.warnings
    assert "https://example.org/terms" in ended.of("warning")[0]["hint"]


def test_a_preview_is_kept_and_a_stop_ends_it_within_a_step(tmp_path: Path, models: Path) -> None:
    plain = job_here(tmp_path)
    job = StopsAfter(plain.directory, plain.workspace, plain.events, questions=2)
    spec = GenerateSpec.model_validate(SMALL | {"model": str(models / "wan"), "steps": 9, "preview": True})
    with pytest.raises(Stopped):
        generate(spec, job)
    header = json.loads((job.directory / "preview").read_bytes().split(b"\n")[0])
    assert (header["frames"], header["source"]) == (3, [32, 32])
    assert not list(tmp_path.glob("outputs/*"))


def test_a_prompt_that_is_longer_than_is_read_is_told_of(tmp_path: Path, models: Path) -> None:
    ended = draw(tmp_path, models / "ltx", prompt=" ".join(["a red dog"] * 60))
    assert "the prompt has 181 tokens and the text encoder reads 128" in ended.warnings


@pytest.mark.parametrize(
    ("changes", "sentence", "hint"),
    [
        ({"frames": 16}, "16 frames were asked for, and Wan makes 1, 5, 9, …: 4 times any number, and 1", "17"),
        ({"width": 40}, "--width is 40, and Wan takes sides that are a multiple of 16", "use --width 32"),
        ({"precision": "fp16"}, "Wan makes black videos in fp16", "--precision bf16"),
        ({"checkpoint": "x"}, "--checkpoint is for a checkpoint of t2v's own, and --model names an open model", "out"),
        ({"vae": "embedded"}, "--vae is for a checkpoint of t2v's own, and --model names an open model", "out"),
        ({"sampler": "ddim"}, "the sampler ddim does not fit this model, which predicts flow", "dpm++ or euler"),
        ({"model": "nowhere"}, "there is no model at nowhere", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_met_is_one_sentence(
    tmp_path: Path, models: Path, changes: dict[str, Any], sentence: str, hint: str
) -> None:
    ended = draw(tmp_path, Path(changes.pop("model", models / "wan")), **changes)
    assert ended.sentence == sentence
    assert hint in ended.error["hint"]
    assert not (tmp_path / "out.mp4").exists()


def test_a_hub_id_that_is_not_cached_and_no_network_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    ended = draw(tmp_path, Path("owner/of-no-model"))
    assert ended.sentence.startswith(
        "the model owner/of-no-model is not on this machine and cannot be fetched: the hub "
    )


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("transformer/diffusion_pytorch_model.safetensors", "transformer/diffusion_pytorch_model.safetensors"),
        ("text_encoder/model.safetensors", "text_encoder/model.safetensors"),
        ("vae/config.json", "vae/config.json"),
        ("scheduler/scheduler_config.json", "scheduler/scheduler_config.json"),
    ],
)
def test_a_folder_that_is_not_whole_says_which_file(tmp_path: Path, models: Path, gone: str, named: str) -> None:
    model = shutil.copytree(models / "wan", tmp_path / "model")
    (model / gone).unlink()
    assert draw(tmp_path, model).sentence == f"the model {model} is incomplete: {named} is missing"


def test_a_shard_that_did_not_arrive_is_named(tmp_path: Path, models: Path) -> None:
    model = shutil.copytree(models / "wan", tmp_path / "model")
    listed = {"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}}
    (model / "transformer" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(listed))
    missing = "transformer/diffusion_pytorch_model-00001-of-00002.safetensors"
    assert draw(tmp_path, model).sentence == f"the model {model} is incomplete: {missing} is missing"


def test_damaged_weights_and_an_unknown_family_are_told_of(tmp_path: Path, models: Path) -> None:
    model = shutil.copytree(models / "wan", tmp_path / "model")
    (model / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"\0" * 64)
    assert draw(tmp_path, model).sentence.startswith(f"{model / 'vae'} cannot be loaded: ")
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps(index | {"_class_name": "StableDiffusionPipeline"}))
    ended = draw(tmp_path, model)
    assert ended.sentence == f"{model} is a StableDiffusionPipeline, which t2v does not know"
    assert ended.error["hint"] == "t2v knows Wan, LTX-Video, CogVideoX, Mochi, HunyuanVideo"
    (model / "model_index.json").unlink()
    assert draw(tmp_path, model).sentence == f"{model} holds no model: model_index.json is missing"


def test_what_only_open_models_have_is_refused_without_one(tmp_path: Path) -> None:
    save_small_checkpoint(tmp_path)
    ended = through_the_door(tmp_path, "generate", prompt=PROMPT, steps=2, device="cpu", width=64)
    assert ended.sentence == "--width is for an open model, and none is named"


def test_where_it_does_not_fit_its_parts_take_turns_and_that_is_said(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = footprint(open_model(models / "wan", Placing(torch.device("cpu"), torch.float32)), 9, 32, 32)
    between = (need.peak("none", is_tiled=False) + need.peak("model", is_tiled=False)) / 2 / SHARE
    monkeypatch.setattr("t2v_core.models.open.memory.placing.free_bytes", lambda _device: int(between))
    ended = draw(tmp_path, models / "wan")
    assert ended.code == 0
    assert "done with --offload model, which is slower" in ended.warnings
    monkeypatch.setattr("t2v_core.models.open.memory.placing.free_bytes", lambda _device: 100_000)
    refused = draw(tmp_path, models / "wan")
    assert refused.sentence.startswith("Wan takes about ")
    assert "100 kB is free on cpu" in refused.sentence


def evaluate(workspace: Path, model: Path, **values: Any) -> EndedHere:
    make_set(ShapesSpec(clips=1, test_clips=4), job_here(workspace))
    given = {"data": "data/shapes", "prompts": 3, "seeds": 2, "scorer": "embedded"} | SMALL | values
    given.pop("prompt")
    return through_the_door(workspace, "evaluate", **given | {"model": str(model)})


def test_its_videos_are_scored_beside_the_real_clips(tmp_path: Path, models: Path) -> None:
    ended = evaluate(tmp_path, models / "hunyuan-video", steps=2, frames=5, offload="model")
    assert (ended.code, ended.done["clips"], ended.done["videos"]) == (0, 3, 6)
    scores = {event["name"]: event for event in ended.of("score")}
    assert scores["clip_real_ceiling"]["value"] > scores["clip_generated"]["value"]
    assert {"motion_amount", "all_obeyed_seen", "all_obeyed_unseen"} <= scores.keys()
    written = json.loads(Path(ended.done["scores"]).read_text())
    assert written["model"]["family"] == "HunyuanVideo"
    assert (written["spec"]["sampler"], written["spec"]["frames"]) == ("euler", 5)
    assert "checkpoint" not in written
    told = [(event["done"], event["total"]) for event in ended.of("progress") if event["unit"] == "videos"]
    assert (told[-1], told) == ((6, 6), sorted(told))


def test_a_score_needs_a_clip_and_frames_that_the_family_makes(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    ended = evaluate(tmp_path, models / "wan", scorer=None)
    assert (ended.code, ended.of("progress")) == (2, [])
    assert "openai/clip-vit-base-patch32" in ended.sentence
    assert evaluate(tmp_path, models / "wan", frames=8).sentence.startswith("8 frames were asked for, and Wan makes 1,")
    save_small_checkpoint(tmp_path)
    without = through_the_door(tmp_path, "evaluate", data="data/shapes", device="cpu", offload="model")
    assert without.sentence == "--offload is for an open model, and none is named"


@pytest.mark.parametrize(("flags", "hint"), [
    ({"offload": "none"}, "use --offload model, --offload group, --vae-tiling yes, --quantize int8, fewer --frames or"),
    ({"offload": "group", "vae_tiling": "yes"}, "use fewer --frames or a smaller --height and --width; t2v estimate"),
])  # fmt: skip
@pytest.mark.parametrize("place", ["decode", "predict", "text"])
def test_a_device_that_is_too_small_says_what_to_turn_on(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch, place: str, flags: dict[str, str], hint: str
) -> None:
    def full(*_given: Any, **_named: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity …")

    monkeypatch.setattr(f"t2v_core.models.open.wan.Wan.{place}", full)
    ended = draw(tmp_path, models / "wan", **flags)
    assert (ended.code, ended.of("alarm")[0]["name"]) == (1, "gpu-memory")
    assert ended.error["message"] == (
        "the model does not fit into the memory of cpu: CUDA out of memory. Tried to allocate 2.00 GiB."
    )
    assert ended.error["hint"].startswith(hint)
    assert not (tmp_path / "out.mp4").exists()


def test_an_estimate_needs_configurations_only_and_names_the_flags(tmp_path: Path, models: Path) -> None:
    model = shutil.copytree(models / "wan", tmp_path / "wan", ignore=shutil.ignore_patterns("*.safetensors"))
    ended = through_the_door(
        tmp_path, "estimate", model=str(model), gpu="L4", frames=9, height=32, width=32, probe=False
    )
    result = OpenEstimated.of(ended.done)
    assert result is not None
    assert (result.family, result.arithmetic, result.frames) == ("Wan", "bf16", 9)
    assert {part.name for part in result.parts} == {"text_encoder", "transformer", "vae"}
    plain = [way.offload for way in result.ways if way.quantize == "none"]
    assert plain == ["none", "none", "model", "model", "group", "group"]
    peaks = {(way.quantize, way.offload, way.vae_tiling): way.peak_bytes for way in result.ways}
    assert peaks["nf4", "none", False] < peaks["int8", "none", False] < peaks["none", "none", False]
    said = "\n".join(open_lines(result))
    assert "24.0 GB on an empty L4: fits with --offload none" in said
    assert "a card of 80.0 GB: fits with --offload none" in said


def test_an_estimate_of_what_cannot_be_made_is_one_sentence(tmp_path: Path, models: Path) -> None:
    ended = through_the_door(tmp_path, "estimate", model=str(models / "wan"), frames=8, device="cpu")
    assert ended.sentence.startswith("8 frames were asked for, and Wan makes 1, 5, 9, …")
