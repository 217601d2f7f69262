"""The encoders of an open model for `preprocess --model`."""

from __future__ import annotations

from t2v_core.data.store.buckets import names_of
from t2v_core.errors import InvalidRequest
from t2v_core.job import Job
from t2v_core.models.loading import pick_device
from t2v_core.models.open.encoders import OpenPromptEncoder, OpenVae
from t2v_core.models.open.families import open_model
from t2v_core.models.open.finding import find_open_model
from t2v_core.models.open.licence import licence_of
from t2v_core.models.open.parts import Placing, arithmetic
from t2v_core.processes.process_group import ProcessGroup
from t2v_core.specs import PreprocessSpec
from t2v_core.verbs.open.buckets import buckets_asked
from t2v_core.verbs.open.named_licence import name_licence


def open_encoders(
    spec: PreprocessSpec, group: ProcessGroup, job: Job
) -> tuple[PreprocessSpec, tuple[OpenVae, OpenPromptEncoder]]:
    """Find the model's encoders, and give the spec its makers' length where nothing was said.

    Raises InvalidRequest for a model that cannot be had, or that cannot take the length or the size.
    """
    asked = spec.model
    assert asked is not None
    folder = find_open_model(asked)
    device = pick_device(group.device(spec.device))
    placing = Placing(device, arithmetic(spec.precision, device), tiling=spec.vae_tiling == "yes")
    model = open_model(folder, placing)
    if group.is_first:
        name_licence(licence_of(folder, model.licence), asked, job)
    if spec.buckets is not None:
        spec = spec.model_copy(update={"buckets": names_of(buckets_asked(spec, model))})
    elif "frames" not in spec.model_fields_set:
        spec = spec.model_copy(update={"frames": model.usual.frames})
    if spec.size is not None and (spec.height is not None or spec.width is not None):
        raise InvalidRequest("--size is both height and width, and one of them is named", hint="leave --size out")
    return spec, (OpenVae(model, asked), OpenPromptEncoder(model, asked))
