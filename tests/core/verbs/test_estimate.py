"""`t2v estimate`: what a training takes, said before it takes it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.engine import job_here
from support.engine.training_set import asked, contents, data_set, make_run
from support.engine.warm_engine import begin
from support.hosts.door import EndedHere, through_the_door

from t2v_core import format as texts
from t2v_core.assemble import find_checkpoint, load_asked
from t2v_core.data.store.footprint import data_facts
from t2v_core.diffusion.guidance import Guidance
from t2v_core.errors import InvalidRequest
from t2v_core.events.estimated import DataFacts, Estimated
from t2v_core.events.open_estimated import OpenEstimated
from t2v_core.models.denoisers.by_name import make_denoiser
from t2v_core.models.live_bytes import LiveBytes
from t2v_core.settings import values_for
from t2v_core.specs import EstimateSpec, GenerateSpec, TrainSpec
from t2v_core.training.forecast.forecast import largest_batch, memory_of, pace_of_table
from t2v_core.training.forecast.gpus import GPUS, Gpu, find_gpu, gpu_of_device
from t2v_core.training.forecast.machines import other_machine
from t2v_core.training.forecast.memory import (  # fmt: skip
    DEPTH,
    StepMemory,
    StepShape,
    activations,
    parameter_count,
    simulate,
    step_memory,
)
from t2v_core.training.preflight import config_for, memory_advice, tell_before_training
from t2v_core.verbs.estimates.estimate import estimate as verb
from t2v_core.workspace import Dataset, Workspace
from t2v_tui.cli.engine.estimate import estimate_lines, open_lines
from t2v_tui.cli.main import main

FACTS = DataFacts(
    clips=100, shape=(4, 4, 16, 16), text_dim=64, pooled_dim=64, null_length=2, latents_bytes=0, text_bytes=0,
    is_preprocessed=True, source="",
)  # fmt: skip


def config_of(preset: str, **values: Any) -> dict[str, Any]:
    return config_for(TrainSpec.model_validate({"preset": preset} | values), FACTS)


def test_live_bytes_are_those_that_somebody_holds() -> None:
    before = torch.zeros(1000)
    with LiveBytes([before]) as alive:
        one = torch.zeros(100)  # 400 bytes
        view = one[:50]
        two = before + 1  # 4,000
        del two
        three = torch.zeros(500)  # 2,000
    assert alive.peak == 4400
    assert (len(view), len(three)) == (50, 500)


@pytest.mark.parametrize("preset", ["tiny", "unet3d-tiny"])
def test_the_count_of_parameters_is_the_model_s(preset: str) -> None:
    config = config_of(preset)
    with torch.device("meta"):
        model = make_denoiser(config)
    assert parameter_count(config) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("dtype", "checkpointing"), [(torch.float32, True), (torch.bfloat16, False)])
def test_two_short_stacks_tell_what_a_long_one_takes(dtype: torch.dtype, checkpointing: bool) -> None:
    config = config_of("tiny") | {DEPTH: 5}
    step = StepShape(2, dtype, checkpointing)
    assert activations(config, step).peak == pytest.approx(simulate(config, step).peak, rel=0.02)


@pytest.mark.parametrize("preset", ["tiny", "unet3d-tiny"])
def test_activations_grow_with_the_batch_and_shrink_with_half_precision_and_checkpointing(preset: str) -> None:
    config = config_of(preset)
    four, eight = (activations(config, StepShape(batch)).peak for batch in (4, 8))
    assert 1.8 < eight / four < 2.05
    assert activations(config, StepShape(8, torch.bfloat16)).peak < 0.8 * eight
    assert activations(config, StepShape(8, gradient_checkpointing=True)).peak < 0.8 * eight


def test_a_linear_layer_s_memory_is_what_paper_and_pencil_give() -> None:
    """The peak of a stack is at least what each block must keep: the input of each of its linear layers, once."""
    config = config_of("tiny")
    tokens = 4 * 8 * 8 * 8  # batch, frames … of the clip: (4 frames, 8 × 8 patches), batch 8
    kept = tokens * config["hidden_size"] * 4 * (1 + config["mlp_ratio"])  # of one feed-forward: its two inputs
    shorter, longer = (simulate(config | {DEPTH: depth}, StepShape(8)).peak for depth in (1, 2))
    assert kept < longer - shorter < 10 * kept


def test_gradients_and_activations_meet_only_when_steps_accumulate() -> None:
    memory = StepMemory(
        weights=10, gradients=10, adam=20, ema=10, activations=100, framework=5, scratch=1
    )  # fmt: skip
    assert memory.peak == 45 + 100
    accumulating = step_memory(
        config_of("tiny"), StepShape(1, gradient_accumulation=2), device="cpu", framework=0, latents=0
    )
    assert accumulating.peak == accumulating.lasting + accumulating.gradients + accumulating.activations
    one = step_memory(config_of("tiny"), StepShape(1), device="cuda", framework=0, latents=0)
    assert one.scratch == one.weights  # AdamW on a GPU holds the roots of all moments at once


@pytest.mark.parametrize(
    ("device_name", "expected"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"), ("NVIDIA A100-PCIE-40GB", "A100 40GB"), ("Tesla T4", "T4"),
        ("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA H200", "H200"), ("NVIDIA L4", "L4"), ("NVIDIA L40S", "L40S"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"), ("Tesla V100-SXM2-16GB", "V100"), ("NVIDIA A10G", None),
        ("NVIDIA L40", None),
    ],
)  # fmt: skip
def test_a_driver_s_name_finds_its_row_and_no_other(device_name: str, expected: str | None) -> None:
    found = gpu_of_device(device_name)
    assert (found.name if found else None) == expected


def test_people_s_names_find_a_gpu_and_a_wrong_one_the_nearest() -> None:
    assert [find_gpu(name).name for name in ("l4", "4090", "a100-80gb", "A100", "rtx3090")] == [
        "L4", "RTX 4090", "A100 80GB", "A100 40GB", "RTX 3090",
    ]  # fmt: skip
    assert all(find_gpu(gpu.name) is gpu for gpu in GPUS)
    with pytest.raises(InvalidRequest) as caught:
        find_gpu("H2000")
    assert "H200" in caught.value.hint


def estimate(workspace: Path, **values: Any) -> EndedHere:
    ended = through_the_door(workspace, "estimate", **values)
    assert ended.code == 0, ended.log
    return ended


def estimated(done: dict[str, Any]) -> Estimated:
    read = Estimated.of(done)
    assert read is not None
    return read


def test_without_data_or_gpu_it_reckons_for_msr_vtt_and_a_data_sheet_and_says_so(tmp_path: Path) -> None:
    done = estimate(tmp_path, preset="base", gpu="L4").done
    assert "no data" in done["data"]["source"]
    assert (done["data"]["clips"], done["data"]["shape"]) == (9000, [16, 4, 32, 32])
    assert done["disk"]["latents"] == 10_000 * 16 * 4 * 32 * 32 * 2
    assert done["disk"]["checkpoint"] == 16 * done["model"]["parameters"]
    assert done["model"]["arithmetic"] == "bf16"
    assert done["fits"] == {"memory": True, "disk": done["disk"]["expected"] <= done["disk"]["free"]}
    assert "L4's data sheet" in done["time"]["source"]
    assert not done["time"]["is_measured"]
    # 187 M parameters are held four times over, and the gradients once.
    assert done["memory"]["peak_bytes"] > 5 * 4 * done["model"]["parameters"]
    told = estimate_lines(estimated(done))
    assert [line for line in told if len(line) > 80 and str(tmp_path) not in line] == []
    assert any("fits: 24.0 GB on an empty L4" in line for line in told)


def test_a_card_without_bf16_computes_in_fp16() -> None:
    assert other_machine(find_gpu("T4"), TrainSpec()).arithmetic == "fp16"
    assert other_machine(find_gpu("T4"), TrainSpec(precision="fp32")).arithmetic == "fp32"


def test_an_unknown_gpu_is_a_sentence(tmp_path: Path) -> None:
    assert through_the_door(tmp_path, "estimate", gpu="L44").sentence == "there is no GPU 'L44' in the table"


def test_real_steps_on_the_real_data_and_nothing_is_left(tmp_path: Path) -> None:
    before = contents(data_set())
    values = {key: value for key, value in asked().items() if key != "checkpoint_every"}
    done = estimate(tmp_path, **values).done
    assert done["time"]["source"] == "3 steps measured here"
    assert done["data"]["is_preprocessed"]
    assert done["data"]["clips"] == 24
    assert done["time"]["steps_per_epoch"] == 11
    # The kernel counts pages in batches, so a peak can lag a little behind what was read before.
    assert done["memory"]["measured_bytes"] > 0.99 * done["memory"]["framework_bytes"]
    assert 0 < done["time"]["step_s"] < 10
    assert contents(data_set()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["jobs"]


def test_annotated_clips_are_counted_before_they_are_preprocessed(tmp_path: Path) -> None:
    facts = data_facts(Dataset(_annotated(tmp_path)), frames=8, size=64)
    assert (facts.clips, facts.shape, facts.is_preprocessed) == (2, (8, 4, 8, 8), False)
    assert facts.latents_bytes == 2 * 8 * 4 * 8 * 8 * 2


def _annotated(root: Path) -> Path:
    (root / "videos").mkdir()
    (root / "annotations").mkdir()
    for name in ("video0", "video1"):
        (root / f"videos/{name}.mp4").touch()
    rows = '[{"video_id": "video0", "caption": ["a", "b"]}, {"video_id": "video1", "caption": ["c"]}]'
    (root / "annotations/train_9k.json").write_text(rows)
    return root


SMALL = Gpu("small", 2_000_000_000, 1e12, 1e12)


def test_what_is_advised_fits_and_steps_stay_as_large() -> None:
    facts, batch = DataFacts(**FACTS.__dict__ | {"shape": (16, 4, 32, 32)}), 512
    spec = TrainSpec.model_validate({"preset": "tiny", "batch_size": batch})
    machine = other_machine(SMALL, spec)
    config = config_for(spec, facts)
    told = memory_advice(spec, config, facts, machine, memory_of(spec, config, facts, machine))
    assert told
    for line in told:
        words = [word for word in line.split() if word != "--gradient-checkpointing"]
        changes = dict(zip(words[::2], (int(word) for word in words[1::2]), strict=True))
        changed = spec.model_copy(
            update={
                "batch_size": changes["--batch-size"],
                "gradient_accumulation": changes["--gradient-accumulation"],
                "gradient_checkpointing": "--gradient-checkpointing" in line,
            }
        )
        assert changed.batch_size * changed.gradient_accumulation == batch
        assert memory_of(changed, config, facts, machine).peak <= machine.memory_bytes


def test_one_more_clip_than_the_largest_batch_does_not_fit() -> None:
    spec = TrainSpec(preset="tiny")
    facts = DataFacts(**FACTS.__dict__ | {"shape": (16, 4, 32, 32)})
    machine, config = other_machine(SMALL, spec), config_for(spec, facts)
    largest = largest_batch(spec, config, facts, machine)
    peaks = [
        memory_of(spec.model_copy(update={"batch_size": size}), config, facts, machine).peak
        for size in (largest, largest + 1)
    ]
    assert peaks[0] <= machine.memory_bytes < peaks[1]


def test_training_says_it_first_and_warns_of_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, job = make_run(tmp_path), job_here(tmp_path)
    with contextlib.chdir(tmp_path):
        tell_before_training(run, job)
        monkeypatch.setattr("t2v_core.training.forecast.machines.available_memory_bytes", lambda: -(10**12))
        tell_before_training(run, job)
    told = job.events.path.read_text().splitlines()
    assert len(told) == 3
    assert '"name":"estimate","detail":"memory ' in told[0]
    weights = 4 * sum(parameter.numel() for parameter in run.model.parameters())
    assert (
        f"(weights {texts.size(weights)}, gradients {texts.size(weights)}, Adam {texts.size(2 * weights)}, " in told[0]
    )
    assert (
        f"checkpoints up to {texts.size(4 * 4 * weights)}, " in told[0]
    )  # four of them: two last, one best, one to come
    assert '"kind":"warning"' in told[2]
    assert "a step takes about" in told[2]


def test_it_reads_what_training_reads_and_its_own_section_before_that(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.settings_file.write_text(
        'device = "cpu"\n[preprocess]\nframes = 8\ndevice = "cuda"\n[train]\npreset = "tiny"\nepochs = 3\n'
        "[estimate]\nepochs = 5\n"
    )
    values = values_for("estimate", workspace, {"T2V_TRAIN_SEED": "4"}, {})
    assert values == {"device": "cpu", "frames": 8, "preset": "tiny", "epochs": 5, "seed": "4"}
    assert EstimateSpec.model_validate(values).lr_schedule == "one-cycle"  # the preset's own


def test_times_are_said_as_people_plan() -> None:
    said = [texts.timing(seconds) for seconds in (0.614, 48.36, 695, 69_524, 680_000)]
    assert said == ["0.61 s", "48.4 s", "11:35", "19:18:44", "7d20h"]


# Presets as they are, or narrower and shorter: what they hold is then in the same proportions, and a core computes them
# in a second or two. At full size: benchmarks/engine/estimate.py.
NARROW = {"hidden_size": 384, "num_layers": 3, "num_heads": 6}
MEASURED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("tiny", {}, {"frames": 8, "size": 64, "batch_size": 16}),
    ("unet3d-tiny", {}, {"frames": 8, "size": 64, "batch_size": 16}),
    ("base", NARROW, {"frames": 1, "size": 256, "batch_size": 1, "gradient_accumulation": 2}),
    ("seed", NARROW, {"frames": 1, "size": 256, "batch_size": 1, "gradient_accumulation": 1}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "narrow", "values"), MEASURED, ids=[row[0] for row in MEASURED])
def test_the_peak_is_within_15_percent_of_what_real_steps_take(
    preset: str, narrow: dict[str, Any], values: dict[str, Any], tmp_path: Path
) -> None:
    """A process of its own, the real training loop, and the most memory the operating system saw it hold."""
    asked = {"preset": preset, "latents_in_memory": "no", "device": "cpu", "probe_seconds": 3600} | values
    child = begin(tmp_path, "estimate", presets={preset: narrow}, **asked)
    ended = child.end()
    assert ended.code == 0, child.log
    memory = ended.done["memory"]
    measured, reckoned = (memory[name] - memory["framework_bytes"] for name in ("measured_bytes", "peak_bytes"))
    assert reckoned == pytest.approx(measured, rel=0.15)


def test_the_command_takes_what_training_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--help"]) == 0
    shown = capsys.readouterr().out
    flags = {f"--{name.replace('_', '-')}" for name in TrainSpec.model_fields}
    assert [flag for flag in flags if flag not in shown] == []
    assert "tiny: 40" in shown
    assert "--gpu" in shown


def test_a_video_of_a_checkpoint_takes_what_was_reckoned_from_its_configuration(tmp_path: Path) -> None:
    spec = GenerateSpec(prompt="a red circle moving left " * 8, checkpoint=Path("embedded"), device="cpu")
    job = job_here(tmp_path)
    said = verb(EstimateSpec(checkpoint=spec.checkpoint, device="cpu"), job)
    assert isinstance(said, OpenEstimated)
    pipeline = load_asked(find_checkpoint(spec, job), spec, job.events.warning)
    parts = {"text_encoder": pipeline.text_encoder, "transformer": pipeline.denoiser, "vae": pipeline.vae}
    weights = {name: sum(one.nbytes for one in part.parameters()) for name, part in parts.items()}
    assert {part.name: part.weights_bytes for part in said.parts} == weights
    known = [one for part in parts.values() for one in (*part.parameters(), *part.buffers())]
    with LiveBytes(known) as sampling:
        latents = pipeline.draw([spec.prompt], frames=8, steps=1, guidance=Guidance(2.0, 0.0), seed=0)
    with LiveBytes([*known, latents]) as decoding:
        pipeline.decode(latents)
    assert said.sampling_bytes == pytest.approx(sampling.peak, rel=0.15)
    assert said.decoding_bytes == pytest.approx(decoding.peak, rel=0.15)
    assert said.here.way is not None
    assert "at the fullest moment" in "\n".join(open_lines(said))
    with pytest.raises(InvalidRequest, match="two models"):
        verb(EstimateSpec(checkpoint=spec.checkpoint, model="x/y"), job)


def test_no_model_is_so_small_that_a_gpu_takes_twenty_thousand_steps_in_a_second() -> None:
    spec = TrainSpec(preset="tiny", batch_size=16, gradient_accumulation=2)
    pace = pace_of_table(spec, 1e6, find_gpu("L4"), "bf16", 0.4)
    assert pace.step_s == pytest.approx(0.02)
