"""What a spec names that must lie on the host already: adapters, what they lie beside, folders of open models."""

from __future__ import annotations

from pathlib import Path

from t2v_core import embedded
from t2v_core.models.lora.asked import asked_loras
from t2v_core.specs import Spec


def named_files(spec: Spec) -> list[str]:
    """Return the paths that a spec names, as they were written. Raises InvalidRequest for a LoRA's scale that is none.

    A hub id is none: it is fetched there.
    """
    base = getattr(spec, "base", None)
    named = [] if base is None else [str(base)]
    model, lora = getattr(spec, "model", None), getattr(spec, "lora", None)
    if isinstance(model, str) and (model.startswith((".", "~", "/")) or model.count("/") != 1):
        named.append(model)
    if isinstance(lora, str):
        named += [str(one.path) for one in asked_loras(lora, Path)]
    return [name for name in named if name not in embedded.MODELS]
