"""Which model `generate` and `refine` draw with: the open one that is named, or a checkpoint."""

from __future__ import annotations

from t2v_core.assemble import find_checkpoint
from t2v_core.job import Job
from t2v_core.models.lora.asked import asked_loras
from t2v_core.specs import VideoSpec
from t2v_core.verbs.sources.checkpoint_source import CheckpointSource
from t2v_core.verbs.sources.model_source import ModelSource


def find_source(spec: VideoSpec, job: Job) -> ModelSource:
    """Return the open model that is named, else the checkpoint that is, else the latest one.

    A checkpoint that was trained on an open model is that model, with what was trained.

    Raises InvalidRequest when there is none, or both are named.
    """
    if spec.model is None:
        checkpoint = find_checkpoint(spec, job)
        if checkpoint.open_model is None:
            loras = asked_loras(spec.lora, job.workspace.resolve)
            return CheckpointSource(checkpoint, str(job.workspace.relative(checkpoint.path)), loras)
    else:
        checkpoint = None
    from t2v_core.verbs.sources.open_source import OpenSource  # diffusers' families, not needed otherwise

    return OpenSource.find(spec, job, checkpoint)
