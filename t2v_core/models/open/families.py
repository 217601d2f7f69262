"""Which families there are, and which one a folder is."""

from __future__ import annotations

from pathlib import Path

from t2v_core.disk.plain_json import read_table
from t2v_core.errors import InvalidRequest
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.cogvideox import CogVideoX
from t2v_core.models.open.hunyuan_video import HunyuanVideo
from t2v_core.models.open.layout import INDEX, missing_files
from t2v_core.models.open.ltx import LTX
from t2v_core.models.open.mochi import Mochi
from t2v_core.models.open.parts import Parts, Placing
from t2v_core.models.open.wan import Wan

# The class of our own models, which t2v export writes.
OWN = "TextToVideoPipeline"
# By the class that `model_index.json` names.
FAMILIES: dict[str, type[OpenModel]] = {kind.pipeline: kind for kind in (Wan, LTX, CogVideoX, Mochi, HunyuanVideo)}


def open_model(folder: Path, placing: Placing, *, weights: bool = True) -> OpenModel:
    """Open the model of a folder; its weights are loaded when they are needed.

    weights: False takes a folder with configurations only
    Raises InvalidRequest for a folder that is not a model's, is not whole, or is of a family that is not known.
    """
    kind = family_of(folder)
    parts = Parts(folder, placing)
    lacking = missing_files(folder, parts.names, weights=weights)
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise InvalidRequest(
            f"the model {folder} is incomplete: {lacking[0]} is missing{more}",
            hint="fetch it again: the same command with its hub id goes on where a download broke off",
        )
    return kind(parts)


def family_of(folder: Path) -> type[OpenModel]:
    """Return the family of a folder. Raises InvalidRequest with those that there are."""
    if not (folder / INDEX).is_file():
        raise InvalidRequest(
            f"{folder} holds no model: {INDEX} is missing", hint="name a folder in diffusers' layout, or a hub id"
        )
    try:
        named = str(read_table(folder / INDEX).get("_class_name"))
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{folder / INDEX} cannot be read: {error}", hint="fetch the model again") from error
    if named == OWN:
        raise InvalidRequest(f"{folder} is a model of t2v's own", hint=f"--checkpoint {folder}")
    if named not in FAMILIES:
        known = ", ".join(kind.name for kind in FAMILIES.values())
        raise InvalidRequest(f"{folder} is a {named}, which t2v does not know", hint=f"t2v knows {known}")
    return FAMILIES[named]
