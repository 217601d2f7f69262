"""How the file of an adapter says what it is, and the names of its layers; nothing is imported to tell."""

from __future__ import annotations

# In the header of a safetensors file: what diffusers reads of ranks and alphas, and what we read of the model.
DIFFUSERS_KEY, OWN_KEY = "lora_adapter_metadata", "t2v"


def is_of_adapter(name: str) -> bool:
    """Tell from a layer's name within a model that it is an adapter's own."""
    return ".lora_" in f".{name}"
