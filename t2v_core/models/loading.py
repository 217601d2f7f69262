"""Where weights come from: the hub, a local folder or this package, and one sentence when they do not."""

from __future__ import annotations

import errno
import hashlib
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError

from t2v_core.disk.opening import open_file
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import expanded

# huggingface_hub waits and retries for minutes without a network.
HUB_TIMEOUT_S = 10

# Weights as safetensors, and the file that older models have instead.
PICKLED = {
    "model.safetensors": "pytorch_model.bin",
    "diffusion_pytorch_model.safetensors": "diffusion_pytorch_model.bin",
}

# What the libraries raise for files that are not a model, not this kind of model, or damaged.
UNLOADABLE = (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError)
# How its folder is named, where one option does so for every command.
OPTIONS = {"VAE": " (--vae FOLDER)", "text encoder": " (--text-encoder FOLDER)"}


@dataclass(frozen=True)
class EncoderIdentity:
    """Which weights: what was asked for, and a hash of what was found."""

    source: str
    sha256: str

    def as_dict(self) -> dict[str, str]:
        """Return source and hash, JSON-ready."""
        return asdict(self)


def find_model(source: str, *, embedded: Path, files: tuple[str, ...], what: str) -> Path:
    """Return the local folder that holds `source`: 'embedded', a folder, or a hub id (cached, else fetched).

    files: patterns of the files that are needed
    what: names the model in an error, such as "VAE"
    Raises InvalidRequest with the way out when there is no such folder, or no network and nothing cached.
    """
    if source == "embedded":
        return embedded
    folder = expanded(Path(source))
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InvalidRequest(
                f"{folder} holds no {what}: config.json is missing", hint="name a folder that save_pretrained wrote"
            )
        return folder
    if folder.is_absolute() or source.startswith((".", "~")) or source.count("/") != 1:
        raise _not_found(source, what)
    return _from_hub(source, files, what)


def _from_hub(source: str, files: tuple[str, ...], what: str) -> Path:
    """What is cached whole is enough; only what is not makes a connection."""
    from huggingface_hub import snapshot_download  # 0.3 s that local folders need not pay
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    patterns = [*files]
    try:
        cached = Path(snapshot_download(source, allow_patterns=patterns, local_files_only=True))
        if _has_weights(cached, files):
            return cached
    except HFValidationError as error:
        raise _not_found(source, what) from error
    except LocalEntryNotFoundError:
        logging.getLogger(__name__).info("%s is not cached, asking the hub", source)
    try:
        require_answer()
        fetched = Path(snapshot_download(source, allow_patterns=patterns))
        if not _has_weights(fetched, files):  # models of the hub's first years may have no other form
            fetched = Path(snapshot_download(source, allow_patterns=[PICKLED.get(name, name) for name in files]))
    except Exception as error:
        raise InvalidRequest(
            f"the {what} {source} is not on this machine and cannot be fetched ({hub_reason(error)})",
            hint="connect and run again, or copy the model here and name its folder"
            f"{OPTIONS.get(what, '')}; 'embedded' is t2v's own, for what was made with it",
        ) from error
    return fetched


def require_answer() -> None:
    """Make one plain request with a deadline: without it, `snapshot_download` tries a silent hub again for minutes."""
    from huggingface_hub import constants, get_session

    get_session().head(constants.ENDPOINT, timeout=HUB_TIMEOUT_S)


def _has_weights(folder: Path, files: tuple[str, ...]) -> bool:
    """A download that broke off leaves a folder with the small files only."""
    return any((folder / name).is_file() for file in files if file in PICKLED for name in (file, PICKLED[file]))


def _not_found(source: str, what: str) -> InvalidRequest:
    return InvalidRequest(
        f"there is no {what} at {source}", hint="name a folder, a hub id such as owner/name, or 'embedded'"
    )


def hub_reason(error: Exception) -> str:
    """Return which of four things it was: the hub's own errors run over several lines."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    name = type(error).__name__
    if "RepositoryNotFound" in name or "GatedRepo" in name or "RevisionNotFound" in name:
        return "the hub does not know it, or it needs a login"
    return "the hub cannot be reached"


def identified_files(folder: Path) -> list[Path]:
    """Return which files make an encoder what it is, in the order of their names."""
    return sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin", ".json", ".txt"))


def identity(source: str, folder: Path) -> EncoderIdentity:
    """Hash the weights and configuration that were loaded, in the order of their names."""
    digest = hashlib.sha256()
    for file in identified_files(folder):
        digest.update(file.name.encode())
        with open_file(file) as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return EncoderIdentity(source, digest.hexdigest())


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers and diffusers: loading one tower of a CLIP prints a page of keys not used, and a bar."""
    loggers = [logging.getLogger(name) for name in ("transformers", "diffusers", "transformers.modeling_utils")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    if sys.modules.get("transformers", warnings) is not None:  # it is not put off, as in an estimate
        from transformers.utils import logging as transformers_logging  # 0.3 s that nothing else here needs

        transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def pick_device(asked: str) -> torch.device:
    """Return the device asked for; `auto` is the first accelerator, else the CPU.

    Raises InvalidRequest for one that is not there.
    """
    if asked == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(asked)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidRequest(f"there is no device '{asked}' here", hint="use auto or cpu") from error
    return device


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the arithmetic for `precision`: auto is bf16 where the GPU has it, fp16 on older GPUs, fp32 elsewhere."""
    if precision != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
