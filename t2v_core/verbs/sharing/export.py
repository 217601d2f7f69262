"""`t2v export`: a trained model as a folder that others load, with a card that the run's own records fill."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from t2v_core.assemble import open_or_latest
from t2v_core.checkpoints.checkpoints import EMA, MODEL, Checkpoint
from t2v_core.disk.files import require_space, staged_directory, write_json
from t2v_core.disk.tensor_file import write_tensors
from t2v_core.errors import InvalidRequest
from t2v_core.events.models_listed import Exported
from t2v_core.job import Job
from t2v_core.models.lora.files import read_lora
from t2v_core.models.lora.forms import PACKED, PART, in_form
from t2v_core.models.lora.header import DIFFUSERS_KEY, OWN_KEY
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.families import open_model
from t2v_core.models.open.finding import find_open_model
from t2v_core.models.open.layout import RECORD, TRANSFORMERS, needed_files
from t2v_core.models.open.licence import CARD, licence_of
from t2v_core.models.open.parts import Placing
from t2v_core.specs import ExportSpec
from t2v_core.training.tricks.synthesis import averaged_over
from t2v_core.verbs.sharing.card import (
    CURVE,
    Shared,
    card_of,
    curve_csv,
    lora_use,
    public_name,
    record_of,
)
from t2v_core.verbs.sharing.own_model import use_of_own_model, write_own_model
from t2v_core.verbs.sharing.records import records_of

LORA, LORA_2 = "pytorch_lora_weights.safetensors", "pytorch_lora_weights_2.safetensors"
CPU = Placing(torch.device("cpu"), torch.float32)
# Of Wan 2.2's two experts, as those who load them apart call the files.
EXPERTS = {"transformer": "high_noise", "transformer_2": "low_noise"}


def export(spec: ExportSpec, job: Job) -> Exported:
    """Write a folder: weights as diffusers has them, card, records, curve and samples; whole or not at all.

    Raises InvalidRequest for a folder that is there, a checkpoint that cannot be read, and a form that is none of its.
    """
    target = job.workspace.resolve(spec.folder)
    if target.exists():
        raise InvalidRequest(f"{target} already exists", hint="name a new folder, or remove that one first")
    asked = None if spec.checkpoint is None else job.workspace.resolve(spec.checkpoint)
    checkpoint = open_or_latest(asked, job.workspace, job.events.warning)
    checkpoint.require_known_format()
    if spec.format != "diffusers" and not (checkpoint.is_adapter and checkpoint.open_model):
        raise InvalidRequest(
            f"--format {spec.format} is for a LoRA of an open model, and {checkpoint.path.name} is none",
            hint="leave --format out",
        )
    if spec.average_length is not None:
        checkpoint = averaged_over(checkpoint, spec.average_length)
    job.events.stage("export", str(job.workspace.relative(checkpoint.path)))
    with staged_directory(target) as folder:
        shared = _written(folder, target.name, checkpoint, spec, job)
        (folder / CARD).write_text(card_of(shared))
        write_json(folder / RECORD, record_of(shared))
        if shared.records.curve:
            (folder / CURVE).write_text(curve_csv(shared.records.curve))
    files = [path for path in target.rglob("*") if path.is_file()]
    return Exported(
        files=len(files), bytes=sum(path.stat().st_size for path in files), checkpoint_step=checkpoint.step,
        paths=(str(job.workspace.relative(target)),),
    )  # fmt: skip


def _written(folder: Path, name: str, checkpoint: Checkpoint, spec: ExportSpec, job: Job) -> Shared:
    """Write the weights and samples, and return what the card says."""
    file = checkpoint.path / (EMA if spec.weights == "ema" else MODEL)
    info: dict[str, Any] | None = None
    if checkpoint.open_model is None and checkpoint.is_adapter:
        base, family, licence = str(checkpoint.info.get("base", {}).get("checkpoint", "")), None, None
        use = _own_lora(folder, name, base, file)
    elif checkpoint.open_model is None:
        base, family, licence, use = None, None, None, use_of_own_model(name)
        info = write_own_model(folder, checkpoint, spec.weights)
    else:
        model = open_model(find_open_model(checkpoint.open_model), CPU)
        base, family = checkpoint.open_model, model.name
        licence = licence_of(model.parts.folder, model.licence)
        use = _open(folder, name, checkpoint, file, model, spec, job)
    records = records_of(checkpoint, job.workspace)
    samples = []
    for number, sample in enumerate(records.samples):
        kept = folder / "samples" / f"{number}{sample.video.suffix}"
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(sample.video, kept)
        samples.append((f"samples/{kept.name}", sample.prompt))
    return Shared(
        name, checkpoint, records, use, None if base is None else public_name(base), family, licence, samples, info
    )


def _own_lora(folder: Path, name: str, base: str, file: Path) -> str:
    """A LoRA of a model of ours. Returns how it is used."""
    _copy_lora(file, folder)
    return f'```sh\nt2v generate "…" --checkpoint {Path(base).name} --lora {name}/{LORA}\n```'


def _open(
    folder: Path, name: str, checkpoint: Checkpoint, file: Path, model: OpenModel, spec: ExportSpec, job: Job
) -> str:
    """What was trained of an open model: its LoRA, or all of it in diffusers' layout. Returns how it is used."""
    base, pipeline = checkpoint.open_model, model.pipeline
    if not checkpoint.is_adapter:
        _whole_model(folder, file, model, job)
        return f'```python\nfrom diffusers import {pipeline}\n\npipeline = {pipeline}.from_pretrained("{name}")\n```'
    files = _copy_lora(file, folder)
    others = _other_forms(folder, name, file, model, spec) if spec.format != "diffusers" else []
    return lora_use(name, public_name(base or ""), pipeline, files, spec.format, others)


def _other_forms(folder: Path, name: str, file: Path, model: OpenModel, spec: ExportSpec) -> list[str]:
    """A file for each expert, in another program's form. Returns their names."""
    lora, sizes = read_lora(file), model.layer_sizes()
    written = []
    for part in TRANSFORMERS:
        layers = lora.of(part)
        if not layers:
            continue
        form = in_form(spec.format, model.name, layers, sizes)
        several = len([one for one in TRANSFORMERS if lora.of(one)]) > 1
        own = f"{name}_{spec.format}{f'_{EXPERTS[part]}' if several else ''}.safetensors"
        about = dict(lora.about) | {PART: part, PACKED: form.packed}
        _write(folder / own, form.tensors, about)
        written.append(own)
    return written


def _whole_model(folder: Path, file: Path, model: OpenModel, job: Job) -> None:
    """The base with what was trained in place of its transformers."""
    base, names = model.parts.folder, model.parts.names
    present = [path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file()]
    others = needed_files(present, [name for name in names if name not in TRANSFORMERS]) - {CARD}
    size_bytes = file.stat().st_size + sum((base / name).stat().st_size for name in others)
    require_space(folder.parent, size_bytes, f"the model {folder.name}")
    for name in sorted(others):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(base / name, folder / name)
        job.check_stop()
    model.parts.tuned = file
    for name in names:
        if name in TRANSFORMERS:
            model.parts.use(name).save_pretrained(folder / name)
            model.parts.forget(name)
            job.check_stop()


def _copy_lora(file: Path, folder: Path) -> list[str]:
    """The same tensors and ranks, a file for each expert, as diffusers loads them; of the base only its name.

    Returns the files' names.
    """
    with safe_open(file, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in sorted(opened.keys())}
        header = dict(opened.metadata() or {})
    about, ranks = json.loads(header.get(OWN_KEY, "{}")), json.loads(header.get(DIFFUSERS_KEY, "{}"))
    written = []
    for part in sorted({name.partition(".")[0] for name in tensors}):
        # diffusers looks for the first expert's name in the second one's file as well.
        name, called = (LORA_2, TRANSFORMERS[0]) if part == TRANSFORMERS[1] else (LORA, part)
        own, said = (
            {f"{called}.{key.partition('.')[2]}": value for key, value in every.items() if key.startswith(f"{part}.")}
            for every in (tensors, ranks)
        )
        _write(folder / name, own, about | {PART: part}, {DIFFUSERS_KEY: json.dumps(said, sort_keys=True)})
        written.append(name)
    return written


def _write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any], header: Mapping[str, str] = {}) -> None:
    said = {name: public_name(value) if isinstance(value, str) else value for name, value in about.items()}
    write_tensors(path, tensors, metadata={"format": "pt", **header, OWN_KEY: json.dumps(said, sort_keys=True)})
