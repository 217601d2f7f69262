"""A trained flow model becomes a flow map: from there in as many passes as one likes, and resumable as any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.engine import events_of, job_here
from support.engine.training_set import asked, differing
from torch import Tensor

from t2v_core.assemble import find_checkpoint, load_pipeline, suited
from t2v_core.checkpoints.checkpoints import latest_checkpoint
from t2v_core.diffusion.samplers import FlowEulerSampler, FlowMapSampler, choose_sampler
from t2v_core.errors import InvalidRequest
from t2v_core.models.conditioning import Conditioning
from t2v_core.models.denoisers.flow_map import FlowMapTransformer
from t2v_core.models.denoisers.video_transformer import VideoTransformer
from t2v_core.specs import GenerateSpec, RefineSpec, make_spec
from t2v_core.training.distillation.paths import Paths, Spans
from t2v_core.verbs.train import train

TINY: dict[str, Any] = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "mlp_ratio": 2, "patch_size": 2,
                        "sample_size": 8, "num_frames": 4, "text_dim": 8, "pooled_dim": 8, "block": "adaln",
                        "attention": "joint"}  # fmt: skip


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of flow that was trained for three steps."""
    return trained(tmp_path_factory.mktemp("teacher"), max_steps=3, held_out_clips=0)


def trained(root: Path, **values: Any) -> Path:
    result = train(make_spec("train", asked(**values)), job_here(root))  # type: ignore[arg-type]
    return root / result.checkpoint


def distilled(root: Path, teacher: Path, **values: Any) -> Path:
    asked_for = {name: value for name, value in asked(**values).items() if name not in ("preset", "epochs")}
    result = train(make_spec("train", asked_for | {"distill": str(teacher)}), job_here(root))  # type: ignore[arg-type]
    return root / result.checkpoint


def inputs(seed: int = 0) -> tuple[Tensor, Tensor, None, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    latents, text, pooled = (torch.randn(s, generator=generator) for s in ((3, 4, 4, 8, 8), (3, 5, 8), (3, 8)))
    return latents, text, None, pooled


def test_before_it_is_distilled_it_answers_as_its_teacher_whatever_time_it_goes_to() -> None:
    torch.manual_seed(0)
    teacher, student = VideoTransformer(**TINY), FlowMapTransformer(**TINY)
    torch.nn.init.normal_(teacher.output_proj.weight)
    student.begin_as(teacher.state_dict())
    latents, *prompt = inputs()
    at = torch.tensor([1000.0, 500.0, 20.0])
    answer = teacher(latents, at, *prompt)
    assert torch.equal(student(latents, at, *prompt), answer)
    assert torch.equal(student(latents, torch.stack([at, at / 3], dim=-1), *prompt), answer)
    student.end_gate.data.fill_(1.0)
    assert not torch.allclose(student(latents, torch.stack([at, at / 3], dim=-1), *prompt), answer)


def test_a_map_that_is_exact_gets_there_in_any_number_of_passes() -> None:
    """Along x_t = (1 + t²) · x_0 the mean velocity from t to r is (t² − r²) / (t − r) · x_0, and Euler's is not."""
    clean = torch.randn(1, 2, 4, 4, 4)
    for steps in (1, 2, 5, 16):
        for kind, is_exact in ((FlowMapSampler, True), (FlowEulerSampler, False)):
            sampler, x = kind(), 2 * clean
            sampler.set_timesteps(steps)
            for index in range(steps):
                t, *r = sampler.model_time(index).div(1000).reshape(-1)
                x = sampler.step((t + (r[0] if r else t)) * clean, index, x)
            assert torch.allclose(x, clean, atol=1e-5) == is_exact, (kind, steps)


def test_spans_are_the_passes_of_videos_in_one_to_sixteen_of_them() -> None:
    spans = Spans.drawn(4000, torch.Generator().manual_seed(0))
    passes = 1 / (spans.begin - spans.end)
    assert torch.allclose(passes, passes.round(), atol=1e-3)
    assert {int(one) for one in passes.round()} == set(range(1, 17))
    number = (1 - spans.begin) * passes
    assert torch.allclose(number, number.round(), atol=1e-3)
    assert bool((spans.end >= 0).all() and (spans.begin <= 1).all())
    assert 0.4 < float((passes.round() <= 4).float().mean()) < 0.6


def test_a_path_goes_through_its_points_and_follows_a_cubic_exactly_between_them() -> None:
    """x(σ) = σ³ · a + (1 − σ) · b, whose velocity is 3σ² · a − b."""
    a, b = torch.randn(2, 3, 2, 4, 2, 2)
    sigmas = torch.tensor([1.0, 0.7, 0.3, 0.0])
    points = sigmas.reshape(-1, 1, 1, 1, 1, 1)
    nothing = Conditioning(torch.zeros(3, 1, 2), torch.ones(3, 1, dtype=torch.bool), torch.zeros(3, 2))
    paths = Paths(sigmas, points**3 * a + (1 - points) * b, 3 * points**2 * a - b, nothing, ("x", "y", "z"))
    clips, at = torch.tensor([2, 0, 1, 1, 0]), torch.tensor([1.0, 0.85, 0.3, 0.1, 0.0])
    wide = at.reshape(-1, 1, 1, 1, 1)
    assert torch.allclose(paths.at(clips, at), wide**3 * a[clips] + (1 - wide) * b[clips], atol=1e-5)


def test_the_same_paths_serve_a_stretch_of_steps_also_after_it_was_resumed(
    tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("t2v_core.training.distill.BATCHES", 1)
    monkeypatch.setattr("t2v_core.training.distill.USES", 4)
    made: list[Paths] = []
    of = Paths.of
    monkeypatch.setattr(Paths, "of", lambda *asked: made.append(of(*asked)) or made[-1])
    distilled(tmp_path, teacher, max_steps=2, held_out_clips=0)
    trained_on(tmp_path, max_steps=5)
    assert len(made) == 3
    assert torch.equal(made[0].places, made[1].places)
    assert not torch.equal(made[1].places, made[2].places)
    assert made[0].places[-1].std() != made[0].places[0].std()


def test_a_distillation_is_a_training_that_resumes_to_the_bit(tmp_path: Path, teacher: Path) -> None:
    settings: dict[str, Any] = {"lr_schedule": "constant", "warmup_steps": 0}  # any other depends on the last step
    whole = distilled(tmp_path / "whole", teacher, max_steps=4, **settings)
    distilled(tmp_path / "parts", teacher, max_steps=2, **settings)
    parts = trained_on(tmp_path / "parts", max_steps=4)
    assert differing(whole, parts) == []
    info = find(tmp_path / "whole").info
    assert (info["model"]["class"], info["sampler"]["class"]) == ("FlowMapTransformer", "FlowMapSampler")
    assert (info["spec"]["preset"], info["spec"]["attention"], info["spec"]["objective"]) == (
        "tiny", "joint+temporal", "flow",
    )  # fmt: skip
    assert info["spec"]["learning_rate"] == 1e-3


def trained_on(root: Path, **values: Any) -> Path:
    result = train(make_spec("train", {"resume": True, **values}), job_here(root))  # type: ignore[arg-type]
    return root / result.checkpoint


def find(root: Path) -> Any:
    checkpoint = latest_checkpoint(root / "checkpoints")
    assert checkpoint is not None
    return checkpoint


def test_training_brings_the_map_nearer_to_where_its_teacher_gets(tmp_path: Path, teacher: Path) -> None:
    distilled(tmp_path, teacher, max_steps=33, checkpoint_every=1, learning_rate=3e-3, warmup_steps=0, keep_best=9)
    events = [event for job in (tmp_path / "jobs").iterdir() for event in events_of(job)]
    far = [event["value"] for event in events if event["kind"] == "score"]
    assert far[-1] < far[0]


def test_it_is_sampled_in_four_passes_without_guidance_unless_somebody_asks(tmp_path: Path, teacher: Path) -> None:
    checkpoint = find(distilled(tmp_path, teacher, max_steps=1).parent.parent)
    warned: list[str] = []

    def warn(message: str, hint: str = "") -> None:
        warned.append(f"{message}; {hint}")

    spec = suited(GenerateSpec(prompt="a"), checkpoint, warn)
    assert (spec.steps, spec.guidance_scale, warned) == (4, 1.0, [])
    refining = suited(RefineSpec(input=Path("a"), output=Path("b"), prompt="a"), checkpoint, warn)
    assert (refining.steps, refining.guidance_scale) == (10, 1.0)
    assert suited(GenerateSpec(prompt="a", steps=9, guidance_scale=3), checkpoint, warn).steps == 9
    assert "was distilled with guidance built in: 3 on top overdoes it" in warned[0]
    pipeline = load_pipeline(checkpoint, device="cpu", precision="fp32")
    passes = []
    pipeline.denoiser.register_forward_hook(lambda _model, given, _answer: passes.append(given[1].tolist()))
    assert pipeline("a", num_inference_steps=2, guidance_scale=1).frames.shape == (1, 4, 32, 32, 3)
    assert passes == [[[1000.0, 500.0]], [[500.0, 0.0]]]


def test_what_does_not_fit_a_map_is_refused_with_a_way_out(tmp_path: Path, teacher: Path) -> None:
    for name in ("euler", "dpm++", "ddim"):
        with pytest.raises(InvalidRequest, match="does not fit this model, which predicts flow-map"):
            choose_sampler(FlowMapSampler(), name)
    with pytest.raises(InvalidRequest, match="the sampler map does not fit this model, which predicts flow"):
        choose_sampler(FlowEulerSampler(), "map")
    with pytest.raises(InvalidRequest, match="is of the preset tiny, and base was asked for"):
        train(make_spec("train", asked(distill=str(teacher), preset="base")), job_here(tmp_path))  # type: ignore[arg-type]
    noise = trained(tmp_path / "noise", max_steps=1, objective="epsilon", held_out_clips=0)
    with pytest.raises(InvalidRequest, match="cannot be distilled: it takes a transformer that was trained with"):
        distilled(tmp_path / "a", noise)
    map_ = distilled(tmp_path / "b", teacher, max_steps=1)
    with pytest.raises(InvalidRequest, match="is distilled already"):
        distilled(tmp_path / "c", map_)
    with pytest.raises(InvalidRequest, match="the latents of the data set are not like those that embedded was"):
        distilled(tmp_path / "d", Path("embedded"))


def test_a_distillation_goes_on_only_with_the_teacher_it_began_with(tmp_path: Path, teacher: Path) -> None:
    distilled(tmp_path, teacher, max_steps=1)
    other = trained(tmp_path / "other", max_steps=4, held_out_clips=0)
    with pytest.raises(InvalidRequest, match=r"distils another model than .* is now"):
        train(make_spec("train", {"resume": True, "distill": str(other), "max_steps": 2}), job_here(tmp_path))  # type: ignore[arg-type]


def test_the_shipped_model_goes_by_its_name(tmp_path: Path) -> None:
    spec = GenerateSpec(prompt="a", checkpoint=Path("embedded"))
    assert find_checkpoint(spec, job_here(tmp_path)).info["sampler"]["class"] == "FlowEulerSampler"
