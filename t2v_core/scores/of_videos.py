"""What `evaluate` says of videos beside CLIP: movement, distance from real ones, and what a score does not see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from t2v_core.job import Job
from t2v_core.scores.degraded import OF_TIME, WAYS, blind_to, degraded
from t2v_core.scores.distances import Distance, frechet_distance, interval, polynomial_mmd
from t2v_core.scores.features import FeatureNetwork
from t2v_core.scores.movement import mean_movement

Scores = dict[str, dict[str, Any]]
Real = Callable[[], Iterator[Tensor]]
# Of fewer videos a Fréchet distance says more about their number than about them.
ENOUGH_VIDEOS = 256
DISTANCES: dict[str, Distance] = {"fvd": frechet_distance, "mmd": polynomial_mmd}


def movement_scores(videos: Sequence[Tensor], real: Real) -> Scores:
    """Return motion, flicker and consistency of generated videos, each with that of the real ones beside it."""
    ours, theirs = asdict(mean_movement(list(videos))), asdict(mean_movement(list(real())))
    return {
        name: {"value": round(value, 4), "real": round(theirs[name], 4), "videos": len(videos)}
        for name, value in ours.items()
    }


def distance_scores(network: FeatureNetwork, videos: Sequence[Tensor], real: Real, job: Job) -> Scores:
    """Return the Fréchet distance and MMD of generated videos from the real ones, with interval and floor.

    The floor is that of one half of the real videos from the other: what the network sees between two real sets of half
    the size.
    """
    ours = _features_of(network, videos, job, len(videos), "generated")
    theirs = _features_of(network, real(), job, len(videos), "real")
    fewest = min(len(ours), len(theirs))
    if fewest < ENOUGH_VIDEOS:
        job.events.warning(
            f"distances of {fewest} videos say little: they fall with the number of videos, and {ENOUGH_VIDEOS} is the "
            "least that is customary",
            hint="more of them: --prompts and --seeds; compare only scores of equally many",
        )
    scores: Scores = {}
    for name, distance in DISTANCES.items():
        low, high = interval(distance, ours, theirs)
        scores[name] = {
            "value": round(distance(ours, theirs), 4),
            "interval_95": [round(low, 4), round(high, 4)],
            "real_floor": round(distance(theirs[::2], theirs[1::2]), 4),
            "videos": len(ours),
            "real_videos": len(theirs),
            **network.stamp,
            "frames": len(videos[0]),
            "size": "×".join(map(str, videos[0].shape[1:3])),
        }
    return scores


def _features_of(network: FeatureNetwork, videos: Iterable[Tensor], job: Job, total: int, of: str) -> Tensor:
    job.events.stage("features", f"of the {of} videos")
    rows = []
    for number, video in enumerate(videos, 1):
        job.check_stop()
        rows.append(network.embed(video))
        job.events.progress(number, max(total, number), "videos")
    return torch.stack(rows)


def blindness(
    real: Real, clip_score: Callable[[Sequence[Tensor]], float], network: FeatureNetwork | None, job: Job, seed: int
) -> dict[str, dict[str, Any]]:
    """Return, by score, what it says of the real videos made worse in six ways, and which of them it does not see.

    clip_score: of real videos in their order; distances are taken of one half of the videos from the other, worse, half
    """
    originals = list(real())
    job.events.stage("degrade", f"{len(originals)} real videos in {len(WAYS)} ways")
    whole = {"clip_generated": clip_score(originals)}
    halves = (originals[::2], originals[1::2])
    features = [torch.stack([network.embed(video) for video in half]) for half in halves] if network else []
    if features:
        whole |= {name: distance(features[0], features[1]) for name, distance in DISTANCES.items()}
    worse: dict[str, dict[str, float]] = {name: {} for name in whole}
    for number, way in enumerate(WAYS, 1):
        job.check_stop()
        changed = [degraded(video, way, seed + place) for place, video in enumerate(originals)]
        worse["clip_generated"][way] = clip_score(changed)
        if network:
            rows = torch.stack([network.embed(video) for video in changed[1::2]])
            for name, distance in DISTANCES.items():
                worse[name][way] = distance(features[0], rows)
        job.events.progress(number, len(WAYS), "ways")
    return {name: _told(name, value, worse[name]) for name, value in whole.items()}


def _told(name: str, whole: float, worse: Mapping[str, float]) -> dict[str, Any]:
    unseen = blind_to(whole, worse, higher_is_better=name not in DISTANCES)
    return {
        "of_real_videos": round(whole, 4),
        "degraded": {way: round(value, 4) for way, value in worse.items()},
        "blind_to": unseen,
        "is_blind_to_time": any(way in unseen for way in OF_TIME),
    }
