"""`t2v evaluate`: CLIP score with its ceiling and floor, and on the built-in world whether prompts are obeyed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2v_core.data.annotations.msrvtt import Clip, read_annotations
from t2v_core.data.shapes.judge import Obeyed, Verdict, judge, obeys
from t2v_core.data.shapes.shapes import Scene
from t2v_core.data.video.decode import read_frames
from t2v_core.data.video.resize import shrink_to
from t2v_core.data.video.timing import bounded
from t2v_core.diffusion.denoising import Denoising
from t2v_core.diffusion.guidance import Guidance
from t2v_core.disk.files import write_json
from t2v_core.disk.plain_json import read_table
from t2v_core.errors import InvalidRequest
from t2v_core.events import ScoreEvent
from t2v_core.events.results import Evaluated
from t2v_core.job import Job
from t2v_core.models.scorer import ClipScorer, load_clip_scorer
from t2v_core.processes.process_group import ProcessGroup, joined
from t2v_core.scores.clip import clip_scales
from t2v_core.scores.features import FeatureNetwork
from t2v_core.scores.of_videos import Scores, blindness, distance_scores, movement_scores
from t2v_core.scores.vbench import VBench, chosen_dimensions, write_layout
from t2v_core.specs import EvaluateSpec, all_values
from t2v_core.verbs.shared_videos import SharedVideos
from t2v_core.verbs.sources.find_source import find_source
from t2v_core.verbs.sources.model_source import ModelSource
from t2v_core.workspace import Dataset

# What a video of any other scene obeys: of six colours, three shapes and six motions.
CHANCE = {"colour": 0.1667, "shape": 0.3333, "motion": 0.1667, "all": 0.0093}


@dataclass(frozen=True)
class Sample:
    """One test clip and the videos made from its caption. videos: (seeds, frames, height, width, 3) uint8"""

    clip: Clip
    videos: Tensor

    @property
    def prompt(self) -> str:
        """Return the clip's first caption, which the videos are drawn from."""
        return self.clip.captions[0]


def evaluate(spec: EvaluateSpec, job: Job) -> Evaluated | None:
    """Generate from test captions, score, and write `outputs/scores/…json`. Raises InvalidRequest as its parts do.

    Several processes of one run share the drawing, and give the scores that one gives; the first returns them.
    """
    with joined(job) as group:
        return _evaluate(spec, group, job)


def _evaluate(asked: EvaluateSpec, group: ProcessGroup, job: Job) -> Evaluated | None:
    spec = asked.model_copy(update={"device": group.device(asked.device)})
    dataset = Dataset(job.workspace.resolve(spec.data))
    scenes = read_scenes(dataset)
    clips = choose_clips(read_annotations(dataset, "test"), scenes, spec)
    source = find_source(spec, job)
    spec = source.suited(spec, job.events.warning)
    if not group.is_first:
        draw_samples(source.load(spec, {}, job.events.warning, videos=len(clips) * spec.seeds), clips, spec, group)
        return None
    scorer = load_clip_scorer(spec.scorer or spec.text_encoder or source.scorer, device=spec.device)
    network = None
    if spec.features is not None:  # what is wrong with it is said before anything is drawn
        network = FeatureNetwork(job.workspace.resolve(spec.features), spec.features_form, device=spec.device)
    dimensions = chosen_dimensions(spec.vbench_dimensions)
    installed = None if spec.vbench is None else VBench.at(job.workspace.resolve(spec.vbench))
    pipeline = source.load(spec, {}, job.events.warning, videos=len(clips) * spec.seeds)
    samples = draw_samples(pipeline, clips, spec, group)
    scores = clip_scores(scorer, samples, spec, job, stride=source.stride)
    if scenes:
        scores |= obedience(samples, scenes)
    scores |= video_scores(network, samples, job, stride=source.stride)
    if spec.degradations:
        for name, told in _blindness(scorer, network, samples, spec, job, stride=source.stride).items():
            scores[name]["blindness"] = told
    if spec.vbench_layout or installed is not None:
        folder = write_for_vbench(samples, source, job)
        scores |= {} if installed is None else installed.scores(folder, dimensions, job)
    for name, score in scores.items():
        job.events.emit(ScoreEvent(name, score["value"], extra=score))
    path = job.workspace.outputs / "scores" / f"{source.label}-{job.directory.name}.json"
    settings = all_values(spec) | {"sampler": pipeline.scheduler.name, "device": asked.device}
    write_json(path, {"spec": settings, **source.stamp, "scores": scores, "job": job.directory.name})
    return Evaluated(scores=str(path), clips=len(samples), videos=len(samples) * spec.seeds)


def write_for_vbench(samples: Sequence[Sample], source: ModelSource, job: Job) -> Path:
    """Write the videos to a folder of `outputs/vbench/` of their own, and return it."""
    folder = job.workspace.outputs / "vbench" / f"{source.label}-{job.directory.name}"
    job.events.stage("layout", str(job.workspace.relative(folder)))
    fps = bounded(source.fps)
    write_layout(folder, [sample.prompt for sample in samples], [sample.videos for sample in samples], fps)
    return folder


def read_scenes(dataset: Dataset) -> dict[str, tuple[Scene, bool]]:
    """Return what each clip of the built-in world shows and whether training never saw the like; else nothing."""
    file = dataset.root / "shapes.json"
    if not file.is_file():
        return {}
    try:
        return {
            name: (Scene(entry["colour"], entry["shape"], entry["motion"]), bool(entry["held_out"]))
            for name, entry in read_table(file).items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(
            f"{file} does not say what the clips show", hint="make it again: t2v data shapes"
        ) from error


def choose_clips(clips: list[Clip], scenes: dict[str, tuple[Scene, bool]], spec: EvaluateSpec) -> list[Clip]:
    """Pick `spec.prompts` test clips, spread evenly over the set; on the built-in world only wanted combinations."""
    if spec.combinations != "all":
        if not scenes:
            raise InvalidRequest(
                f"combinations = '{spec.combinations}' is for the built-in world, and {spec.data} is another data set",
                hint="leave --combinations out",
            )
        clips = [c for c in clips if scenes[c.video_id][1] == (spec.combinations == "unseen")]
        if not clips:
            raise InvalidRequest(
                f"no test clip of {spec.data} shows a combination that training has {spec.combinations}",
                hint="make a set with more --test-clips, or leave --combinations out",
            )
    count = min(spec.prompts, len(clips))
    return [clips[i * len(clips) // count] for i in range(count)]


def draw_samples(pipeline: Denoising, clips: list[Clip], spec: EvaluateSpec, group: ProcessGroup) -> list[Sample]:
    """Draw videos of every clip's first caption, with noise that depends on its place and the seed alone.

    The processes of the group take one batch after another; the first returns all videos, the others nothing.
    """
    total, job, size = len(clips) * spec.seeds, group.job, pipeline.videos_at_once
    job.events.stage(
        "sample", f"{len(clips)} prompts, {spec.seeds} seeds, {spec.steps} {pipeline.scheduler.name} steps"
    )
    pipeline.read_ahead([clip.captions[0] for clip in clips])
    batches = [(seed, begin) for seed in range(spec.seeds) for begin in range(0, len(clips), size)]
    videos = SharedVideos(group)

    def are_all_drawn() -> bool:
        job.events.progress(done := group.count("videos"), total, "videos")
        return done == total

    while (number := group.take("videos")) < len(batches):
        seed, begin = batches[number]
        part = clips[begin : begin + size]
        latents = pipeline.draw(
            [clip.captions[0] for clip in part],
            frames=pipeline.frames_of_latents(spec.frames),
            steps=spec.steps,
            guidance=Guidance(spec.guidance_scale, spec.guidance_rescale),
            seed=spec.seed + seed * 100_003 + begin,
            progress=lambda _done, _total: group.check_stop(),
        )
        videos.put(number, pipeline.decode(latents))
        group.count("videos", len(part))
        are_all_drawn()
    if not group.is_first:
        return []
    group.wait_until(are_all_drawn)
    drawn = videos.all(len(batches))
    by_seed = torch.cat(drawn).unflatten(0, (spec.seeds, len(clips)))
    return [Sample(clip, by_seed[:, index]) for index, clip in enumerate(clips)]


def clip_scores(
    scorer: ClipScorer,
    samples: Sequence[Sample],
    spec: EvaluateSpec,
    job: Job,
    *,
    stride: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the mean cosine of generated clips with their captions, with its ceiling and its floor.

    The ceiling is that of the real clips, the floor that of generated clips with another clip's caption. Each is in
    the three forms of `clip_scales`.

    stride: of the real clips' frames, as the model saw them in training; None: evenly spaced
    """
    job.events.stage("score", f"{scorer.identity.source}, {scorer.protocol}")
    captions = scorer.embed_captions([spec.prefix + sample.prompt for sample in samples])
    generated, shuffled, real = [], [], []
    for index, sample in enumerate(samples):
        job.check_stop()
        images = torch.cat([scorer.embed_clip(video) for video in sample.videos])
        generated.append(images @ captions[index])
        shuffled.append(images @ captions[_another(samples, index)])
        real.append(scorer.embed_clip(_real_video(sample, stride)) @ captions[index])
        job.events.progress(index + 1, len(samples), "clips")
    frames = len(samples[0].videos[0])
    stamp = scorer.stamp | {"prefix": spec.prefix, "frames": frames, "seed": spec.seed, "seeds": spec.seeds}
    named = {"clip_generated": generated, "clip_real_ceiling": real, "clip_shuffled_floor": shuffled}
    return {name: clip_scales(values) | stamp for name, values in named.items()}


def video_scores(
    network: FeatureNetwork | None,
    samples: Sequence[Sample],
    job: Job,
    *,
    stride: int | None = None,
) -> Scores:
    """Return how the videos move, and with a network how far they are from the real clips. stride: of those"""
    videos = [video for sample in samples for video in sample.videos]
    real = partial(_real_videos, samples, stride)
    return movement_scores(videos, real) | (distance_scores(network, videos, real, job) if network else {})


def _blindness(
    scorer: ClipScorer,
    network: FeatureNetwork | None,
    samples: Sequence[Sample],
    spec: EvaluateSpec,
    job: Job,
    *,
    stride: int | None,
) -> Scores:
    captions = scorer.embed_captions([spec.prefix + sample.prompt for sample in samples])

    def clip_score(shown: Sequence[Tensor]) -> float:
        pairs = zip(shown, captions, strict=True)
        return float(torch.stack([(scorer.embed_clip(video) @ caption).mean() for video, caption in pairs]).mean())

    return blindness(partial(_real_videos, samples, stride), clip_score, network, job, spec.seed)


def _real_videos(samples: Sequence[Sample], stride: int | None) -> Iterator[Tensor]:
    """The clips that the captions are of, as long and as large as the videos."""
    for sample in samples:
        yield _real_video(sample, stride)


def _real_video(sample: Sample, stride: int | None) -> Tensor:
    _, frames, height, width, _ = sample.videos.shape
    clip = read_frames(sample.clip.path, frames, stride, shrink=shrink_to((height, width)))
    return torch.from_numpy(clip.frames)


def _another(samples: Sequence[Sample], index: int) -> int:
    """The next sample with another caption."""
    count = len(samples)
    others = ((index + step) % count for step in range(1, count))
    return next((other for other in others if samples[other].prompt != samples[index].prompt), index)


def obedience(samples: Sequence[Sample], scenes: dict[str, tuple[Scene, bool]]) -> dict[str, dict[str, Any]]:
    """Score how many videos show the prompt's colour, shape, motion, and all three; and how much they jitter.

    Combinations kept out of training are scored apart.
    """
    scores: dict[str, dict[str, Any]] = {}
    for name, is_held_out in (("seen", False), ("unseen", True)):
        group = [s for s in samples if scenes[s.clip.video_id][1] == is_held_out]
        judged = [(judge(video.numpy()), scenes[s.clip.video_id][0]) for s in group for video in s.videos]
        if judged:
            scores |= {f"{key}_obeyed_{name}": value for key, value in _shares(judged).items()}
            jitter = [verdict.jitter_px for verdict, _ in judged if math.isfinite(verdict.jitter_px)]
            # Without one thing to follow in any video there is nothing to measure, which is no number either.
            middle = round(float(torch.tensor(jitter).median()), 3) if jitter else None
            scores[f"jitter_px_{name}"] = {"value": middle, "videos": len(judged)}
    return scores


def _shares(judged: list[tuple[Verdict, Scene]]) -> dict[str, dict[str, Any]]:
    obeyed: list[Obeyed] = [obeys(verdict, scene) for verdict, scene in judged]
    count = len(obeyed)
    hits = {
        "colour": sum(o.colour for o in obeyed),
        "shape": sum(o.shape for o in obeyed),
        "motion": sum(o.motion for o in obeyed),
        "all": sum(all(o) for o in obeyed),
    }
    return {
        name: {"value": round(hit / count, 4), "chance": CHANCE[name], "videos": count} for name, hit in hits.items()
    }
