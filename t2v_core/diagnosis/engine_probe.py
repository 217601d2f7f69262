"""A child of the doctor: imports torch and looks for encoders, and says in one line of JSON what it found.

`python -m t2v_core.diagnosis.engine_probe VAE TEXT_ENCODER`. It stands apart because torch may be absent or broken, and
because importing it takes seconds in which the doctor looks at other things.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def accelerator() -> dict[str, Any]:
    """Return what torch computes on."""
    import torch

    found: dict[str, Any] = {"torch": torch.__version__, "cuda_build": torch.version.cuda, "device": "cpu"}
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        name = torch.cuda.get_device_name(0)
        is_native = torch.cuda.get_device_capability(0) >= (8, 0)  # before Ampere bf16 is emulated, and slow
        found |= {"device": "cuda", "name": name, "memory_bytes": memory, "has_bf16": is_native}
    elif torch.backends.mps.is_available():
        found |= {"device": "mps", "name": "Apple GPU"}
    return found


def encoder(source: str, what: str) -> dict[str, Any]:
    """Return where an encoder lies on this machine and the hash of its files; no connection is made."""
    from t2v_core import embedded
    from t2v_core.errors import InvalidRequest
    from t2v_core.models.loading import find_model, identity

    files = {
        "VAE": ("config.json", "diffusion_pytorch_model.safetensors"),
        "text encoder": ("*.json", "*.txt", "model.safetensors"),
    }
    own: Path = embedded.VAE if what == "VAE" else embedded.CLIP
    try:
        folder = find_model(source, embedded=own, files=files[what], what=what)
    except InvalidRequest as error:
        return {"source": source, "wrong": error.message, "hint": error.hint}
    return {"source": source, "folder": str(folder), "sha256": identity(source, folder).sha256}


def main() -> None:
    """Print what was found as a line of JSON; the arguments name the VAE and the text encoder."""
    vae, text_encoder = sys.argv[1:3]
    found = accelerator()
    found["encoders"] = {"VAE": encoder(vae, "VAE"), "text encoder": encoder(text_encoder, "text encoder")}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
