"""What `train --model` asks before anything is loaded."""

from __future__ import annotations

from typing import TypeVar

from t2v_core.job import Job
from t2v_core.models.loading import pick_device
from t2v_core.models.open.families import open_model
from t2v_core.models.open.finding import find_open_model
from t2v_core.models.open.licence import licence_of
from t2v_core.models.open.parts import Placing, arithmetic
from t2v_core.specs import TrainSpec
from t2v_core.training.base.open import suited_to_open
from t2v_core.verbs.open.named_licence import name_licence

SpecT = TypeVar("SpecT", bound=TrainSpec)


def suited(spec: SpecT, job: Job) -> SpecT:
    """Return the spec as an open model needs it, and name a licence that is not open.

    Raises InvalidRequest for a model that cannot be had.
    """
    assert spec.model is not None
    folder = find_open_model(spec.model)
    device = pick_device(spec.device)
    model = open_model(folder, Placing(device, arithmetic(spec.precision, device)))
    name_licence(licence_of(folder, model.licence), spec.model, job)
    return suited_to_open(spec, model, job.events.warning)
