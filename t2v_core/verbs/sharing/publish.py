"""`t2v publish`: put what `t2v export` wrote on the hub; without a yes, say what that would be."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants

from t2v_core.disk.files import MANIFEST
from t2v_core.errors import InvalidRequest
from t2v_core.events.models_listed import ListedFile, Published
from t2v_core.format import counted, size
from t2v_core.job import Job
from t2v_core.models.hub.repository import Repository, find_repository, require_id
from t2v_core.models.hub.upload import SAME, Outgoing, compared, require_login, upload
from t2v_core.models.open.layout import RECORD
from t2v_core.specs import PublishSpec
from t2v_core.verbs.sharing.moved_bytes import MovedBytes


def publish(spec: PublishSpec, job: Job) -> Published:
    """List the files, and with `yes` send those that the hub does not have yet.

    After an interruption the same command sends what is missing. Raises InvalidRequest for a folder that is no export,
    without a login, and for a place that is not theirs who are logged in; WorkFailed for a hub that is not reached.
    """
    require_id(spec.id)
    folder = job.workspace.resolve(spec.folder)
    if not (folder / RECORD).is_file():
        raise InvalidRequest(
            f"{folder} is not what t2v export wrote: it has no {RECORD}", hint="t2v export FOLDER first"
        )
    require_login()
    job.events.stage("look", spec.id)
    repository = find_repository(spec.id)
    files = _files(folder, repository)
    todo = [file for file in files if file.state != SAME]
    url, sent = f"{constants.ENDPOINT}/{spec.id}", 0
    if spec.yes:
        url, sent = _sent(spec, todo, job)
    return Published(
        url=url, files=tuple(ListedFile(name=one.name, size_bytes=one.size_bytes, state=one.state) for one in files),
        is_new=repository is None, is_private=not spec.public if repository is None else repository.is_private,
        is_done=spec.yes or not todo, uploaded_bytes=sent,
    )  # fmt: skip


def _files(folder: Path, repository: Repository | None) -> list[Outgoing]:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    there = {} if repository is None else {file.name: file for file in repository.files}
    return compared(folder, [name for name in names if name != MANIFEST], there)


def _sent(spec: PublishSpec, files: list[Outgoing], job: Job) -> tuple[str, int]:
    moved = MovedBytes(job, sum(file.size_bytes for file in files))
    job.events.stage("upload", f"{counted(len(files), 'file')}, {size(moved.total)}")
    moved(0)
    return upload(spec.id, files, is_private=not spec.public, moved=moved), moved.done
