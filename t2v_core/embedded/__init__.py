"""Our own tiny VAE, CLIP and denoiser, shipped as safetensors, and the script that made them (`make.py`)."""

from pathlib import Path

EMBEDDED = Path(__file__).parent
VAE = EMBEDDED / "vae"
CLIP = EMBEDDED / "clip"
DENOISER = EMBEDDED / "denoiser"
FAST = EMBEDDED / "fast"
# By the name that --checkpoint takes.
MODELS = {"embedded": DENOISER, "embedded-fast": FAST}
