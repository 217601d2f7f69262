"""`t2v export`: what others load is what was trained, and the card says what was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from support.engine.engine import events_of, job_here
from support.engine.open_models import save_open_model
from support.engine.small_checkpoint import save_small_checkpoint
from support.hosts.door import EndedHere, through_the_door

from t2v_core.checkpoints.checkpoints import save_checkpoint
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.models.conditioning import Conditioning
from t2v_core.models.lora.adapter import Adapter, LoraSettings
from t2v_core.models.lora.files import read_lora
from t2v_core.models.lora.other_names import FORMS_OF
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.families import open_model
from t2v_core.models.open.layout import TRANSFORMERS
from t2v_core.models.open.parts import Placing
from t2v_core.specs import ShapesSpec
from t2v_core.verbs.sharing.card import settings_of

CPU = Placing(torch.device("cpu"), torch.float32)
FRAMES = {"mochi": 7}
NAMES = ("wan", "wan-experts", "ltx", "cogvideox", "mochi", "hunyuan-video")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("open")
    return {name: save_open_model(name, root / name) for name in NAMES}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> dict[str, Path]:
    """Workspaces with a LoRA of each family: that of Wan was trained there, the others hold random values."""
    work = tmp_path_factory.mktemp("wan")
    make_set(ShapesSpec(data=Path("data"), clips=4, test_clips=2, frames=9, size=32), job_here(work))
    common = {"data": "data", "model": str(folders["wan"]), "device": "cpu"}
    done(through_the_door(work, "preprocess", **common, frames=9, size=32))
    lora = {"lora": True, "lora_rank": 3, "lora_alpha": 2.0, "held_out_clips": 1, "gradient_accumulation": 1}
    done(through_the_door(work, "train", **common, **lora, max_steps=4, learning_rate=1e-2, warmup_steps=0))
    [checkpoint] = (work / "checkpoints").glob("checkpoint_*")
    info = open_checkpoint(checkpoint).info
    others = {name: tmp_path_factory.mktemp(name) for name in NAMES if name != "wan"}
    for name, place in others.items():
        save_random_lora(place / "checkpoints/checkpoint_step_4", folders[name], info)
    return {"wan": work} | others


def save_random_lora(path: Path, base: Path, info: dict[str, Any]) -> None:
    model = open_model(base, CPU)
    parts = {name: model.parts.use(name) for name in TRANSFORMERS if name in model.parts.names}
    adapter = Adapter.beside(parts, LoraSettings(3, 2.0, ("attention",)), model.adapter_targets, {"family": model.name})
    torch.manual_seed(1)
    tensors = {name: 0.1 * torch.randn(value.shape) for name, value in adapter.parameters().items()}
    files = {"ema.safetensors": tensors, "model.safetensors": tensors}
    save_checkpoint(path, files, info | {"base": {"model": str(base)}}, header=adapter.header())


def done(ended: EndedHere) -> EndedHere:
    assert ended.code == 0, (ended.events[-1], ended.log)
    return ended


def exported(work: Path, folder: str, **values: Any) -> Path:
    return work / done(through_the_door(work, "export", folder=folder, **values)).done["paths"][0]


def answer(model: OpenModel) -> torch.Tensor:
    """What each of its transformers answers for the same noise."""
    torch.manual_seed(0)
    latents = torch.randn(1, *model.latent_shape(FRAMES.get(model.parts.folder.name, 9), 32, 32))
    text = Conditioning.of(model.unpadded(model.text(["a red circle"])))
    text = model.padded(text)
    return torch.cat([model.predict(latents, torch.tensor(at), text, 1.0) for at in (980.0, 100.0)])


def with_lora(folder: Path, *files: Path) -> OpenModel:
    model = open_model(folder, CPU)
    model.parts.loras = tuple(model.lora(file) for file in files)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_a_lora_is_what_diffusers_loads_and_the_model_answers_the_same(
    folders: dict[str, Path], trained: dict[str, Path], name: str
) -> None:
    work, base = trained[name], folders[name]
    folder = exported(work, "plain")
    checkpoint = next((work / "checkpoints").glob("checkpoint_*"))
    ours = answer(with_lora(base, checkpoint / "ema.safetensors"))
    files = sorted(folder.glob("pytorch_lora_weights*.safetensors"))
    assert (answer(with_lora(base, *files)) - ours).abs().max() == 0
    assert (answer(open_model(base, CPU)) - ours).abs().max() > 1e-5
    model = open_model(base, CPU)
    pipeline = getattr(diffusers, model.pipeline).from_pretrained(base)
    pipeline.load_lora_weights(folder, weight_name="pytorch_lora_weights.safetensors")
    if name == "wan-experts":
        pipeline.load_lora_weights(folder, weight_name=files[1].name, load_into_transformer_2=True)
    for part in TRANSFORMERS:
        if part in model.parts.names:
            # A weight that asks for gradients has torch add up in another order: 2.4e-7 of Mochi, without any here.
            model.parts.loaded[part] = getattr(pipeline, part).eval().requires_grad_(False)
    assert (answer(model) - ours).abs().max() == 0


@pytest.mark.parametrize(("name", "form"), [
    (name, form) for name, family in (("wan", "Wan"), ("wan-experts", "Wan"), ("ltx", "LTX-Video"), ("mochi", "Mochi"),
                                      ("hunyuan-video", "HunyuanVideo")) for form in FORMS_OF[family]
])  # fmt: skip
def test_other_programs_forms_come_back_without_a_difference(
    folders: dict[str, Path], trained: dict[str, Path], name: str, form: str
) -> None:
    work, base = trained[name], folders[name]
    folder = exported(work, f"for-{form}", format=form)
    files = sorted(folder.glob(f"for-{form}_{form}*.safetensors"))
    assert [file.stem.removeprefix(f"for-{form}_{form}") for file in files] == (
        ["_high_noise", "_low_noise"] if name == "wan-experts" else [""]
    )
    starts = {key.split(".")[0] if form == "comfyui" else key[:10] for file in files for key in load_file(file)}
    assert starts == {"diffusion_model" if form == "comfyui" else "lora_unet_"}
    ours = answer(with_lora(base, *folder.glob("pytorch_lora_weights*.safetensors")))
    # Alpha is multiplied into LTX's, and 2 / 3 rounds.
    assert (answer(with_lora(base, *files)) - ours).abs().max() <= (1e-6 if name == "ltx" else 0)


@pytest.mark.parametrize("name", ["wan", "ltx"])
def test_diffusers_reads_the_form_of_comfyui_itself(
    folders: dict[str, Path], trained: dict[str, Path], name: str
) -> None:
    """To what its own arithmetic rounds: it multiplies alpha into the weights."""
    work, base = trained[name], folders[name]
    [file] = exported(work, "to-read", format="comfyui").glob("to-read_comfyui.safetensors")
    model = open_model(base, CPU)
    pipeline = getattr(diffusers, model.pipeline).from_pretrained(base)
    pipeline.load_lora_weights(file.parent, weight_name=file.name)
    model.parts.loaded["transformer"] = pipeline.transformer.eval()
    assert (answer(model) - answer(with_lora(base, file))).abs().max() <= 1e-6


def test_what_lies_in_one_layer_does_what_the_layers_did(folders: dict[str, Path], trained: dict[str, Path]) -> None:
    """q, k and v of HunyuanVideo, as whoever loads the file sees them: one matrix beside one layer."""
    folder = exported(trained["hunyuan-video"], "packed", format="comfyui")
    packed = load_file(folder / "packed_comfyui.safetensors")
    lora = read_lora(folder / "pytorch_lora_weights.safetensors")
    start = "diffusion_model.double_blocks.0.img_attn_qkv"
    down, up = packed[f"{start}.lora_A.weight"], packed[f"{start}.lora_B.weight"]
    moved = up @ down * float(packed[f"{start}.alpha"]) / len(down)
    theirs = [lora.layers[f"transformer.transformer_blocks.0.attn.to_{one}"] for one in "qkv"]
    apart = torch.cat([one.up @ one.down * one.alpha / one.rank for one in theirs])
    assert apart.abs().max() > 0
    assert torch.allclose(moved, apart, atol=1e-7)


def test_a_form_that_nobody_reads_is_refused(trained: dict[str, Path], tmp_path: Path) -> None:
    ended = through_the_door(trained["cogvideox"], "export", folder="no", format="kohya")
    assert ended.sentence == ("nobody reads a LoRA of CogVideoX in the form of kohya: that is for Wan, HunyuanVideo")
    assert not (trained["cogvideox"] / "no").exists()
    save_small_checkpoint(tmp_path)
    ended = through_the_door(tmp_path, "export", folder="no", format="comfyui")
    assert ended.sentence == "--format comfyui is for a LoRA of an open model, and checkpoint_step_12 is none"


def test_a_folder_that_is_there_is_not_written_into(trained: dict[str, Path]) -> None:
    mine = trained["wan"] / "mine"
    mine.mkdir()
    (mine / "notes").write_text("mine")
    assert through_the_door(trained["wan"], "export", folder="mine").sentence == f"{mine} already exists"
    assert [path.name for path in mine.iterdir()] == ["notes"]


def test_all_of_an_open_model_that_was_trained_is_a_folder_that_diffusers_loads(
    folders: dict[str, Path], trained: dict[str, Path]
) -> None:
    work, base = trained["wan"], folders["wan"]
    common = {"data": "data", "model": str(base), "device": "cpu", "checkpoints": "whole", "max_steps": 2}
    done(through_the_door(work, "train", **common, held_out_clips=1, gradient_accumulation=1))
    [checkpoint] = (work / "whole").glob("checkpoint_*")
    folder = exported(work, "tuned", checkpoint=f"whole/{checkpoint.name}")
    model = open_model(base, CPU)
    model.parts.tuned = checkpoint / "ema.safetensors"
    ours = answer(model)
    assert (answer(open_model(folder, CPU)) - ours).abs().max() == 0
    assert (answer(open_model(base, CPU)) - ours).abs().max() > 0
    assert diffusers.WanPipeline.from_pretrained(folder).transformer is not None


def test_the_card_says_what_the_run_recorded_and_nothing_of_this_machine(trained: dict[str, Path]) -> None:
    work = trained["wan"]
    checkpoint = next((work / "checkpoints").glob("checkpoint_*"))
    (work / "outputs/scores").mkdir(parents=True)
    score = {"value": 0.25, "videos": 8, "scorer": "ViT-B-32"}
    (work / "outputs/scores/one.json").write_text(json.dumps(
        {"checkpoint": str(checkpoint), "step": 4, "spec": {"steps": 20, "seeds": 1}, "scores": {"clip": score}}
    ))  # fmt: skip
    done(through_the_door(work, "generate", prompt="a red circle", steps=1, device="cpu", output="outputs/one.mp4"))
    folder = exported(work, "told")
    card, record = (folder / "README.md").read_text(), json.loads((folder / "t2v.json").read_text())
    assert card.startswith("---\nlicense: apache-2.0\n")
    job = work / "jobs" / open_checkpoint(checkpoint).info["job"]
    losses = [event["loss"] for event in events_of(job) if event["kind"] == "step"]
    curve = (folder / "training_curve.csv").read_text().splitlines()
    assert [float(line.split(",")[1]) for line in curve[1:]] == pytest.approx(losses, rel=1e-5)
    assert "| clip | 0.25 | videos 8, scorer ViT-B-32 |" in card
    assert "- [a red circle](samples/0.mp4)" in card
    assert "| `lora_rank` | 3 |" in card
    assert record["step"] == 4
    assert record["settings"]["learning_rate"] == 0.01
    with safe_open(folder / "pytorch_lora_weights.safetensors", framework="pt") as file:
        header = json.dumps(file.metadata())
    for text in (card, json.dumps(record), header):
        assert str(work.parent) not in text
        assert "/tmp" not in text


def test_a_setting_that_is_a_folder_of_this_machine_is_told_by_its_name(tmp_path: Path) -> None:
    spec = {"scorer": str(tmp_path / "clip"), "epochs": 3, "checkpoints": str(tmp_path), "precision": "bf16"}
    assert settings_of({"spec": spec}) == {"scorer": "clip", "epochs": 3, "precision": "bf16"}
