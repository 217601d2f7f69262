"""What an import of latents and one of text have in common: where they may write, and what they do with a bad file."""

from __future__ import annotations

from pathlib import Path

from t2v_core.data.annotations.msrvtt import Clip
from t2v_core.data.legacy.old_tensors import REASONS, BadTensorFile
from t2v_core.data.quarantine import Quarantine
from t2v_core.data.store.shards import TornShard, read_metadata
from t2v_core.errors import InvalidRequest
from t2v_core.job import Job

# Says in a shard's settings that no encoder of ours made it.
ORIGIN = "imported from .pt files"


def set_aside(quarantine: Quarantine, clip: Clip, error: BadTensorFile, job: Job, settings: str = "") -> None:
    """Note a file that cannot be used, and say so. The clip's `path` is that file."""
    quarantine.add(clip, error.reason, error.detail, settings)
    job.events.warning(
        f"{clip.video_id} is left out: {error.detail} ({error.reason})", hint=f"listed in {quarantine.path.name}"
    )


def release(quarantine: Quarantine, video_id: str) -> None:
    """Note that a file of ours was replaced by one that can be used; what is noted about the clip's video stays."""
    entry = quarantine.entries.get(video_id)
    if entry is not None and entry.reason in REASONS:
        quarantine.release(video_id)


def refuse_to_replace(directory: Path) -> None:
    """Raise InvalidRequest when a folder holds shards that were made otherwise: opening it would remove them."""
    for path in sorted(directory.glob("shard-*.safetensors")):
        try:
            settings = read_metadata(path)["settings"]
        except TornShard:
            continue
        if settings.get("origin") != ORIGIN:
            raise InvalidRequest(
                f"{directory} holds what t2v preprocess made, and an import would remove it",
                hint="name another data set with --data, or move that folder away",
            )
