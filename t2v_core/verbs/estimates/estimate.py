"""`t2v estimate`: will it fit, how long, how much?

Each kind of estimate is imported when it is asked for: what a training is made of takes seconds to import.
"""

from __future__ import annotations

from t2v_core.errors import InvalidRequest
from t2v_core.events.estimated import Estimated
from t2v_core.events.open_estimated import OpenEstimated
from t2v_core.job import Job
from t2v_core.specs import EstimateSpec
from t2v_core.training.base.sense import require_open_model, require_sense

OPEN_ONLY = ("height", "width", "buckets")


def estimate(spec: EstimateSpec, job: Job) -> Estimated | OpenEstimated:
    """Reckon what `t2v train` with these settings takes, and say whether it is there.

    Of an open model it is one video, or with --lora the training of an adapter; of a checkpoint one video.

    Raises InvalidRequest for settings that contradict each other, and as each kind of estimate.
    """
    require_open_model(spec, OPEN_ONLY)
    if spec.checkpoint is not None:
        if spec.model is not None:
            raise InvalidRequest("--checkpoint and --model are two models", "name the one whose video is meant")
        from t2v_core.verbs.estimates.estimate_video import estimate_video

        return estimate_video(spec, job)
    if spec.model is None:
        from t2v_core.verbs.estimates.estimate_training import estimate_training

        if spec.distill is None:  # which is refused there in its own words
            require_sense(spec)
        return estimate_training(spec, job)
    require_sense(spec)
    return _of_open(spec, job)


def _of_open(spec: EstimateSpec, job: Job) -> Estimated | OpenEstimated:
    if spec.lora:
        from t2v_core.verbs.open.estimate_training import estimate_open_training

        return estimate_open_training(spec, job)
    from t2v_core.models.lean_imports import lean_imports  # torch

    with lean_imports():
        from t2v_core.verbs.open.estimate import estimate_open

        return estimate_open(spec, job)
