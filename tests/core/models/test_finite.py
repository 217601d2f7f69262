"""A value that is no number is an error wherever it appears: never a black video, a score, or a healthy checkpoint."""

from __future__ import annotations

import itertools
import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from support.engine.engine import job_here
from support.engine.small_checkpoint import save_small_checkpoint, small_pipeline
from support.engine.training_set import asked, contents, data_set
from support.hosts.door import EndedHere, through_the_door
from transformers import CLIPModel

from t2v_core import embedded
from t2v_core.checkpoints.checkpoints import list_checkpoints, save_checkpoint
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.data.video.frames import write_video
from t2v_core.diagnosis.check import State
from t2v_core.diagnosis.checkpoints import examine_checkpoints
from t2v_core.diagnosis.dataset import examine_dataset
from t2v_core.diagnosis.values import not_finite
from t2v_core.diffusion.guidance import Guidance
from t2v_core.disk.files import MANIFEST, seal, write_json
from t2v_core.errors import NotFinite, WorkFailed
from t2v_core.models.finite import is_finite
from t2v_core.specs import PreprocessSpec, ShapesSpec, TrainSpec
from t2v_core.training.resume import restore
from t2v_core.verbs.train import train
from t2v_core.workspace import Dataset

BROKEN = (math.nan, math.inf, -math.inf)
QUICK = {"steps": 2, "device": "cpu"}
PROMPT = {"prompt": "a red circle"}


def spoil(path: Path, value: float, *, everywhere: bool = False) -> None:
    """Put a value that is no number into a safetensors file, and make its folder's manifest fit again."""
    tensors = load_file(path)
    for tensor in tensors.values() if everywhere else list(tensors.values())[:1]:
        tensor.reshape(-1)[-1] = value
    save_file(tensors, path)
    if (path.parent / MANIFEST).is_file():
        manifest = json.loads((path.parent / MANIFEST).read_text())
        (path.parent / MANIFEST).unlink()
        seal(path.parent, {})
        sealed = json.loads((path.parent / MANIFEST).read_text())
        write_json(path.parent / MANIFEST, manifest | sealed)


def failed(ended: EndedHere) -> str:
    """The sentence of work that failed: exit code 1, a next step, and no traceback."""
    assert (ended.code, ended.of("done"), "Traceback" in ended.log) == (1, [], False), ended.log
    assert ended.error["hint"]
    return str(ended.error["message"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", BROKEN)
def test_one_value_among_many_is_found_wherever_it_lies(dtype: torch.dtype, value: float, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    for number in range(20):
        tensor = torch.randn(rng.randrange(1, 70_000)).to(dtype)
        file = tmp_path / f"{number}.safetensors"
        save_file({"whole": torch.ones(3), "tensor": tensor}, file)
        assert is_finite(tensor)
        assert not_finite(file, whole=True) is None
        tensor[rng.randrange(len(tensor))] = value
        save_file({"whole": torch.ones(3), "tensor": tensor}, file)
        assert not is_finite(tensor)
        assert not_finite(file, whole=True) == "tensor"


# A checkpoint


@pytest.mark.parametrize("value", BROKEN)
@pytest.mark.parametrize("which", ["ema", "raw"])
def test_weights_that_are_no_numbers_make_no_video(value: float, which: str, tmp_path: Path) -> None:
    path = save_small_checkpoint(tmp_path).path
    spoil(path / {"ema": "ema.safetensors", "raw": "model.safetensors"}[which], value)
    sentence = failed(through_the_door(tmp_path, "generate", **PROMPT, **QUICK, weights=which))
    assert sentence.startswith("the model gives values that are not finite: ")
    assert not list(tmp_path.rglob("*.mp4"))


def test_refine_and_evaluate_refuse_them_as_well(tmp_path: Path) -> None:
    make_set(ShapesSpec(data=Path("data"), clips=2, test_clips=2), job_here(tmp_path))
    spoil(save_small_checkpoint(tmp_path).path / "ema.safetensors", math.nan)
    write_video(tmp_path / "in.mp4", np.zeros((8, 64, 64, 3), np.uint8), fps=8)
    refined = through_the_door(tmp_path, "refine", input="in.mp4", output="out.mp4", **PROMPT, **QUICK)
    scored = through_the_door(tmp_path, "evaluate", data="data", prompts=2, seeds=1, **QUICK)
    assert "not finite" in failed(refined)
    assert "not finite" in failed(scored)
    assert not (tmp_path / "out.mp4").exists()
    assert not list(tmp_path.rglob("outputs/scores/*"))


def test_the_doctor_names_such_a_checkpoint_and_its_line_puts_it_aside_whole(tmp_path: Path) -> None:
    path = save_small_checkpoint(tmp_path).path
    spoil(path / "ema.safetensors", math.nan, everywhere=True)
    (check,) = examine_checkpoints(path.parent, checksums=False)
    assert (check.state, "ema.safetensors holds values that are not finite" in check.sentence) == (State.BAD, True)
    assert check.mend == f"mv {path} {path}.not-used"


def test_one_value_in_the_middle_is_found_when_every_byte_is_read(tmp_path: Path) -> None:
    tensor = torch.zeros(10_000)
    tensor[5_000] = math.inf
    path = save_small_checkpoint(tmp_path).path
    save_file(load_file(path / "ema.safetensors") | {"long": tensor}, path / "ema.safetensors")
    (path / MANIFEST).unlink()
    seal(path, {})
    assert [check.state for check in examine_checkpoints(path.parent, checksums=False)] == [State.GOOD]
    assert [check.state for check in examine_checkpoints(path.parent, checksums=True)] == [State.BAD]


# Training


def test_a_checkpoint_is_not_written_over_with_what_is_no_number(tmp_path: Path) -> None:
    tensors = {"weight": torch.ones(3), "bias": torch.ones(2)}
    path = save_checkpoint(tmp_path / "checkpoint_step_1", {"model.safetensors": tensors}, {"step": 1}).path
    before = contents(tmp_path)
    tensors["bias"][1] = math.nan
    with pytest.raises(NotFinite, match=r"not saved: model\.safetensors would hold values .* in bias"):
        save_checkpoint(path, {"model.safetensors": tensors}, {"step": 1})
    assert contents(tmp_path) == before


def test_a_step_that_throws_the_weights_to_infinity_is_not_saved_and_the_checkpoints_before_it_stay(
    tmp_path: Path,
) -> None:
    train(TrainSpec.model_validate(asked(max_steps=2, lr_schedule="constant")), job_here(tmp_path))
    before = contents(tmp_path / "checkpoints")
    run = restore(TrainSpec(resume=True, max_steps=3), job_here(tmp_path))
    weight = next(run.plain_model.parameters())
    weight.data.view(-1)[0] = math.inf
    run.step = 3
    run.save()
    with pytest.raises(NotFinite, match="checkpoint_step_3 is not saved"):
        run.saved(wait=True)
    assert contents(tmp_path / "checkpoints") == before


@pytest.mark.parametrize("name", ["model.safetensors", "ema.safetensors", "optimizer.safetensors"])
def test_a_run_goes_on_from_the_newest_checkpoint_of_numbers(name: str, tmp_path: Path) -> None:
    for steps in (1, 2):
        values = asked(max_steps=steps, keep_last=9, lr_schedule="constant", resume=steps > 1)
        train(TrainSpec.model_validate(values), job_here(tmp_path))
    newest = list_checkpoints(tmp_path / "checkpoints")[-1].path
    spoil(newest / name, math.nan)
    ended = through_the_door(tmp_path, "train", resume=True, max_steps=2)
    assert ended.code == 0, ended.log
    assert f"{newest.name} is damaged ({name} holds values that are not finite) and is skipped" in ended.warnings
    assert open_checkpoint(newest).tensors(name)


# Encoders, latents, pixels and scores


def test_a_model_that_answers_with_no_numbers_is_stopped_at_that_step() -> None:
    pipeline = small_pipeline()
    parameter = next(pipeline.denoiser.parameters())
    original = parameter.detach().clone()
    noise = torch.randn(1, *pipeline.latent_shape)
    pipeline.scheduler.set_timesteps(4)

    def spoil_after(done: int, _total: int) -> None:
        if done == 2:
            parameter.data.fill_(math.nan)

    with pytest.raises(NotFinite, match="not finite at step 3 of 4"):
        pipeline.denoise(noise, ["a"], 0, Guidance(), spoil_after)
    parameter.data.copy_(original)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_pixels_that_overflow_are_no_black_video(dtype: torch.dtype) -> None:
    """In fp16 what fp32 holds, as Stable Diffusion's VAE does; in fp32 weights that are infinite."""
    pipeline = small_pipeline()
    vae = AutoencoderKL.from_pretrained(embedded.VAE, torch_dtype=torch.float32)
    with torch.no_grad():
        vae.post_quant_conv.weight.mul_(1e7 if dtype is torch.float16 else math.inf)
    pipeline.autoencoder.model = vae.to(dtype)
    with pytest.raises(NotFinite, match=r"the VAE .* gives values that are not finite") as caught:
        pipeline("a red circle", num_inference_steps=1)
    assert ("fp32" in caught.value.hint) == (dtype is torch.float16)


def test_a_frame_that_the_vae_cannot_take_is_not_refined() -> None:
    pipeline = small_pipeline()
    vae = AutoencoderKL.from_pretrained(embedded.VAE)
    with torch.no_grad():
        vae.quant_conv.bias.fill_(math.nan)
    pipeline.autoencoder.model = vae
    with pytest.raises(NotFinite, match="the VAE"):
        pipeline.refine(torch.zeros(2, 64, 64, 3, dtype=torch.uint8), "a", strength=0.5, num_inference_steps=2)


def test_a_text_encoder_that_gives_no_numbers_is_named(tmp_path: Path) -> None:
    shutil.copytree(embedded.CLIP, tmp_path / "clip")
    spoil(tmp_path / "clip/model.safetensors", math.nan, everywhere=True)
    path = save_small_checkpoint(tmp_path).path
    info = json.loads((path / "trainer.json").read_text())
    info["text"]["encoder"]["sha256"] = ""
    write_json(path / "trainer.json", info)
    (path / MANIFEST).unlink()
    seal(path, {})
    ended = through_the_door(tmp_path, "generate", text_encoder=str(tmp_path / "clip"), **PROMPT, **QUICK)
    assert f"the text encoder {tmp_path / 'clip'} gives values that are not finite" in failed(ended)


def test_a_score_is_a_number_or_an_error(tmp_path: Path) -> None:
    make_set(ShapesSpec(data=Path("data"), clips=2, test_clips=2), job_here(tmp_path))
    save_small_checkpoint(tmp_path)
    shutil.copytree(embedded.CLIP, tmp_path / "clip")
    model = CLIPModel.from_pretrained(embedded.CLIP)
    with torch.no_grad():
        model.visual_projection.weight.fill_(math.inf)
    model.save_pretrained(tmp_path / "clip")
    values: dict[str, Any] = {"data": "data", "prompts": 2, "seeds": 1, "scorer": str(tmp_path / "clip")}
    assert "gives values that are not finite" in failed(through_the_door(tmp_path, "evaluate", **values, **QUICK))


def test_every_file_of_json_that_is_written_is_json(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"value": 1.0})
    for value in BROKEN:
        with pytest.raises(NotFinite, match=r"a\.json is not written"):
            write_json(file, {"deep": [{"value": value}]})
    assert json.loads(file.read_text()) == {"value": 1.0}


def test_scores_are_written_as_json_that_every_reader_takes(tmp_path: Path) -> None:
    """An untrained model shows nothing that could be followed, so that there is no jitter to measure."""
    make_set(ShapesSpec(data=Path("data"), clips=2, test_clips=4), job_here(tmp_path))
    save_small_checkpoint(tmp_path)
    ended = through_the_door(tmp_path, "evaluate", data="data", prompts=4, seeds=1, **QUICK)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    scores = json.loads(Path(ended.done["scores"]).read_text(), parse_constant=refuse)["scores"]
    assert scores["clip_generated"]["value"] is not None


# The stored latents


@pytest.mark.parametrize(("kind", "checksums"), [*itertools.product(["latents", "text_embeddings"], [False, True])])
def test_the_doctor_finds_stored_values_that_are_no_numbers(kind: str, checksums: bool, tmp_path: Path) -> None:
    shutil.copytree(data_set(), tmp_path / "data")
    dataset = Dataset(tmp_path / "data")

    def look() -> list[State]:
        found = examine_dataset(dataset, PreprocessSpec(), "t2v preprocess", checksums=checksums)
        return [check.state for check in found]

    assert look() == [State.GOOD, State.GOOD]
    shard = next((dataset.root / kind / "train").glob("shard-*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-2:] = b"\xff\x7f"  # a NaN of half precision
    shard.write_bytes(data)
    if checksums:
        _fit_manifest(shard.parent)
    assert State.BAD in look()


def _fit_manifest(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).unlink()
    seal(folder, {})
    write_json(folder / MANIFEST, manifest | json.loads((folder / MANIFEST).read_text()))


def test_work_that_fails_for_it_says_so_as_failed_work() -> None:
    assert issubclass(NotFinite, WorkFailed)
    assert NotFinite.exit_code == 1
