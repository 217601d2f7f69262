"""`t2v models`: which models lie on a machine, with size, licence, and whether they are whole."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants

from t2v_core.events.models_listed import ListedModel, ModelsListed
from t2v_core.job import Job
from t2v_core.models.open.listed import Listed, cached_models, models_in
from t2v_core.specs import ModelsSpec


def list_models(spec: ModelsSpec, job: Job) -> ModelsListed:
    """List those of the hub's cache, then the folders beside it: models of known families, and what t2v exported."""
    folder, cache = job.workspace.resolve(spec.folder), Path(constants.HF_HUB_CACHE)
    job.events.stage("look", f"{cache} and {folder}")
    found = [*cached_models(cache), *models_in(folder)]
    return ModelsListed(models=tuple(_row(one, job) for one in found), cache=str(cache), folder=str(folder))


def _row(one: Listed, job: Job) -> ListedModel:
    return ListedModel(
        id=str(job.workspace.relative(Path(one.id))),
        path=str(one.folder),
        family=one.family,
        licence=one.licence.name,
        is_open=one.licence.is_open,
        size_bytes=one.size_bytes,
        missing=one.missing,
    )
