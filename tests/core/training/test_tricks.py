"""Tricks of training: each acts on what its paper says and on nothing else, and resumes to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.engine.engine import job_here
from support.engine.training_set import asked, differing, make_run
from torch import Tensor, nn
from torch.nn import functional

from t2v_core.data.store.batches import generator_for, load_batch
from t2v_core.errors import InvalidRequest
from t2v_core.models.denoisers.video_transformer import VideoTransformer
from t2v_core.specs import make_spec
from t2v_core.training.tricks import layer_sync, token_route
from t2v_core.training.tricks.layer_sync import LayerSync
from t2v_core.training.tricks.power_averages import LENGTHS, PowerAverages, snapshots
from t2v_core.training.tricks.profiles import gamma_of, proportions
from t2v_core.training.tricks.synthesis import synthesised
from t2v_core.training.tricks.token_route import TokenRoute
from t2v_core.verbs.sharing.export import export
from t2v_core.verbs.train import train

CPU = torch.device("cpu")


def transformer() -> VideoTransformer:
    """Four layers that all do something, over 16 places in 4 frames."""
    torch.manual_seed(0)
    model = VideoTransformer(
        sample_size=8, num_frames=4, patch_size=2, hidden_size=16, num_layers=4, num_heads=2, mlp_ratio=2,
        text_dim=8, pooled_dim=8, block="adaln", attention="joint+temporal",
    )  # fmt: skip
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


def given(seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    latents, text, pooled = (torch.randn(s, generator=generator) for s in ((3, 4, 4, 8, 8), (3, 5, 8), (3, 8)))
    return latents, torch.tensor([900.0, 400.0, 30.0]), text, torch.ones(3, 5, dtype=torch.bool), pooled


def gradients(model: VideoTransformer) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def drawn_route(model: VideoTransformer, share: float) -> TokenRoute:
    route = TokenRoute(model, share)
    route.draw(3, generator_for(0, "test"), CPU)
    return route


# LayerSync


def test_the_paper_s_layers_and_their_share_of_others() -> None:
    assert [layer_sync.chosen_layers(count) for count in (28, 12, 4, 2)] == [(7, 15), (2, 6), (0, 1), (0, 1)]


def test_an_early_layer_is_drawn_to_a_later_one_which_is_not_moved() -> None:
    model = transformer()
    outputs: dict[int, Tensor] = {}
    for number in (0, 1):
        model.blocks[number].register_forward_hook(lambda _m, _g, out, number=number: outputs.update({number: out}))
    sync = LayerSync(model, 0.2)
    model(*given())
    said = dict(outputs)
    with torch.no_grad():  # a sample within the step is not learned from
        model(*given(seed=1))
    loss = sync.loss()
    assert torch.allclose(loss, -0.2 * functional.cosine_similarity(said[0], said[1], dim=-1).mean())
    loss.backward()
    reached = {name for name, gradient in gradients(model).items() if bool(gradient.any())}
    assert any(name.startswith("blocks.0.ff") for name in reached)
    assert {"input_proj.weight", "pos_embed", "text_proj.weight"} <= reached
    assert not any(name.startswith(("blocks.1", "blocks.2", "blocks.3", "output_proj")) for name in reached)


# TREAD


def test_the_paper_s_route_and_its_share_of_other_depths() -> None:
    assert [token_route.chosen_layers(count) for count in (28, 12, 4, 3)] == [(2, 23), (2, 7), (1, 2), (1, 1)]


def test_a_route_of_no_tokens_is_the_model_to_the_last_bit() -> None:
    answers, grown = [], []
    for share in (None, 0.0):
        model = transformer()
        if share is not None:
            drawn_route(model, share)
        answer = model(*given())
        answer.square().mean().backward()
        answers.append(answer)
        grown.append(gradients(model))
    assert torch.equal(*answers)
    assert grown[0].keys() == grown[1].keys()
    assert all(torch.equal(grown[0][name], grown[1][name]) for name in grown[0])


def test_half_of_the_places_go_past_the_middle_layers_and_join_as_they_were() -> None:
    model, seen = transformer(), {}
    for number, block in enumerate(model.blocks):
        block.register_forward_hook(lambda _m, _g, out, number=number: seen.update({number: out}))
    drawn_route(model, 0.5)
    model(*given())
    # The hooks above come before the route's own.
    assert [tuple(seen[number].shape[1:3]) for number in range(4)] == [(4, 16), (4, 8), (4, 8), (4, 16)]
    joined: list[Tensor] = []
    model.blocks[3].register_forward_pre_hook(lambda _m, given: joined.append(given[0]))
    model(*given())
    same = (joined[0] == seen[0]).all(-1).all(1)  # (batch, places): in all frames
    assert same.sum(1).tolist() == [8, 8, 8]
    assert not torch.equal(same[0], same[1])


def test_only_what_learns_takes_the_route() -> None:
    plain, routed = transformer(), transformer()
    drawn_route(routed, 0.5)
    with torch.no_grad():
        assert torch.equal(plain(*given()), routed(*given()))
    assert not torch.equal(plain(*given()), routed(*given()))


@pytest.mark.parametrize("trick", ["layer_sync", "token_route"])
def test_layers_that_are_computed_again_for_the_backward_pass_learn_the_same(trick: str) -> None:
    grown = []
    for is_saving in (False, True):
        model = transformer()
        if is_saving:
            model.enable_gradient_checkpointing()
        sync = LayerSync(model, 0.2) if trick == "layer_sync" else None
        if sync is None:
            drawn_route(model, 0.5)
        model.train()
        loss = model(*given()).square().mean()
        (loss if sync is None else loss + sync.loss()).backward()
        grown.append(gradients(model))
    assert all(torch.allclose(grown[0][name], grown[1][name], atol=1e-6) for name in grown[0])


# Averages of any length


def test_lengths_are_those_of_the_paper() -> None:
    assert gamma_of(0.05) == pytest.approx(16.97, abs=0.01)
    assert gamma_of(0.10) == pytest.approx(6.94, abs=0.01)
    shares = proportions([(100, gamma_of(0.05)), (100, gamma_of(0.1))], (100, gamma_of(0.1)))
    assert shares == pytest.approx([0, 1], abs=1e-6)


@pytest.mark.parametrize("length", [0.03, 0.07, 0.15])
def test_a_length_made_afterwards_is_the_average_that_would_have_been_kept(tmp_path: Path, length: float) -> None:
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(20, 20)
    kept = PowerAverages(model)
    direct, exponent = model.weight.detach().double().clone(), gamma_of(length) + 1
    for step in range(600):
        with torch.no_grad():
            model.weight += 0.1 * torch.randn(model.weight.shape, generator=generator)
        kept.update(model, step)
        direct.lerp_(model.weight.detach().double(), 1 - (1 - 1 / (step + 1)) ** exponent)
        if (step + 1) % 30 == 0:
            kept.keep(tmp_path, step + 1)
    made = synthesised(tmp_path, 600, length)["weight"].double()
    beside = min(float((average[0] - direct).norm()) for average in kept.averages.values())
    assert float((made - direct).norm()) < 0.1 * beside
    assert float((made - direct).norm() / (model.weight.detach() - direct).norm()) < 0.05


def test_an_export_has_the_length_that_was_asked_for(tmp_path: Path) -> None:
    checkpoint = trained(tmp_path, max_steps=6, power_averages=True)
    assert snapshots(tmp_path / "checkpoints") == [6]
    values = {"checkpoint": str(checkpoint), "folder": "out", "average_length": LENGTHS[1]}
    export(make_spec("export", values), job_here(tmp_path))  # type: ignore[arg-type]
    given_away = load_file(tmp_path / "out/denoiser/diffusion_pytorch_model.safetensors")
    kept = load_file(tmp_path / "checkpoints/averages/step_6.safetensors")
    name = "blocks.0.ff.0.weight"
    assert torch.allclose(given_away[name], kept[f"{LENGTHS[1]}/{name}"], atol=1e-5)
    assert not torch.equal(given_away[name], load_file(checkpoint / "ema.safetensors")[name])
    without = trained(tmp_path / "without", max_steps=1)
    with pytest.raises(InvalidRequest, match="has no averages up to step 1") as caught:
        export(make_spec("export", values | {"checkpoint": str(without)}), job_here(tmp_path / "without"))  # type: ignore[arg-type]
    assert "--power-averages" in caught.value.hint


def test_averages_of_another_run_are_not_mixed_with_new_ones(tmp_path: Path) -> None:
    checkpoint = trained(tmp_path, max_steps=1, power_averages=True)
    checkpoint.rename(tmp_path / "elsewhere")
    with pytest.raises(InvalidRequest, match="holds the averages of another run"):
        trained(tmp_path, max_steps=1, power_averages=True)


# Captions


def test_a_clip_s_first_captions_are_drawn_alone_where_so_many_are_asked_for(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for count, expected in ((1, {0}), (2, {0, 1}), (None, {0, 1, 2, 3})):
        batches = [load_batch(run.store, [0], 0, epoch, captions=count) for epoch in range(40)]
        drawn = {
            number
            for batch in batches
            for number, caption in enumerate(run.store.captions(0))
            if torch.equal(batch.prompts.tokens[0][batch.prompts.mask[0]], caption.tokens)
        }
        assert drawn == expected


# All of them


def trained(root: Path, **values: Any) -> Path:
    result = train(make_spec("train", asked(**values)), job_here(root))  # type: ignore[arg-type]
    return root / result.checkpoint


@pytest.mark.parametrize(
    "trick", [{"layer_sync": 0.2}, {"token_route": 0.5}, {"power_averages": True}, {"captions_per_clip": 1}]
)
def test_a_training_with_it_is_another_one_and_resumes_to_the_bit(tmp_path: Path, trick: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"lr_schedule": "constant", "warmup_steps": 0, "held_out_clips": 0}
    whole = trained(tmp_path / "whole", max_steps=13, **settings, **trick)
    trained(tmp_path / "parts", max_steps=5, **settings, **trick)
    result = train(make_spec("train", {"resume": True, "max_steps": 13}), job_here(tmp_path / "parts"))  # type: ignore[arg-type]
    assert differing(whole, tmp_path / "parts" / result.checkpoint) == []
    if "power_averages" in trick:
        files = [root / "checkpoints/averages/step_13.safetensors" for root in (tmp_path / "whole", tmp_path / "parts")]
        assert files[0].read_bytes() == files[1].read_bytes()
        return
    assert differing(whole, trained(tmp_path / "plain", max_steps=13, **settings))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"layer_sync": 0.2, "preset": "unet3d-tiny"}, "--layer-sync is for a transformer of t2v's own with 2 layers"),
        ({"token_route": 0.5, "preset": "unet3d-tiny"}, "--token-route is for a transformer of t2v's own with 3"),
        ({"layer_sync": 0.2, "token_route": 0.5}, "--layer-sync and --token-route exclude each other"),
        ({"token_route": 0.5, "distill": "embedded"}, "--token-route does not go with --distill"),
        ({"power_averages": True, "base": "embedded", "lora": True}, "--power-averages is for whole models"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_way_out(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as caught:
        trained(tmp_path, **values)
    assert "leave" in caught.value.hint
