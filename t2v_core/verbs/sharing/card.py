"""The card of a model that is shared, in the hub's form, written from what the run itself has recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.checkpoints.exported import CHECKPOINT
from t2v_core.models.open.licence import Licence
from t2v_core.models.open.listed import EXPORT_FORMAT
from t2v_core.specs import TrainSpec
from t2v_core.verbs.sharing.records import Point, Records

ROWS = 12
# Settings that say where somebody's files lie, and on which machine: nobody else's business.
PRIVATE = frozenset({"data", "checkpoints", "resume", "device", "threads", "model", "base", "distill"})
CURVE = "training_curve.csv"
# Of the settings of an evaluation, what its scores mean only together with.
PROTOCOL = ("sampler", "steps", "guidance_scale", "seeds", "prompts")


@dataclass(frozen=True)
class Shared:
    """What is written into a folder.

    name: of the model; base: that it was trained from, as others find it; family: of an open one
    licence: of the base; None where there is none, and whoever trained it chooses
    use: how it is used, as Markdown; samples: the videos' names in the folder, with their prompts
    info: of a model of ours, what the folder says as a checkpoint
    """

    name: str
    checkpoint: Checkpoint
    records: Records
    use: str
    base: str | None
    family: str | None
    licence: Licence | None
    samples: Sequence[tuple[str, str]]
    info: Mapping[str, Any] | None = None

    @property
    def is_adapter(self) -> bool:
        """Return True for a LoRA, which others put beside the base."""
        return self.checkpoint.is_adapter


def card_of(shared: Shared) -> str:
    """Return the card, as Markdown with the hub's front matter."""
    return "\n".join([*_front_matter(shared), "", *_body(shared)]) + "\n"


def record_of(shared: Shared) -> dict[str, Any]:
    """Return the same for programs. Paths of the machine where it was made are not in it."""
    info = shared.checkpoint.info
    licence = None if shared.licence is None else shared.licence.name
    return {
        "format": EXPORT_FORMAT, "name": shared.name, "step": shared.checkpoint.step, "epoch": info.get("epoch"),
        "held_out_loss": shared.checkpoint.held_out_loss, "base": shared.base, "family": shared.family,
        "licence_of_base": licence, "adapter": info.get("adapter"), "settings": settings_of(info),
        "data": data_of(info), "scores": [one["scores"] for one in shared.records.scores],
        "samples": [{"video": video, "prompt": prompt} for video, prompt in shared.samples],
        "versions": info.get("versions", {}), **({} if shared.info is None else {CHECKPOINT: shared.info}),
    }  # fmt: skip


def lora_use(name: str, base: str, pipeline: str, files: Sequence[str], form: str, others: Sequence[str]) -> str:
    """Return how a LoRA of an open model is used. files: a file for each expert; others: those in another form"""
    lines = ["```python", f"from diffusers import {pipeline}", "", f'pipeline = {pipeline}.from_pretrained("{base}")']
    for number, file in enumerate(files):
        second = ", load_into_transformer_2=True" if number else ""
        lines.append(f'pipeline.load_lora_weights("{name}", weight_name="{file}"{second})')
    flags = " ".join(f"--lora {name}/{file}" for file in files)
    lines += ["```", "", "```sh", f't2v generate "…" --model {base} {flags}', "```"]
    if others:
        lines += ["", f"For {form}: {', '.join(f'`{other}`' for other in others)}."]
    return "\n".join(lines)


def curve_csv(points: Sequence[Point]) -> str:
    """Return all of a training curve: a line each step."""
    lines = (f"{point.step},{_number(point.loss)},{_number(point.held_out_loss)}" for point in points)
    return "\n".join(["step,loss,held_out_loss", *lines]) + "\n"


def settings_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training that are not its defaults, without those that say where files lie."""
    defaults = {name: field.default for name, field in TrainSpec.model_fields.items()}
    return {
        name: value
        for name, value in public_settings(info).items()
        if name in defaults and info["spec"][name] != defaults[name]
    }


def public_settings(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings of a training without those that say where files lie; of a folder the name alone."""
    return {
        name: public_name(value) if isinstance(value, str) else value
        for name, value in info.get("spec", {}).items()
        if name not in PRIVATE
    }


def data_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the data set: its name, and what was made of each clip."""
    spec, latents, text = (info.get(name, {}) for name in ("spec", "latents", "text"))
    accumulated = spec.get("batch_size", 1) * spec.get("gradient_accumulation", 1) * (info.get("processes") or 1)
    settings = latents.get("settings", {})
    return {
        "name": PurePath(str(spec.get("data", ""))).name,
        "clips an epoch": (info.get("steps_per_epoch") or 0) * accumulated,
        "frames": settings.get("frames"),
        "size": settings.get("size") or [settings.get("height"), settings.get("width")],
        "frame rate": info.get("fps"),
        "latents": latents.get("shape"),
        "VAE": public_name(str(latents.get("encoder", {}).get("source", ""))),
        "text encoder": public_name(str(text.get("encoder", {}).get("source", ""))),
    }


def public_name(source: str) -> str:
    """Return a hub id or `embedded` as it is; of a folder or file of this machine its name alone."""
    is_here = source.startswith(("/", ".", "~")) or Path(source).exists()
    return PurePath(source).name if is_here else source


def _front_matter(shared: Shared) -> Iterator[str]:
    yield "---"
    if shared.licence is not None:
        yield f"license: {shared.licence.name if shared.licence.is_open else 'other'}"
        if not shared.licence.is_open:
            yield f"license_name: {json.dumps(shared.licence.name)}"
        if shared.licence.link:
            yield f"license_link: {shared.licence.link}"
    if shared.base is not None and shared.base.count("/") == 1:
        yield f"base_model: {shared.base}"
        yield f"base_model_relation: {'adapter' if shared.is_adapter else 'finetune'}"
    yield "pipeline_tag: text-to-video"
    yield f"library_name: {'t2v' if shared.family is None else 'diffusers'}"
    yield "tags:"
    yield from [f"- {tag}" for tag in ("text-to-video", "t2v", *(["lora"] if shared.is_adapter else []))]
    yield "---"


def _body(shared: Shared) -> Iterator[str]:
    info, records = shared.checkpoint.info, shared.records
    kind = "LoRA" if shared.is_adapter else "model"
    yield f"# {shared.name}"
    yield ""
    yield f"A text-to-video {kind}{_of_base(shared)}, trained with t2v for {shared.checkpoint.step:,} steps."
    yield from _section("Use", [shared.use])
    yield from _section("Licence", [_licence(shared)])
    yield from _section(
        "Data", _rows(("what", "value"), [(key, _shown(value)) for key, value in data_of(info).items()])
    )
    yield from _section("Settings", [_but_defaults(info), "", *_settings(info)])
    yield from _section("Training", _training(shared))
    if records.scores:
        yield from _section("Scores", _scores(records.scores))
    if shared.samples:
        yield from _section("Samples", [f"- [{prompt or video}]({video})" for video, prompt in shared.samples])
    yield from _section("Versions", [", ".join(f"{name} {text}" for name, text in info.get("versions", {}).items())])


def _of_base(shared: Shared) -> str:
    if shared.base is None:
        return ""
    family = "" if shared.family is None else f" ({shared.family})"
    return f"{' beside' if shared.is_adapter else ' that goes on from'} {shared.base}{family}"


def _licence(shared: Shared) -> str:
    if shared.licence is None:
        return "Trained from random weights: whoever shares it chooses, and writes it at the top of this card."
    link = f", {shared.licence.link}" if shared.licence.link else ""
    return f"That of the base: {shared.licence.name}{link}. The data may have its own."


def _but_defaults(info: Mapping[str, Any]) -> str:
    preset = info.get("spec", {}).get("preset")
    return f"What was set otherwise than t2v's defaults; the preset is {preset}."


def _settings(info: Mapping[str, Any]) -> list[str]:
    return list(_rows(("setting", "value"), [(f"`{key}`", _shown(value)) for key, value in settings_of(info).items()]))


def _training(shared: Shared) -> Iterator[str]:
    held_out, points = shared.checkpoint.held_out_loss, shared.records.curve
    if held_out is not None:
        yield f"Loss on clips that were held out: {held_out:.4f}."
        yield ""
    if not points:
        yield "The log of the training is not here any more."
        return
    shown = sorted({round(at * (len(points) - 1) / max(1, ROWS - 1)) for at in range(ROWS)})
    cells = [(f"{points[at].step:,}", _number(points[at].loss), _number(points[at].held_out_loss)) for at in shown]
    yield from _rows(("step", "loss", "held-out loss"), cells)
    yield ""
    yield f"All {len(points):,} steps are in [{CURVE}]({CURVE})."


def _scores(files: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Each score with its protocol: what else the file says of it, and with which sampler it was drawn."""
    for one in files:
        spec = one.get("spec", {})
        drawn = [f"{name.replace('_', ' ')} {spec[name]}" for name in PROTOCOL if spec.get(name) is not None]
        yield f"`t2v evaluate` at step {one.get('step', 0):,}: {', '.join(drawn)}."
        yield ""
        cells = []
        for name, score in one.get("scores", {}).items():
            rest = {key: value for key, value in score.items() if key != "value" and not isinstance(value, dict | list)}
            cells.append(
                (name, _shown(score.get("value")), ", ".join(f"{key} {_shown(value)}" for key, value in rest.items()))
            )
        yield from _rows(("score", "value", "protocol"), cells)
        yield ""


def _section(title: str, lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    yield from lines


def _rows(head: Sequence[str], cells: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in cells)


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return "×".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
