"""The previous system's folders of one `.pt` file a clip become a store that training reads.

Latents are taken as they are. Captions are encoded anew wherever annotations tell them, since the old files hold the
first one only, padded; without annotations the old padded embeddings are taken as they are.
"""

from __future__ import annotations

from t2v_core.data.legacy.old_annotations import imported_splits
from t2v_core.disk.files import require_writable
from t2v_core.events.results import LatentsImported
from t2v_core.job import Job
from t2v_core.processes.alone import DATASET_LOCK, alone
from t2v_core.specs import ImportLatentsSpec
from t2v_core.workspace import Dataset


def import_latents(spec: ImportLatentsSpec, job: Job) -> LatentsImported:
    """Import every clip that is there; what whole shards hold already is not read again.

    Files that are not what they should be go into `quarantine.csv` and the work goes on. Returns counts and paths.
    Raises InvalidRequest for folders, encoders or stores that do not fit, WorkFailed when no clip can be used, Stopped.
    """
    dataset, old = Dataset(job.workspace.resolve(spec.data)), Dataset(job.workspace.resolve(spec.old_dir))
    splits = imported_splits(dataset, old, spec.on_overlap, job)
    require_writable(dataset.root)
    with alone(dataset.root, DATASET_LOCK, job):
        job.events.stage("encoders", f"{spec.vae}, {spec.text_encoder}")
        from t2v_core.data.legacy.latent_import import import_splits  # 9 s that a wrong path need not pay

        imported = import_splits(spec, splits, dataset, old, job)
    folders = [folder / part.split for part in splits.parts for folder in (dataset.latents, dataset.text_embeddings)]
    return LatentsImported(
        clips=imported.clips,
        captions=imported.captions,
        quarantined=sum(len(part.clips) for part in splits.parts) - imported.clips,
        skipped=imported.skipped,
        data=str(job.workspace.relative(dataset.root)),
        paths=tuple(str(job.workspace.relative(folder)) for folder in folders),
    )
