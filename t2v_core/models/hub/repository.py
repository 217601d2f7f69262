"""What a repository of the hub holds, by one question."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import validate_repo_id

from t2v_core.errors import EngineError, WorkFailed
from t2v_core.models.hub.sentences import hub_error, not_an_id

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class HubFile:
    """One file. name: within the repository; checksum: sha256 of a large file, git's sha1 of a small one"""

    name: str
    size_bytes: int
    checksum: str


@dataclass(frozen=True)
class Repository:
    """A model at one revision. revision: the hash of a commit"""

    id: str
    revision: str
    files: tuple[HubFile, ...]
    is_private: bool = False

    def only(self, names: set[str]) -> list[HubFile]:
        """Return the files of these names that there are."""
        return [file for file in self.files if file.name in names]

    @property
    def names(self) -> list[str]:
        """Return the names of all files."""
        return [file.name for file in self.files]

    @property
    def cached_at(self) -> Path:
        """Return where the hub's own cache has it: blobs by checksum, and a folder of names for each revision."""
        return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=self.id, repo_type="model")

    @property
    def folder(self) -> Path:
        """Return the folder of this revision's files by their names."""
        return self.cached_at / "snapshots" / self.revision


def require_id(asked: str) -> None:
    """Raise InvalidRequest for what is not OWNER/NAME."""
    if asked.count("/") != 1:
        raise not_an_id(asked)
    try:
        validate_repo_id(asked)
    except HFValidationError as error:
        raise not_an_id(asked) from error


def look_up(asked: str) -> Repository:
    """Ask the hub what a model holds. Raises InvalidRequest for an id that it does not know or gives to nobody here.

    Raises WorkFailed without an answer within ten seconds.
    """
    try:
        info = HfApi().model_info(asked, files_metadata=True, timeout=TIMEOUT_S)
    except Exception as error:
        raise hub_error(asked, error) from error
    files = []
    for one in info.siblings or ():
        checksum = one.lfs.sha256 if one.lfs is not None else one.blob_id
        if checksum is None or one.size is None or not _is_plain(one.rfilename) or not checksum.isalnum():
            raise WorkFailed(f"the hub's list of {asked} cannot be used: {one.rfilename}", hint="name another model")
        files.append(HubFile(one.rfilename, one.size, checksum))
    return Repository(asked, str(info.sha), tuple(files), bool(info.private))


def find_repository(asked: str) -> Repository | None:
    """Return what a model holds; None where there is none of that name. Raises as `look_up` does."""
    try:
        return look_up(asked)
    except EngineError as error:
        if isinstance(error.__cause__, RepositoryNotFoundError) and not isinstance(error.__cause__, GatedRepoError):
            return None
        raise


def _is_plain(name: str) -> bool:
    """A name that stays within the folder it is put into."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name
