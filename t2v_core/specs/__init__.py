"""What can be asked of the engine: one pydantic model per verb, and the presets.

A spec crosses every boundary as JSON. Paths are absolute or relative to the workspace. `model_fields_set` says what was
asked; the rest are defaults, the preset's where it has its own.
"""

from __future__ import annotations

from t2v_core.specs.base import CLIP_B32, DATA, MAX_SEED, MOST_CELLS, SD_VAE, AutoYesNo, OnOverlap, Preset, Spec
from t2v_core.specs.by_verb import SPECS, all_values, asked_values, make_spec, read_spec
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
from t2v_core.specs.videos import (
    AddNoiseSpec,
    EvaluateSpec,
    GenerateSpec,
    RefineSpec,
    SamplingSpec,
    SheetSpec,
    VideoSpec,
)

__all__ = [
    "CLIP_B32",
    "DATA",
    "MAX_SEED",
    "MOST_CELLS",
    "SD_VAE",
    "SPECS",
    "AddNoiseSpec",
    "AutoYesNo",
    "DataCheckSpec",
    "DoctorSpec",
    "EstimateSpec",
    "EvaluateSpec",
    "ExportSpec",
    "FetchSpec",
    "GenerateSpec",
    "ImportCheckpointSpec",
    "ImportLatentsSpec",
    "ManifestSpec",
    "ModelsSpec",
    "OnOverlap",
    "PreprocessSpec",
    "Preset",
    "PublishSpec",
    "RefineSpec",
    "SamplingSpec",
    "ServeSpec",
    "ShapesSpec",
    "SheetSpec",
    "Spec",
    "TrainSpec",
    "VerifyResumeSpec",
    "VideoSpec",
    "all_values",
    "asked_values",
    "make_spec",
    "read_spec",
]
