"""Where an open model lies: a folder, or the hub's cache, filled when there is a network."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

from t2v_core.disk.files import describe_os_error
from t2v_core.disk.plain_json import read_table
from t2v_core.errors import EngineError, InvalidRequest
from t2v_core.models.loading import require_answer
from t2v_core.models.open.layout import INDEX, USED, missing_files, part_names
from t2v_core.models.open.licence import CARD
from t2v_core.workspace import expanded

# Other forms of the same weights, which would double a download.
NOT_NEEDED = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.onnx", "*.msgpack", "*.fp16.*", "*.gguf"]
SMALL = [INDEX, CARD, "LICENSE*"]


def find_open_model(source: str, *, weights: bool = True) -> Path:
    """Return the folder of a model: as named, or of a hub id, cached or else fetched.

    weights: False is content with the configurations, a few kilobytes
    Raises InvalidRequest when there is no such folder, or it is not cached and the hub gives no answer.
    """
    folder = expanded(Path(source))
    if folder.is_dir():
        return folder.absolute()
    if folder.is_absolute() or source.startswith((".", "~")) or source.count("/") != 1:
        raise InvalidRequest(
            f"there is no model at {source}", hint="name a folder, or a hub id such as Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
        )
    return _from_hub(source, weights=weights)


def _from_hub(source: str, *, weights: bool) -> Path:
    from huggingface_hub import snapshot_download  # 0.3 s that local folders need not pay
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    files = "*" if weights else "*.json"
    patterns = [*SMALL, *(f"{name}/{files}" for name in USED)]
    missing: list[str] | None = None
    try:
        cached = Path(snapshot_download(source, allow_patterns=patterns, local_files_only=True))
        missing = _missing(cached, weights=weights)
        if not missing:
            return cached
    except HFValidationError as error:
        raise InvalidRequest(f"{source} is not a hub id", hint="name a folder, or owner/name") from error
    except LocalEntryNotFoundError:
        logging.getLogger(__name__).info("%s is not cached, asking the hub", source)
    try:
        require_answer()
        return Path(snapshot_download(source, allow_patterns=patterns, ignore_patterns=NOT_NEEDED))
    except Exception as error:
        raise _not_fetched(source, missing, error) from error


def _missing(folder: Path, *, weights: bool) -> list[str]:
    """A download that broke off leaves some of the files."""
    if not (folder / INDEX).is_file():
        return [INDEX]
    try:
        names = part_names(read_table(folder / INDEX))
    except ValueError:
        return [INDEX]
    return missing_files(folder, names, weights=weights)


def _not_fetched(source: str, missing: list[str] | None, error: Exception) -> EngineError:
    from huggingface_hub import constants

    from t2v_core.models.hub.sentences import hub_error  # imports the hub's client

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return describe_os_error(error, Path(constants.HF_HUB_CACHE))
    said = hub_error(source, error)
    here = "is not on this machine" if missing is None else f"is here only in part ({missing[0]} is missing)"
    return InvalidRequest(
        f"the model {source} {here} and cannot be fetched: {said.message}",
        hint=f"{said.hint}; or copy the model here and name its folder",
    )
