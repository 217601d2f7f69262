"""What `models`, `fetch`, `export` and `publish` return."""

from __future__ import annotations

from dataclasses import dataclass

from t2v_core.events.results import Result


@dataclass(frozen=True, kw_only=True)
class ListedModel(Result):
    """One model. id: as `--model` takes it; is_open: its licence lets anybody use it for anything; missing: files"""

    id: str
    path: str
    family: str
    licence: str
    is_open: bool
    size_bytes: int
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ModelsListed(Result):
    """Of `models`. cache, folder: where was looked"""

    models: tuple[ListedModel, ...]
    cache: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class ModelFetched(Result):
    """Of `fetch`. files: of the model; bytes: of all; fetched_bytes: that came now"""

    model: str
    revision: str
    licence: str
    files: int
    bytes: int
    fetched_bytes: int
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Exported(Result):
    """Of `export`."""

    files: int
    bytes: int
    checkpoint_step: int
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ListedFile(Result):
    """One file of a folder. state: `new`, `replaces` what the hub has under its name, or the `same`"""

    name: str
    size_bytes: int
    state: str


@dataclass(frozen=True, kw_only=True)
class Published(Result):
    """Of `publish`. url: of the repository; is_new: it was not there before; is_done: all of `files` are there now"""

    url: str
    files: tuple[ListedFile, ...]
    is_new: bool
    is_private: bool
    is_done: bool
    uploaded_bytes: int
