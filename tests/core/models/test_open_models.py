"""Open models: our loop makes what each family's official pipeline makes, from folders as the hub has them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from support.engine.open_models import MODELS, save_open_model
from torch import Tensor

from t2v_core.diffusion.guidance import Guidance
from t2v_core.diffusion.open_pipeline import OpenPipeline
from t2v_core.errors import InvalidRequest
from t2v_core.models.live_bytes import LiveBytes
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.families import open_model
from t2v_core.models.open.finding import find_open_model
from t2v_core.models.open.memory.footprint import footprint
from t2v_core.models.open.parts import Placing

CPU = Placing(torch.device("cpu"), torch.float32)
PROMPT, STEPS = "a red circle moving left", 4
# Of each family, frames that it takes.
FRAMES = {"mochi": 7}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("open")
    return {name: save_open_model(name, root / name) for name in MODELS}


def pipeline_of(folder: Path, **changes: Any) -> OpenPipeline:
    model = open_model(folder, CPU)
    return OpenPipeline(model, FRAMES.get(folder.name, 9), (32, 32), **changes)


def official(folder: Path, noise: Tensor, guidance: float) -> Tensor:
    """The latents that the family's own pipeline makes of noise (1, frames, channels, h, w), in that order."""
    pipeline = getattr(diffusers, open_model(folder, CPU).pipeline).from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    model = open_model(folder, CPU)
    given: dict[str, Any] = {"latents": noise.transpose(1, 2), "max_sequence_length": model.text_length}
    if model.name == "CogVideoX":
        given["latents"] = noise
    if model.name == "LTX-Video":
        given["latents"] = pipeline._pack_latents(given["latents"], 1, 1)
    made = pipeline(
        prompt=PROMPT, height=32, width=32, num_frames=FRAMES.get(folder.name, 9), num_inference_steps=STEPS,
        guidance_scale=guidance, output_type="latent", return_dict=False, **given,
    )[0]  # fmt: skip
    if model.name == "LTX-Video":
        made = pipeline._unpack_latents(made, *noise.shape[1:2], *noise.shape[3:], 1, 1)
    return made if model.name == "CogVideoX" else made.transpose(1, 2)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("name", MODELS)
def test_our_loop_makes_what_the_official_pipeline_makes(folders: dict[str, Path], name: str, guidance: float) -> None:
    ours = pipeline_of(folders[name])
    noise = torch.randn(1, *ours.latent_shape, generator=torch.Generator().manual_seed(5))
    ours.set_steps(STEPS)
    made = ours.denoise(noise, [PROMPT], 0, Guidance(guidance))
    theirs = official(folders[name], noise, guidance)
    assert made.shape == theirs.shape
    assert (made - theirs).abs().max() <= 1e-5
    assert (made - noise).abs().max() > 0.1


@pytest.mark.parametrize(
    ("name", "sampler"), [("wan", "dpm++"), ("wan", "euler"), ("ltx", "dpm++"), ("cogvideox", "dpm++")]
)
def test_our_other_samplers_go_to_the_same_place(folders: dict[str, Path], name: str, sampler: str) -> None:
    """In many steps: by another way, from the same noise."""
    ours, other = pipeline_of(folders[name]), pipeline_of(folders[name], sampler=sampler)
    noise = torch.randn(1, *ours.latent_shape, generator=torch.Generator().manual_seed(5))
    made = []
    for pipeline in (ours, other):
        pipeline.set_steps(40)
        made.append(pipeline.denoise(noise, [PROMPT], 0, Guidance(1.0)))
    assert (made[0] - made[1]).square().mean().sqrt() < 0.1 * made[0].std()


@pytest.mark.parametrize("name", MODELS)
def test_what_a_part_holds_at_work_is_reckoned_from_its_configuration(folders: dict[str, Path], name: str) -> None:
    """Held beside what a real pass holds."""
    model, frames = open_model(folders[name], CPU), 13
    need = footprint(model, frames, 64, 64)
    frames, channels, rows, columns = model.latent_shape(frames, 64, 64)
    x, text = torch.randn(1, channels, frames, rows, columns), model.text([PROMPT])
    transformer, vae = model.parts.use("transformer"), model.parts.use("vae")
    with torch.no_grad(), LiveBytes([*transformer.parameters(), *transformer.buffers(), x, text.tokens]) as sampling:
        model.forward(transformer, x, torch.full((1,), 500.0), text, 1.0)
    with LiveBytes([*vae.parameters(), *vae.buffers(), x]) as decoding:
        model.decode(x.transpose(1, 2))
    assert need.sampling == pytest.approx(sampling.peak, rel=0.05)
    assert need.decoding == pytest.approx(decoding.peak, rel=0.05)
    assert need.weights["transformer"] == sum(p.numel() for p in transformer.parameters()) * 4


def held_by_decoding(model: OpenModel, frames: int, side: int) -> int:
    """By a real pass."""
    vae, latents = model.parts.use("vae"), torch.randn(1, *model.latent_shape(frames, side, side))
    with LiveBytes([*vae.parameters(), *vae.buffers(), latents]) as held:
        model.decode(latents)
    return held.peak


@pytest.mark.parametrize("name", ["wan", "cogvideox", "mochi", "hunyuan-video"])
def test_many_frames_of_a_vae_are_told_from_fewer(folders: dict[str, Path], name: str) -> None:
    """29 frames of latents, told from 5 and 11; a VAE takes one, two, all or three at a time."""
    model = open_model(folders[name], CPU)
    frames, side = 28 * model.ratios[0] + 1, model.side_step
    assert footprint(model, frames, side, side).decoding == pytest.approx(
        held_by_decoding(model, frames, side), rel=0.1
    )


@pytest.mark.parametrize("name", ["wan", "ltx", "cogvideox"])
def test_tiles_of_a_vae_are_told_from_the_whole_picture(folders: dict[str, Path], name: str) -> None:
    model = open_model(folders[name], replace(CPU, tiling=True))
    frames, tile = 4 * model.ratios[0] + 1, 4 * model.ratios[1]
    for vae in (model.parts.empty("vae"), model.parts.use("vae")):
        of_cogvideox = {"tile_latent_min": 4, "tile_overlap_factor": 0.25}
        for key, value in {"tile_sample_min": tile, "tile_sample_stride": tile * 3 // 4, **of_cogvideox}.items():
            for direction in ("height", "width"):
                if hasattr(vae, f"{key}_{direction}"):
                    setattr(vae, f"{key}_{direction}", value)
    need, held = footprint(model, frames, 3 * tile, 3 * tile), held_by_decoding(model, frames, 3 * tile)
    assert need.tiled == pytest.approx(held, rel=0.1)


def test_only_the_part_that_works_is_kept_and_text_encoders_are_let_go(folders: dict[str, Path]) -> None:
    model = open_model(folders["wan-experts"], replace(CPU, offload="model"))
    pipeline = OpenPipeline(model, 5, (32, 32))
    made = pipeline.draw([PROMPT], frames=2, steps=4, guidance=Guidance(1.0))
    assert {"transformer", "transformer_2"} <= model.parts.loaded.keys()
    assert "text_encoder" not in model.parts.loaded
    whole = OpenPipeline(open_model(folders["wan-experts"], CPU), 5, (32, 32))
    assert torch.equal(made, whole.draw([PROMPT], frames=2, steps=4, guidance=Guidance(1.0)))
    assert "text_encoder" in whole.model.parts.loaded


@pytest.mark.parametrize("name", MODELS)
def test_frames_and_sides_that_a_family_cannot_take_get_the_nearest(folders: dict[str, Path], name: str) -> None:
    model = open_model(folders[name], CPU)
    step, side = model.ratios[0], model.side_step
    model.require_shape(step + 1, side, 3 * side)
    with pytest.raises(InvalidRequest, match=f"makes 1, {step + 1}") as frames:
        model.require_shape(step + 2, side, side)
    assert frames.value.hint == f"use --frames {step + 1}"
    with pytest.raises(InvalidRequest, match=f"multiple of {side}") as sides:
        model.require_shape(1, side, 2 * side + 1)
    assert sides.value.hint == f"use --width {2 * side}"


def test_what_is_cached_is_found_by_its_hub_id_without_a_network(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "models--owner--wan"
    shutil.copytree(folders["wan"], cached / "snapshots" / "abc123")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc123")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    assert find_open_model("owner/wan") == cached / "snapshots" / "abc123"
    (cached / "snapshots" / "abc123" / "vae" / "config.json").unlink()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InvalidRequest, match=r"is here only in part \(vae/config.json is missing\) and cannot"):
        find_open_model("owner/wan")
