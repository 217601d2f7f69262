"""What a job was asked for, in a few words: of several that draw, or that train, each can be told from the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from t2v_core.format import counted
from t2v_tui.library.views import prompts_in_words

LONGEST = 200


def asked_in_words(verb: str, spec: Mapping[str, Any]) -> str:
    """Return `a red circle moving left · seed 3`, or `base · 40 epochs`; nothing where the verb says it all.

    spec: as the job's spec.json has it, which holds only what was asked; it comes from a host
    """
    told = _TELLERS.get(verb, _of_data)(spec)
    return " · ".join(" ".join(part.split()) for part in told if part)[:LONGEST]


def _of_video(spec: Mapping[str, Any]) -> tuple[str, ...]:
    prompt = str(spec.get("prompt") or prompts_in_words(spec.get("prompts")))
    source = PurePosixPath(str(spec.get("input") or "")).name
    return source, prompt, str(spec.get("model") or ""), f"seed {spec['seed']}" if "seed" in spec else ""


def _of_training(spec: Mapping[str, Any]) -> tuple[str, ...]:
    epochs = spec.get("epochs")
    return (
        str(spec.get("preset") or ""), str(spec.get("base") or spec.get("model") or ""),
        "LoRA" if spec.get("lora") else "", counted(epochs, "epoch") if isinstance(epochs, int) else "",
        str(spec.get("data") or ""),
    )  # fmt: skip


def _of_data(spec: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(spec.get(name) or "") for name in ("data", "checkpoint", "model"))


_TELLERS = {
    "generate": _of_video, "sheet": _of_video, "refine": _of_video, "add-noise": _of_video, "train": _of_training,
    "estimate": _of_training,
}  # fmt: skip
