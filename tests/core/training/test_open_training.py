"""Open models are preprocessed for, trained and drawn with as ours are; a LoRA's file is what diffusers loads."""

from __future__ import annotations

import json
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.engine.engine import events_of, job_here
from support.engine.open_models import MODELS, save_open_model
from support.engine.training_set import asked, differing
from support.engine.warm_engine import begin, run_warm
from support.hosts.door import EndedHere, through_the_door

from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.data.store.latents import LatentStore
from t2v_core.data.video.decode import read_all_frames
from t2v_core.diffusion.objectives import DDPMObjective, FlowObjective
from t2v_core.events.estimated import Estimated
from t2v_core.models.conditioning import Conditioning
from t2v_core.models.live_bytes import LiveBytes
from t2v_core.models.lora.adapter import Adapter, LoraSettings
from t2v_core.models.open.denoiser import OpenDenoiser
from t2v_core.models.open.encoders import OpenPromptEncoder
from t2v_core.models.open.families import open_model
from t2v_core.models.open.parts import Placing
from t2v_core.specs import ShapesSpec, TrainSpec
from t2v_core.training.base.open import objective_of
from t2v_core.training.forecast.memory import StepShape
from t2v_core.training.forecast.open_memory import open_step_memory
from t2v_core.training.resume import restore
from t2v_core.workspace import Dataset

CPU = Placing(torch.device("cpu"), torch.float32)
PROMPTS = ["a red circle moving left", "", "a dog"]
FRAMES = {"mochi": 7}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("open")
    return {name: save_open_model(name, root / name) for name in MODELS}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> dict[str, Path]:
    """Workspaces with a small set, preprocessed for each of some models."""
    films = tmp_path_factory.mktemp("films")
    make_set(ShapesSpec(data=Path("data"), clips=6, test_clips=2, frames=9, size=32), job_here(films))
    found = {}
    for name in ("wan", "wan-experts", "ltx", "cogvideox", "mochi", "hunyuan-video"):
        found[name] = tmp_path_factory.mktemp(name)
        shutil.copytree(films / "data", found[name] / "data")
        ended = preprocess(found[name], folders[name])
        assert ended.code == 0, ended.events
    return found


def preprocess(workspace: Path, model: Path, **values: Any) -> EndedHere:
    given = {"data": "data", "model": str(model), "frames": FRAMES.get(model.name, 9), "size": 32, "device": "cpu"}
    return through_the_door(workspace, "preprocess", **given | values)


def training(data: Path, model: Path, **values: Any) -> dict[str, Any]:
    return {"data": str(data / "data"), "model": str(model), "lora": True, "lora_rank": 4, "device": "cpu",
            "gradient_accumulation": 2, "epochs": 2, "warmup_steps": 0} | values  # fmt: skip


def train(workspace: Path, **values: Any) -> Path:
    ended = through_the_door(workspace, "train", **values)
    assert ended.code == 0, ended.events
    return workspace / ended.done["checkpoint"]


def draw(workspace: Path, output: str, /, **values: Any) -> Any:
    given = {"prompt": PROMPTS[0], "steps": 2, "device": "cpu", "output": output, "seed": 3}
    ended = through_the_door(workspace, "generate", **given | values)
    assert ended.code == 0, ended.events
    return read_all_frames(workspace / output).frames


def scores(workspace: Path, data: Path, **values: Any) -> dict[str, float]:
    given = {"data": str(data), "prompts": 2, "seeds": 1, "steps": 2, "scorer": "embedded", "device": "cpu"} | values
    given.pop("fps", None)
    ended = through_the_door(workspace, "evaluate", **given)
    assert ended.code == 0, ended.events
    return {event["name"]: event["value"] for event in ended.of("score")}


@pytest.mark.parametrize("name", MODELS)
def test_training_asks_the_transformer_as_sampling_does(folders: dict[str, Path], name: str) -> None:
    """Prompts without what fills them up, filled up again, of several lengths in a batch, each at its own timestep."""
    model = open_model(folders[name], CPU)
    kept = OpenPromptEncoder(model, "m").encode(PROMPTS)
    denoiser = OpenDenoiser(model, kept[1]).eval()
    shape = model.latent_shape(FRAMES.get(name, 9), 32, 32)
    latents = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([951.0, 400.0, 30.0])
    prompts = Conditioning.of(kept)
    with torch.no_grad():
        ours = denoiser(latents, timesteps, prompts.tokens, prompts.mask, prompts.pooled)
        for row in range(3):
            theirs = model.predict(latents[row : row + 1], timesteps[row], model.text([PROMPTS[row]]), 1.0)
            assert (ours[row] - theirs[0]).abs().max() <= 2e-6
    if name not in ("cogvideox", "cogvideox-5b"):
        assert len(kept[2].tokens) < len(kept[0].tokens) < model.text_length


def test_timesteps_are_drawn_as_the_family_samples(folders: dict[str, Path]) -> None:
    spec, shape = TrainSpec(), (3, 16, 4, 4)
    wan = objective_of(open_model(folders["wan-euler"], CPU), shape, spec)
    plain = objective_of(open_model(folders["mochi"], CPU), shape, spec)
    assert isinstance(wan, FlowObjective)
    assert (wan.shift, getattr(plain, "shift", None)) == (7.0, 1.0)
    scheduler = open_model(folders["wan-euler"], CPU).parts.use("scheduler")
    straight = plain.quantile_timesteps(9) / 1000
    assert torch.allclose(wan.quantile_timesteps(9) / 1000, 7 * straight / (1 + 6 * straight))
    assert scheduler.config.shift == 7.0
    ltx = [objective_of(open_model(folders["ltx"], CPU), shape, spec) for shape in ((2, 8, 4, 4), (9, 8, 16, 16))]
    assert 1 < ltx[0].shift < ltx[1].shift  # type: ignore[attr-defined]
    cog = objective_of(open_model(folders["cogvideox"], CPU), shape, spec)
    assert isinstance(cog, DDPMObjective)
    assert cog.sampler.prediction == "v"
    own = open_model(folders["cogvideox"], CPU).parts.use("scheduler")
    latents, noise, at = torch.randn(1, 2, 4, 4, 4), torch.randn(1, 2, 4, 4, 4), torch.tensor([300])
    assert torch.allclose(
        cog.sampler.add_noise(latents, noise, at.float()), own.add_noise(latents, noise, at), atol=1e-5
    )
    assert torch.allclose(cog.target(latents, noise, at.float()), own.get_velocity(latents, noise, at), atol=1e-5)


def test_a_set_says_for_which_model_it_was_made(world: dict[str, Path], folders: dict[str, Path]) -> None:
    store = LatentStore.open(Dataset(world["ltx"] / "data"), "train")
    model = open_model(folders["ltx"], CPU)
    assert tuple(store.shape) == model.latent_shape(9, 32, 32)
    assert store.manifest["statistics"] == {"family": "LTX-Video"}
    assert store.text_manifest["family"] == "LTX-Video"
    assert store.text_manifest["dim"] == model.text_width
    shas = {store.manifest["encoder"]["sha256"], store.text_manifest["encoder"]["sha256"]}
    assert {len(sha) for sha in shas} == {64}
    ended = preprocess(world["ltx"], folders["ltx"], vae="embedded")
    assert (ended.code, ended.done["skipped"]) == (0, 8)
    assert "vae of t2v's own models" in ended.warnings


def adapted(part: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What an adapter adds to a model, by the names that do not depend on the adapter's own."""
    return {
        re.sub(r"(lora_[AB])\.\w+", r"\1", name): value
        for name, value in part.named_parameters() if "lora_" in name
    }  # fmt: skip


@pytest.mark.parametrize("name", ["wan", "wan-experts", "ltx", "cogvideox", "mochi", "hunyuan-video"])
def test_a_lora_learns_and_its_file_is_what_diffusers_loads(
    world: dict[str, Path], folders: dict[str, Path], tmp_path: Path, name: str
) -> None:
    given = training(world[name], folders[name], epochs=8, learning_rate=3e-2, ema_decay=0.5, held_out_clips=0)
    path = train(tmp_path, **given)
    losses = [event["loss"] for job in (tmp_path / "jobs").iterdir() for event in events_of(job)
              if event["kind"] == "step"]  # fmt: skip
    assert sum(losses[-6:]) < sum(losses[:6])
    job = job_here(tmp_path)
    ours = restore(TrainSpec.model_validate({"resume": True}), job).plain_model.eval()
    assert isinstance(ours, OpenDenoiser)
    pipeline = getattr(diffusers, ours.model.pipeline).from_pretrained(folders[name])
    with safe_open(path / "model.safetensors", framework="pt") as file:
        prefixes = {key.partition(".")[0] for key in sorted(file.keys())}
    assert prefixes == set(ours.adapted_parts())
    pipeline.load_lora_weights(path, weight_name="model.safetensors")
    if "transformer_2" in prefixes:
        second = {
            key.replace("transformer_2.", "transformer."): value
            for key, value in load_file(path / "model.safetensors").items()
            if key.startswith("transformer_2.")
        }
        pipeline.load_lora_weights(second, load_into_transformer_2=True)
    for part in prefixes:
        mine, theirs = (adapted(getattr(one, part)) for one in (ours, pipeline))
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    model = ours.model
    shape = model.latent_shape(FRAMES.get(name, 9), 32, 32)
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    text = model.text(PROMPTS[:1])
    for timestep in (900.0, 100.0):
        model.parts.loaded |= {part: getattr(ours, part) for part in prefixes}
        mine = model.predict(x, torch.tensor(timestep), text, 1.0)
        model.parts.loaded |= {part: getattr(pipeline, part) for part in prefixes}
        theirs = model.predict(x, torch.tensor(timestep), text, 1.0)
        assert (mine - theirs).abs().max() <= 1e-6  # where tensors lie in memory changes the order of a sum
    pipeline.unload_lora_weights()
    assert (model.predict(x, torch.tensor(900.0), text, 1.0) - mine).abs().max() > 0


def test_from_clips_to_a_video_and_another_one_refined(
    world: dict[str, Path], folders: dict[str, Path], tmp_path: Path
) -> None:
    path = train(tmp_path, **training(world["wan"], folders["wan"], learning_rate=1e-2, ema_decay=0.1))
    from_latest = draw(tmp_path, "a.mp4")
    assert from_latest.shape == (9, 32, 32, 3)  # as it was trained
    named = {"model": str(folders["wan"]), "height": 32, "width": 32, "frames": 9, "fps": 8}
    beside = draw(tmp_path, "b.mp4", **named, lora=str(path), guidance_scale=5.0)
    alone = draw(tmp_path, "c.mp4", **named)
    assert (from_latest == beside).all()
    assert (from_latest != alone).any()
    assert (draw(tmp_path, "d.mp4", **named, lora=f"{path}:0") == alone).all()
    for offload in ("model", "group"):
        assert (draw(tmp_path, f"{offload}.mp4", offload=offload) == from_latest).all()
    settings = json.loads((tmp_path / "a.json").read_text())
    assert settings["checkpoint"] == {"path": str(path), "step": 6}
    assert (draw(tmp_path, "again.mp4", **settings["spec"] | {"output": "again.mp4"}) == from_latest).all()
    refined = {"input": "a.mp4", "output": "r.mp4", "prompt": PROMPTS[0], "steps": 3, "strength": 0.5, "device": "cpu"}
    assert through_the_door(tmp_path, "refine", **refined).code == 0
    assert read_all_frames(tmp_path / "r.mp4").frames.shape == (9, 32, 32, 3)
    scored = scores(tmp_path, world["wan"] / "data")
    assert scored == scores(tmp_path, world["wan"] / "data", **named, lora=str(path), guidance_scale=5.0)
    assert scored != scores(tmp_path, world["wan"] / "data", **named)


def test_killed_it_resumes_to_the_bit_with_both_experts(
    world: dict[str, Path], folders: dict[str, Path], tmp_path: Path
) -> None:
    settings = training(world["wan-experts"], folders["wan-experts"], epochs=3, gradient_checkpointing=True)
    child = begin(tmp_path, "train", **settings)
    child.wait_for(lambda event: event["kind"] == "checkpoint")
    child.signal(signal.SIGKILL)
    assert child.end().code == -signal.SIGKILL
    assert run_warm(tmp_path, "train", resume=True).code == 0
    assert run_warm(tmp_path, "train", **settings | {"checkpoints": "whole"}).code == 0
    name = "checkpoint_epoch_3"
    assert differing(tmp_path / "checkpoints" / name, tmp_path / "whole" / name) == []
    moved = {key.partition(".")[0] for key, value in load_file(tmp_path / "whole" / name / "model.safetensors").items()
             if "lora_B" in key and value.abs().max() > 0}  # fmt: skip
    assert moved == {"transformer", "transformer_2"}


def test_without_lora_all_of_the_transformer_is_trained_and_drawn_with(
    world: dict[str, Path], folders: dict[str, Path], tmp_path: Path
) -> None:
    given = {key: value for key, value in training(world["wan"], folders["wan"]).items() if "lora" not in key}
    path = train(tmp_path, **given, max_steps=2, learning_rate=1e-2)
    tensors = load_file(path / "ema.safetensors")
    before = load_file(folders["wan"] / "transformer" / "diffusion_pytorch_model.safetensors")
    assert {f"transformer.{key}" for key in before} | {"null_tokens", "null_pooled"} == tensors.keys()
    named = {"model": str(folders["wan"]), "height": 32, "width": 32, "frames": 9, "fps": 8}
    assert (draw(tmp_path, "a.mp4") != draw(tmp_path, "b.mp4", **named)).any()
    again = through_the_door(tmp_path, "train", resume=True, max_steps=3, preset="tiny")  # as t2v.toml may say it
    assert again.code == 0
    said = through_the_door(tmp_path, "train", **given, max_steps=1, preset="tiny", checkpoints="other")
    assert "preset of t2v's own models: Wan has its own" in said.warnings
    assert json.loads((tmp_path / said.done["checkpoint"] / "trainer.json").read_text())["spec"]["samples"] == 0


@pytest.mark.parametrize("lora", [True, False])
def test_samples_are_those_of_the_checkpoint_and_change_no_training(
    world: dict[str, Path], folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora: bool
) -> None:
    usual = replace(open_model(folders["wan"], CPU).usual, steps=2)
    monkeypatch.setattr("t2v_core.models.open.wan.Wan.usual", usual)
    assert preprocess(tmp_path, folders["wan"], data=str(copied(world["wan"], tmp_path)), dtype="fp32").code == 0
    given = training(tmp_path, folders["wan"], learning_rate=1e-2, ema_decay=0.5, lora_dropout=0.3, lora=lora)
    given = {name: value for name, value in given.items() if lora or not name.startswith("lora")}
    path = train(tmp_path, **given, samples=2)
    without = train(tmp_path, **given, checkpoints="without")
    assert differing(path, without) == []
    samples = sorted((tmp_path / "outputs/samples" / path.name).glob("*.mp4"))
    assert [file.name for file in samples] == ["0.mp4", "1.mp4"]
    settings = json.loads(samples[1].with_suffix(".json").read_text())
    again = draw(tmp_path, "again.mp4", **settings["spec"])
    assert (read_all_frames(samples[1]).frames == again).all()


def copied(world: Path, to: Path) -> Path:
    """The clips of a set, and nothing that was made of them."""
    left_out = shutil.ignore_patterns("latents", "text_embeddings")
    return Path(shutil.copytree(world / "data", to / "data", ignore=left_out))


def test_what_does_not_fit_is_one_sentence(world: dict[str, Path], folders: dict[str, Path], tmp_path: Path) -> None:
    ltx = train(tmp_path / "ltx", **training(world["ltx"], folders["ltx"], max_steps=1))
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(ltx / "ema.safetensors"), bare)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"some.weight": torch.ones(2, 2)}, foreign)
    (tmp_path / "torn.safetensors").write_bytes((ltx / "ema.safetensors").read_bytes()[:500])
    wider, two_ranks = (tmp_path / f"{name}.safetensors" for name in ("wider", "two-ranks"))
    down, up = (f"transformer.blocks.0.attn1.to_q.lora_{side}.weight" for side in "AB")
    save_file({down: torch.ones(4, 48), up: torch.ones(48, 4)}, wider)
    save_file({down: torch.ones(4, 24), up: torch.ones(24, 8)}, two_ranks)
    named = {"model": str(folders["wan"]), "height": 32, "width": 32, "frames": 9, "prompt": "a", "device": "cpu"}
    for lora, sentence in {
        str(ltx): "it was trained for LTX-Video, and the model is Wan",
        str(bare): "is a layer that it lacks, and the model is Wan",
        str(foreign): "holds no LoRA that t2v can use",
        str(tmp_path / "torn.safetensors"): "is damaged, or no safetensors file",
        str(wider): "is for a layer of 48 → 48, that of the model is 24 → 24, and the model is Wan",
        str(two_ranks): "should take 4 numbers, and is 24×8",
    }.items():
        ended = through_the_door(tmp_path, "generate", **named, lora=lora)
        assert ended.code == 2
        assert sentence in ended.sentence
    trainings = {
        "was preprocessed for LTX-Video, and the model is Wan": training(world["ltx"], folders["wan"]),
        "was preprocessed for another version of it": training(world["wan"], folders["wan-5b"]),
        "--base names a checkpoint of t2v's own to go": training(world["wan"], folders["wan"], base="embedded"),
        "Wan makes black videos in fp16": training(world["wan"], folders["wan"], precision="fp16"),
        "the data set was preprocessed for t2v's own": training(world["wan"], folders["wan"])
        | {"data": asked()["data"]},
        "there is no model at nowhere": training(world["wan"], Path("nowhere")),
    }
    for sentence, values in trainings.items():
        ended = through_the_door(tmp_path / "no", "train", **values)
        assert ended.code == 2, ended.events
        assert sentence in ended.sentence
    for values, sentence in [
        ({"frames": 8}, "8 frames were asked for, and Wan makes 1, 5, 9"),
        ({"size": 40}, "--height is 40, and Wan takes sides that are a multiple of 16"),
        ({"height": 32}, "--size is both height and width, and one of them is named"),
    ]:
        assert preprocess(world["wan"], folders["wan"], **values).sentence.startswith(sentence)
    ended = through_the_door(world["wan"], "preprocess", data="data", height=32, device="cpu")
    assert ended.sentence == "--height is for an open model, and none is named"


def test_an_estimate_of_a_training_needs_configurations_only(folders: dict[str, Path], tmp_path: Path) -> None:
    bare = shutil.copytree(folders["wan"], tmp_path / "wan", ignore=shutil.ignore_patterns("*.safetensors"))
    given = {"model": str(bare), "lora": True, "gpu": "L4", "frames": 9, "height": 32, "width": 32, "probe": False}
    ended = through_the_door(tmp_path, "estimate", **given)
    result = Estimated.of(ended.done)
    assert result is not None
    assert (result.model.arithmetic, result.data.shape, result.fits.memory) == ("bf16", (3, 16, 4, 4), True)
    model = open_model(folders["wan"], CPU)
    adapter = Adapter.beside(
        {"transformer": model.parts.use("transformer")}, LoraSettings(16, 16.0, ("attention",)), model.adapter_targets
    )
    count = sum(parameter.numel() for parameter in adapter.parameters().values())
    assert result.model.parameters == count
    assert result.memory.gradients_bytes == 4 * count
    assert result.largest_batch > 1
    assert result.time is not None


@pytest.mark.parametrize("name", ["wan", "ltx", "cogvideox", "hunyuan-video", "mochi"])
def test_what_a_training_step_holds_is_reckoned_from_its_configuration(folders: dict[str, Path], name: str) -> None:
    """Held beside what a real forward and backward pass of three layers holds, told from stacks of one and two."""
    model = open_model(folders[name], CPU)
    config = dict(model.parts.config("transformer")) | {"num_layers": 3}
    settings, shape = LoraSettings(4, 4.0, ("attention",)), model.latent_shape(9, 32, 32)
    model.parts.empty("transformer").register_to_config(num_layers=3)
    need = open_step_memory(model, shape, StepShape(1), device="cpu", framework=0, lora=settings)
    transformer = type(model.parts.empty("transformer")).from_config(config)
    adapter = Adapter.beside({"transformer": transformer}, settings, model.adapter_targets)
    for parameter in adapter.parameters().values():
        parameter.grad = torch.zeros_like(parameter)
    x, text = torch.randn(1, shape[1], shape[0], *shape[2:]), model.text(PROMPTS[:1])
    grads = [parameter.grad for parameter in adapter.parameters().values() if parameter.grad is not None]
    known = [*transformer.parameters(), *grads, *transformer.buffers(), x, text.tokens, text.mask, text.pooled]
    with LiveBytes(known) as alive:
        model.forward(transformer, x, torch.full((1,), 500.0), text, 1.0).square().mean().backward()
    assert need.activations == pytest.approx(alive.peak, rel=0.1)
