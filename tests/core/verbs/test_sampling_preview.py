"""What a video looks like while it is drawn: small frames in the job's folder, whole at any moment, and cheap."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.engine.engine import in_workspace, job_here
from support.engine.small_checkpoint import save_small_checkpoint, small_pipeline

from t2v_core.diffusion import sampling_preview
from t2v_core.diffusion.sampling_preview import NAME, SamplingPreview
from t2v_core.specs import make_spec
from t2v_core.verbs.generate import generate


def read(path: Path) -> tuple[dict[str, object], bytes]:
    line, _, pixels = path.read_bytes().partition(b"\n")
    return json.loads(line), pixels


def test_a_preview_is_a_few_frames_of_the_latents_in_the_words_of_the_decoder(tmp_path: Path) -> None:
    pipeline = small_pipeline()
    latents = torch.zeros(1, *pipeline.latent_shape)
    SamplingPreview(pipeline, tmp_path)(latents)
    header, pixels = read(tmp_path / NAME)
    assert header == {"width": 64, "height": 64, "frames": 4, "fps": 4.0, "source": [64, 64]}
    expected = pipeline.decode(latents)[0, [0, 2, 5, 7]]
    assert pixels == expected.numpy().tobytes()
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_looking_takes_a_tenth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(sampling_preview.time, "monotonic", lambda: now[0])
    pipeline, written = small_pipeline(), []
    preview = SamplingPreview(pipeline, tmp_path)

    def write(_: torch.Tensor) -> None:
        written.append(now[0])
        now[0] += 3.0  # as a large VAE takes

    monkeypatch.setattr(preview, "_write", write)
    for _ in range(100):
        preview(torch.zeros(1, 1, 1, 1, 1))
        now[0] += 1.0
    assert written == [100.0, 130.0, 160.0, 190.0]


def test_a_disk_that_takes_no_preview_does_not_end_the_work(tmp_path: Path) -> None:
    pipeline = small_pipeline()
    SamplingPreview(pipeline, tmp_path / "gone")(torch.zeros(1, *pipeline.latent_shape))
    assert not (tmp_path / "gone").exists()


def test_generate_leaves_a_preview_only_when_it_is_asked_to(tmp_path: Path) -> None:
    save_small_checkpoint(tmp_path)
    asked = {"prompt": "a red circle", "steps": 2, "device": "cpu"}
    jobs = []
    for more in ({"preview": True}, {}):
        jobs.append(job_here(tmp_path))
        in_workspace(generate, make_spec("generate", asked | more), jobs[-1])
    header, pixels = read(jobs[0].directory / NAME)
    assert len(pixels) == 64 * 64 * 3 * 4
    assert header["frames"] == 4
    assert not (jobs[1].directory / NAME).exists()
