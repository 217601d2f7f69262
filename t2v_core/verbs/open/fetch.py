"""`t2v models fetch`: bring an open model, or what somebody published with t2v, from the hub into its cache here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants

from t2v_core.disk.files import require_space
from t2v_core.disk.plain_json import read_table
from t2v_core.errors import InvalidRequest, WorkFailed
from t2v_core.events.models_listed import ModelFetched
from t2v_core.format import counted, size
from t2v_core.job import Job
from t2v_core.models.hub.download import fetch_file, missing_bytes
from t2v_core.models.hub.repository import HubFile, Repository, look_up, require_id
from t2v_core.models.open.families import family_of
from t2v_core.models.open.layout import INDEX, RECORD, missing_files, needed_files, part_names
from t2v_core.models.open.licence import CARD, licence_of
from t2v_core.models.open.listed import NOT_NAMED, cached_models
from t2v_core.specs import FetchSpec
from t2v_core.verbs.open.named_licence import name_licence
from t2v_core.verbs.sharing.moved_bytes import MovedBytes

LORA_SUFFIX = ".safetensors"


def fetch(spec: FetchSpec, job: Job) -> ModelFetched:
    """Bring the files that t2v needs of a repository; what is here already stays, and what broke off goes on.

    Raises InvalidRequest for an id that the hub does not know or gives to nobody here, and for what t2v cannot use;
    WorkFailed for a disk that is too small or fills, and a hub that is not reached; Stopped between two pieces.
    """
    require_id(spec.id)
    job.events.stage("look", spec.id)
    try:
        repository = look_up(spec.id)
    except WorkFailed as error:
        if (cached := _cached(spec.id)) is None:
            raise
        job.events.warning(f"{error.message}; the model is here, whole", hint=error.hint)
        return cached
    _bring(repository, repository.only({INDEX, CARD}), job)
    files, licence_otherwise = _choose(repository)
    licence = licence_of(repository.folder, licence_otherwise)
    name_licence(licence, spec.id, job)
    missing = missing_bytes(repository, files)
    require_space(repository.cached_at, missing, f"the model {spec.id}")
    total = sum(file.size_bytes for file in files)
    here = f", {size(total - missing)} of them here already" if missing < total else ""
    job.events.stage("fetch", f"{counted(len(files), 'file')}, {size(total)}{here}")
    _bring(repository, files, job)
    _require_whole(repository)
    return ModelFetched(
        model=spec.id, revision=repository.revision, licence=licence.name, files=len(files), bytes=total,
        fetched_bytes=missing, paths=(str(repository.folder),),
    )  # fmt: skip


def _cached(asked: str) -> ModelFetched | None:
    """A model that is here whole, where the hub does not say what is in its newest revision."""
    for one in cached_models(Path(constants.HF_HUB_CACHE)):
        if one.id == asked and not one.missing:
            files = [path for path in one.folder.rglob("*") if path.is_file()]
            return ModelFetched(
                model=asked, revision=one.folder.name, licence=one.licence.name, files=len(files),
                bytes=one.size_bytes, fetched_bytes=0, paths=(str(one.folder),),
            )  # fmt: skip
    return None


def _choose(repository: Repository) -> tuple[list[HubFile], str]:
    """The files to bring, and the licence where the card names none. Raises InvalidRequest for what t2v cannot use."""
    if RECORD in repository.names:  # published with t2v: all of it is meant
        return list(repository.files), NOT_NAMED
    if INDEX in repository.names:
        kind = family_of(repository.folder)
        parts = part_names(read_table(repository.folder / INDEX))
        return repository.only(needed_files(repository.names, parts)), kind.licence
    loras = {name for name in repository.names if name.endswith(LORA_SUFFIX) and "/" not in name}
    if not loras:
        raise InvalidRequest(
            f"{repository.id} holds nothing that t2v uses: neither {INDEX} of a model nor a {LORA_SUFFIX} of a LoRA",
            hint="name a model in diffusers' layout: such ids often end in -Diffusers",
        )
    return repository.only({*loras, CARD}), NOT_NAMED


def _bring(repository: Repository, files: Sequence[HubFile], job: Job) -> None:
    total = sum(file.size_bytes for file in files)
    moved = MovedBytes(job, total, total - missing_bytes(repository, files))
    moved(0)
    for file in files:
        fetch_file(repository, file, moved)


def _require_whole(repository: Repository) -> None:
    """Raise InvalidRequest where the repository itself lacks what the model needs."""
    folder: Path = repository.folder
    if INDEX not in repository.names or RECORD in repository.names:
        return
    if lacking := missing_files(folder, part_names(read_table(folder / INDEX))):
        raise InvalidRequest(
            f"{repository.id} is incomplete on the hub itself: it has no {lacking[0]}",
            hint="name another repository of the model, with weights as safetensors",
        )
