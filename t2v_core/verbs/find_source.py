"""Which model `generate` and `refine` draw with: the open one that is named, or a checkpoint."""

from __future__ import annotations

from t2v_core.assemble import find_checkpoint
from t2v_core.job import Job
from t2v_core.specs import VideoSpec
from t2v_core.verbs.checkpoint_source import CheckpointSource
from t2v_core.verbs.model_source import ModelSource


def find_source(spec: VideoSpec, job: Job) -> ModelSource:
    """Return the open model that is named, else the checkpoint that is, else the latest one.

    Raises InvalidRequest when there is none, or both are named.
    """
    if spec.model is None:
        checkpoint = find_checkpoint(spec, job)
        return CheckpointSource(checkpoint, str(job.workspace.relative(checkpoint.path)))
    from t2v_core.verbs.open_source import OpenSource  # diffusers' families, which a checkpoint of ours needs not

    return OpenSource.find(spec, job)
