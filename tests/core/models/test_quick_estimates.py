"""What an estimate leaves out to be quick: nothing of its figures, and nothing for whoever imports afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from diffusers import CogVideoXPipeline
from support.engine.open_models import MODELS, save_open_model
from support.hosts.door import through_the_door
from torch import nn

from t2v_core.models.open.cogvideox import CogVideoX
from t2v_core.models.open.families import open_model
from t2v_core.models.open.layout import TEXT
from t2v_core.models.open.memory.text_sizes import text_sizes
from t2v_core.models.open.parts import Placing
from t2v_core.models.open.quantizing import quantizable

CPU = Placing(torch.device("cpu"), torch.float32)
# Of the families' own text encoders, as published, and what their classes can say beside.
PUBLISHED: list[tuple[str, str, dict[str, Any]]] = [
    ("UMT5EncoderModel", "UMT5Config", {
        "vocab_size": 256384, "d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_layers": 24, "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
    }),
    ("T5EncoderModel", "T5Config", {
        "vocab_size": 32128, "d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_layers": 24, "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
    }),
    ("T5EncoderModel", "T5Config", {"feed_forward_proj": "relu"}),
    ("LlamaModel", "LlamaConfig", {
        "vocab_size": 128320, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8,
    }),
    ("LlamaModel", "LlamaConfig", {
        "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "head_dim": 24,
        "attention_bias": True, "mlp_bias": True,
    }),
    ("CLIPTextModel", "CLIPTextConfig", {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    }),
]  # fmt: skip
FIGURES = ("parts", "sampling_bytes", "decoding_bytes", "tiled_bytes", "ways")
ESTIMATE = """
import json, sys
from t2v_core.run_job import main
assert main(["estimate", sys.argv[1]]) == 0
loaded = {name for name in ("peft", "transformers", "accelerate") if sys.modules.get(name) is not None}
import diffusers, torch, torch._dynamo
assert torch._dynamo.is_compiling() is False
from diffusers.utils import USE_PEFT_BACKEND, is_peft_available, is_transformers_available
print(json.dumps([sorted(loaded), USE_PEFT_BACKEND and is_peft_available() and is_transformers_available()]))
"""


def counted(part: nn.Module) -> tuple[int, int]:
    return sum(one.numel() for one in part.parameters()), sum(one.weight.numel() for _, one in quantizable(part))


@pytest.mark.parametrize(("kind", "config", "said"), PUBLISHED)
def test_a_text_encoder_is_counted_as_if_it_were_built(kind: str, config: str, said: dict[str, Any]) -> None:
    made = getattr(transformers, config)(**said)
    with torch.device("meta"):
        part = getattr(transformers, kind)(made)
    sizes = text_sizes(kind, made.to_dict())
    assert sizes is not None
    assert (sizes.weights, sizes.inside) == counted(part)


@pytest.mark.parametrize("name", MODELS)
def test_so_is_that_of_every_family_as_it_is_saved(tmp_path: Path, name: str) -> None:
    parts = open_model(save_open_model(name, tmp_path / name), CPU).parts
    encoders = [part for part in TEXT if "encoder" in part and part in parts.names]
    assert encoders
    for part in encoders:
        sizes = text_sizes(parts.kind(part), parts.said(part))
        assert sizes is not None
        assert (sizes.weights, sizes.inside) == counted(parts.empty(part))


@pytest.mark.parametrize("said", [{}, {"d_model": "x"}, {"d_model": -4096}, {"d_model": True}, {"d_model": None}])
def test_what_says_no_numbers_is_built_instead(said: dict[str, Any]) -> None:
    whole = transformers.T5Config().to_dict()
    assert text_sizes("T5EncoderModel", whole | said if said else {}) is None
    assert text_sizes("T5GemmaEncoderModel", whole) is None


@pytest.mark.parametrize("size", [(9, 32, 32), (13, 32, 64), (9, 96, 32), (5, 64, 48)])
def test_positions_of_cogvideox_are_those_of_its_pipeline(tmp_path: Path, size: tuple[int, int, int]) -> None:
    model = open_model(save_open_model("cogvideox-5b", tmp_path / "model"), CPU)
    assert isinstance(model, CogVideoX)
    frames, _, rows, columns = model.latent_shape(*size)
    transformer = model.parts.use("transformer")
    pipeline = CogVideoXPipeline(None, None, model.parts.use("vae"), transformer, None)
    theirs = pipeline._prepare_rotary_positional_embeddings(*size[1:], frames, device=torch.device("cpu"))
    ours = model.rotary(transformer, torch.zeros(1, 4, frames, rows, columns))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def in_a_new_process(workspace: Path, before: str = "", **given: Any) -> tuple[dict[str, Any], list[str], bool]:
    """The last event of an estimate there, which packages it had imported, and whether diffusers finds all of them."""
    job = workspace / "jobs" / "new"
    job.mkdir(parents=True)
    (job / "spec.json").write_text(json.dumps(given))
    child = subprocess.run(
        [sys.executable, "-c", before + ESTIMATE, str(job)], capture_output=True, text=True, timeout=240, check=False
    )
    assert child.returncode == 0, child.stderr
    loaded, found = json.loads(child.stdout.splitlines()[-1])
    return json.loads((job / "events.jsonl").read_text().splitlines()[-1]), loaded, found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wan", "ltx", "cogvideox-5b", "mochi", "hunyuan-video"])
def test_an_estimate_that_imports_little_says_the_same(tmp_path: Path, name: str) -> None:
    folder = save_open_model(name, tmp_path / name)
    frames = 7 if name == "mochi" else 9
    given = {"model": str(folder), "gpu": "L4", "frames": frames, "height": 32, "width": 32, "probe": False}
    whole = through_the_door(tmp_path, "estimate", **given).done  # here everything is imported
    lean, loaded, found = in_a_new_process(tmp_path, **given)
    assert (loaded, found) == ([], True)
    assert {key: lean[key] for key in FIGURES} == {key: whole[key] for key in FIGURES}


@pytest.mark.slow
@pytest.mark.parametrize("why", ["another library", "another text encoder"])
def test_where_more_is_needed_more_is_imported(tmp_path: Path, why: str) -> None:
    folder = save_open_model("wan", tmp_path / "wan")
    given = {"model": str(folder), "gpu": "L4", "frames": 9, "height": 32, "width": 32, "probe": False}
    whole = through_the_door(tmp_path, "estimate", **given).done
    before = "from t2v_core.models import lean_imports\nlean_imports.COMMON = ('diffusers.models.of_the_future',)\n"
    if why == "another text encoder":
        before = "from t2v_core.models.open.memory import text_sizes\ntext_sizes.SIZES.clear()\n"
    lean, loaded, found = in_a_new_process(tmp_path, before, **given)
    assert ("transformers" in loaded, found) == (True, True)
    assert {key: lean[key] for key in FIGURES} == {key: whole[key] for key in FIGURES}
