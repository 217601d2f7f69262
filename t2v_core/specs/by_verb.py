"""The spec of each verb: made of what was asked, read from a job, written again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from t2v_core.disk.plain_json import read_table
from t2v_core.disk.plain_text import require_utf8
from t2v_core.errors import InvalidRequest
from t2v_core.specs.base import Spec
from t2v_core.specs.data import (
    DataCheckSpec,
    ImportCheckpointSpec,
    ImportLatentsSpec,
    ManifestSpec,
    PreprocessSpec,
    ShapesSpec,
)
from t2v_core.specs.models import ExportSpec, FetchSpec, ModelsSpec, PublishSpec
from t2v_core.specs.training import EstimateSpec, TrainSpec, VerifyResumeSpec
from t2v_core.specs.upkeep import DoctorSpec, ServeSpec
from t2v_core.specs.videos import AddNoiseSpec, EvaluateSpec, GenerateSpec, RefineSpec, SheetSpec
from t2v_core.validation import sentence_of

SPECS: dict[str, type[Spec]] = {
    "shapes": ShapesSpec,
    "check": DataCheckSpec,
    "preprocess": PreprocessSpec,
    "manifest": ManifestSpec,
    "import-latents": ImportLatentsSpec,
    "import-checkpoint": ImportCheckpointSpec,
    "train": TrainSpec,
    "generate": GenerateSpec,
    "sheet": SheetSpec,
    "add-noise": AddNoiseSpec,
    "refine": RefineSpec,
    "evaluate": EvaluateSpec,
    "estimate": EstimateSpec,
    "verify-resume": VerifyResumeSpec,
    "doctor": DoctorSpec,
    "serve": ServeSpec,
    "models": ModelsSpec,
    "fetch": FetchSpec,
    "export": ExportSpec,
    "publish": PublishSpec,
}


def make_spec(verb: str, values: dict[str, Any]) -> Spec:
    """Validate what was asked; raise InvalidRequest with one sentence for the first thing that is wrong."""
    require_utf8(values)
    try:
        return SPECS[verb].model_validate(values)
    except ValidationError as error:
        raise InvalidRequest(*sentence_of(SPECS[verb], error)) from error


def read_spec(verb: str, path: Path) -> Spec:
    """Read the spec of a job. Raises InvalidRequest when it is missing or wrong."""
    try:
        values = read_table(path)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path} cannot be read: {error}", hint="submit the job again") from error
    return make_spec(verb, values)


def all_values(spec: Spec) -> dict[str, Any]:
    """Return the spec as JSON-ready values, defaults included: what a result is stamped with."""
    return spec.model_dump(mode="json")


def asked_values(spec: Spec) -> dict[str, Any]:
    """Return only what was asked.

    `spec.json` holds that, so that a resumed training knows what is wanted otherwise.
    """
    return spec.model_dump(mode="json", exclude_unset=True)
