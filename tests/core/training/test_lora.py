"""An adapter beside a trained model: it alone is trained and kept, resumes to the bit, and fits or says why not."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.engine.engine import events_of, job_here
from support.engine.training_set import asked, differing
from support.engine.warm_engine import begin, run_warm
from support.hosts.door import through_the_door

from t2v_core.assemble import build_denoiser, load_pipeline
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.data.video.decode import read_all_frames
from t2v_core.errors import InvalidRequest
from t2v_core.models.denoisers.attention import split_attention
from t2v_core.models.lora.asked import AskedLora, asked_loras
from t2v_core.specs import TrainSpec, make_spec
from t2v_core.training.resume import restore
from t2v_core.training.trained import trained as trained_parameters
from t2v_core.verbs.train import train

PROMPT = "a red circle moving left"


def trained(root: Path, **values: Any) -> Path:
    result = train(make_spec("train", values), job_here(root))  # type: ignore[arg-type]
    return root / result.checkpoint


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that was trained for a few steps."""
    return trained(tmp_path_factory.mktemp("base"), **asked(max_steps=5, held_out_clips=0, learning_rate=1e-2))


def beside(base: Path, /, **values: Any) -> dict[str, Any]:
    """A training of an adapter, as `spec.json` says it."""
    given = {name: value for name, value in asked().items() if name != "preset"}
    return given | {"base": str(base), "lora": True, "lora_rank": 4, "epochs": 2} | values


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    return trained(tmp_path_factory.mktemp("adapter"), **beside(base, lora_alpha=8))


def draw(workspace: Path, output: str, **values: Any) -> Any:
    given = {"prompt": PROMPT, "steps": 2, "device": "cpu", "output": output, "seed": 3}
    ended = through_the_door(workspace, "generate", **given | values)
    return read_all_frames(workspace / output).frames if ended.code == 0 else ended


def test_a_checkpoint_holds_the_adapter_and_nothing_of_its_base(adapter: Path, base: Path) -> None:
    tensors = load_file(adapter / "ema.safetensors")
    assert {name.partition(".")[0] for name in tensors} == {"denoiser"}
    assert all(name.endswith((".lora_A.weight", ".lora_B.weight")) for name in tensors)
    assert {min(tensor.shape) for tensor in tensors.values()} == {4}
    # To q, k, v and out, within frames, over time and to the text, in four layers.
    assert len(tensors) == 2 * 4 * 3 * 4
    assert (adapter / "model.safetensors").stat().st_size < (base / "model.safetensors").stat().st_size / 4
    info = json.loads((adapter / "trainer.json").read_text())
    assert info["adapter"] == {"rank": 4, "alpha": 8.0, "targets": ["attention"], "dropout": 0.0}
    assert (info["spec"]["preset"], info["spec"]["objective"], info["spec"]["attention"]) == (
        "tiny", "flow", "joint+temporal",
    )  # fmt: skip


def test_layers_of_their_own_for_queries_keys_and_values_change_no_answer(base: Path) -> None:
    checkpoint = open_checkpoint(base)
    model = build_denoiser(checkpoint.info["model"], checkpoint.weights("ema"), "base").eval()
    generator = torch.Generator().manual_seed(0)
    config: Any = model.config
    latents = torch.randn(2, config.num_frames, config.in_channels, *[config.sample_size] * 2, generator=generator)
    text = torch.randn(2, 5, config.text_dim, generator=generator)
    pooled = torch.randn(2, config.pooled_dim, generator=generator)
    given = (latents, torch.tensor([900.0, 20.0]), text, None, pooled)
    with torch.no_grad():
        before = model(*given)
        split_attention(model)
        assert torch.allclose(model(*given), before, atol=1e-6)
    assert not any(name.endswith("in_proj_weight") for name, _ in model.named_parameters())


def test_what_is_saved_and_loaded_answers_as_what_was_trained(base: Path, tmp_path: Path) -> None:
    job = job_here(tmp_path)
    path = trained(tmp_path, **beside(base, lora_targets="all", lora_alpha=2.5))
    run = restore(TrainSpec.model_validate({"resume": True}), job)
    ours = run.plain_model.eval()
    theirs = load_pipeline(open_checkpoint(path), device="cpu", precision="fp32", weights="raw").denoiser
    batch = run.store.latents([0, 1])
    null = run.store.null_prompt
    given = (batch, torch.tensor([700.0, 300.0]), null.tokens.expand(2, -1, -1), None, null.pooled.expand(2, -1))
    with torch.no_grad():  # memory that is aligned otherwise may round otherwise
        assert torch.allclose(ours(*given), theirs(*given), atol=1e-6)
    loaded = dict(theirs.named_parameters())
    for name, parameter in trained_parameters(ours).items():
        assert torch.equal(parameter, loaded[name.replace(".t2v.", ".lora0.")])


@pytest.mark.parametrize("settings", [{}, {"lora_dropout": 0.3, "lora_targets": "to_q,ff.0"}])
def test_it_resumes_to_the_bit(tmp_path: Path, base: Path, settings: dict[str, Any]) -> None:
    torch.manual_seed(1)
    whole = trained(tmp_path / "whole", **beside(base, max_steps=4, **settings))
    trained(tmp_path / "parts", **beside(base, max_steps=2, **settings))
    torch.manual_seed(2)
    parts = trained(tmp_path / "parts", resume=True, max_steps=4)
    assert differing(whole, parts) == []


def test_killed_it_resumes_to_the_bit(tmp_path: Path, base: Path) -> None:
    settings = beside(base, epochs=3, lora_dropout=0.1)
    child = begin(tmp_path, "train", **settings)
    child.wait_for(lambda event: event["kind"] == "checkpoint")
    child.signal(signal.SIGKILL)
    assert child.end().code == -signal.SIGKILL
    assert run_warm(tmp_path, "train", resume=True).code == 0
    assert run_warm(tmp_path, "train", **settings | {"checkpoints": "whole"}).code == 0
    name = "checkpoint_epoch_3"
    assert differing(tmp_path / "checkpoints" / name, tmp_path / "whole" / name) == []


def test_training_brings_the_loss_down(tmp_path: Path, base: Path) -> None:
    trained(tmp_path, **beside(base, epochs=4, learning_rate=2e-2, ema_decay=0.5))
    losses = [event["value"] for job in (tmp_path / "jobs").iterdir() for event in events_of(job)
              if event["kind"] == "score"]  # fmt: skip
    assert losses[-1] < 0.97 * losses[0]


def test_the_newest_checkpoint_is_drawn_from_beside_its_base(adapter: Path, base: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, tmp_path / "checkpoints" / adapter.name)
    as_latest = draw(tmp_path, "a.mp4")
    named = draw(tmp_path, "b.mp4", checkpoint=str(base), lora=f"{adapter}")
    alone = draw(tmp_path, "c.mp4", checkpoint=str(base))
    nothing = draw(tmp_path, "d.mp4", checkpoint=str(base), lora=f"{adapter}:0")
    assert (as_latest == named).all()
    assert (alone == nothing).all()
    assert (as_latest != alone).any()
    settings = json.loads((tmp_path / "b.json").read_text())
    assert settings["spec"]["lora"] == str(adapter)


def test_several_add_up_each_with_its_scale(adapter: Path, base: Path) -> None:
    checkpoint = open_checkpoint(base)

    def answers(*loras: AskedLora) -> torch.Tensor:
        model = load_pipeline(checkpoint, device="cpu", precision="fp32", loras=loras).denoiser
        config: Any = model.config
        x = torch.ones(1, config.num_frames, config.in_channels, *[config.sample_size] * 2)
        null = model.null_tokens[None], None, model.null_pooled[None]
        with torch.no_grad():
            return model(x, torch.tensor([500.0]), *null)

    once, twice = answers(AskedLora(adapter)), answers(AskedLora(adapter, 2.0))
    assert torch.allclose(answers(AskedLora(adapter, 0.5), AskedLora(adapter, 0.5)), once, atol=1e-5)
    assert not torch.allclose(once, twice, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.safetensors", [("a.safetensors", 1.0)]),
        ("a:0.5, b/c:2", [("a", 0.5), ("b/c", 2.0)]),
        ("at:noon/x", [("at:noon/x", 1.0)]),
        ("a:-1", [("a", -1.0)]),
    ],
)
def test_files_and_scales_are_told_apart(text: str, found: list[tuple[str, float]]) -> None:
    assert [(str(one.path), one.scale) for one in asked_loras(text, lambda path: path)] == found


@pytest.mark.parametrize("text", ["a:much", "a:nan", ":1", "a:1e9"])
def test_a_scale_that_is_none_is_one_sentence(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"--lora .* is not a scale"):
        asked_loras(text, lambda path: path)


def changed(adapter: Path, to: Path, **changes: Any) -> Path:
    """The file of an adapter with some of its tensors changed, or another header."""
    tensors = load_file(adapter / "ema.safetensors")
    save_file(changes.get("tensors", lambda same: same)(tensors), to, metadata=changes.get("metadata"))
    return to


def test_what_is_no_adapter_of_the_model_is_one_sentence(adapter: Path, base: Path, tmp_path: Path) -> None:
    whole = (adapter / "ema.safetensors").read_bytes()
    (tmp_path / "torn.safetensors").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.safetensors").write_text("no tensors at all")
    (tmp_path / "empty").mkdir()
    first = sorted(load_file(adapter / "ema.safetensors"))[1]
    files = {
        "there is no LoRA at": tmp_path / "nowhere.safetensors",
        "is damaged, or no safetensors file": tmp_path / "torn.safetensors",
        "text.safetensors is damaged, or no": tmp_path / "text.safetensors",
        "holds no LoRA: there is no ema.safetensors": tmp_path / "empty",
        "holds no LoRA that t2v can use: none of its": base,
        "it was trained for Wan, and the model is t2v": changed(
            adapter, tmp_path / "a.safetensors", metadata={"t2v": '{"family": "Wan"}'}
        ),
        "is for a layer of 97 → 96, that of the model is 96 → 96": changed(
            adapter, tmp_path / "b.safetensors", tensors=lambda same: widened(same, "lora_A")
        ),
        "should take 4 numbers, and is": changed(
            adapter, tmp_path / "c.safetensors", tensors=lambda same: widened(same, "lora_B")
        ),
        "is a layer that it lacks, and the model is t2v": changed(
            adapter,
            tmp_path / "d.safetensors",
            tensors=lambda same: {name.replace("blocks.", "layers."): value for name, value in same.items()},
        ),
        "is of a part that it lacks": changed(
            adapter,
            tmp_path / "e.safetensors",
            tensors=lambda same: {name.replace("denoiser.", "transformer."): value for name, value in same.items()},
        ),
        "holds values that are not finite": changed(
            adapter, tmp_path / "f.safetensors", tensors=lambda same: same | {first: same[first] / 0}
        ),
    }
    for sentence, file in files.items():
        ended = draw(tmp_path, "out.mp4", checkpoint=str(base), lora=str(file))
        assert ended.code == 2, sentence
        assert sentence in ended.sentence
        assert ended.error["hint"]
    assert not (tmp_path / "out.mp4").exists()


def widened(tensors: dict[str, torch.Tensor], side: str) -> dict[str, torch.Tensor]:
    return {
        name: torch.cat([value, value[:, :1]], 1) if side in name else value.contiguous()
        for name, value in tensors.items()
    }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"base": None}, "--lora trains an adapter beside a model that is trained already, and none is named"),
        ({"lora": False}, "--lora-rank is of an adapter, and none is trained"),
        ({"preset": "base"}, "was trained with --preset tiny, and base was asked for"),
        ({"objective": "v"}, "was trained with --objective flow, and v was asked for"),
        ({"lora_targets": "to_qq"}, "no layer of this model is called to_qq"),
        ({"base": "nowhere"}, "there is no checkpoint at"),
        ({"base": "embedded"}, "the latents of the data set are not like those that embedded was trained on"),
        ({"distill": "embedded"}, "a distillation has its own model to start from"),
    ],
)
def test_a_training_that_makes_no_sense_is_one_sentence(
    tmp_path: Path, base: Path, changes: dict[str, Any], sentence: str
) -> None:
    given = {name: value for name, value in beside(base, **changes).items() if value is not None}
    with pytest.raises(InvalidRequest) as caught:
        trained(tmp_path, **given)
    assert sentence in caught.value.message
    assert caught.value.hint


def test_it_goes_on_only_beside_the_weights_it_began_with(tmp_path: Path, base: Path) -> None:
    own = shutil.copytree(base, tmp_path / "own")
    trained(tmp_path, **beside(own, max_steps=1))
    other = trained(tmp_path / "other", **asked(max_steps=2, held_out_clips=0))
    with pytest.raises(InvalidRequest, match="goes on from another model than"):
        trained(tmp_path, resume=True, base=str(other), max_steps=2)
    with pytest.raises(InvalidRequest, match="lora_rank was 4, now 8"):
        trained(tmp_path, resume=True, lora_rank=8)
    shutil.rmtree(own)
    (adapter,) = (tmp_path / "checkpoints").iterdir()
    ended = draw(tmp_path, "out.mp4")
    assert ended.sentence.startswith(f"{adapter} is an adapter, and the model that it lies beside is not here: own")
    with pytest.raises(InvalidRequest, match="is an adapter, and no model of its own"):
        trained(tmp_path, **beside(adapter, checkpoints="again"))


def test_without_lora_all_of_the_base_is_trained(tmp_path: Path, base: Path) -> None:
    given = {name: value for name, value in beside(base, max_steps=1).items() if not name.startswith("lora")}
    path = trained(tmp_path, **given, held_out_clips=0)
    before, after = (load_file(folder / "model.safetensors") for folder in (base, path))
    assert before.keys() == after.keys()
    assert draw(tmp_path, "out.mp4").shape[0] == 4
    parameters = dict(load_pipeline(open_checkpoint(path), device="cpu", precision="fp32").denoiser.named_parameters())
    assert all(not torch.equal(before[name], after[name]) for name in list(parameters)[:3])


def test_convolutions_take_one_too(tmp_path: Path) -> None:
    base = trained(tmp_path / "base", **asked(preset="unet3d-tiny", max_steps=1, held_out_clips=0))
    trained(tmp_path, **beside(base, max_steps=1))
    assert draw(tmp_path, "out.mp4").shape[0] == 4
