"""Torch, the accelerator and the encoders, as a child process finds them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2v_core.diagnosis.check import Check, bad, good, odd
from t2v_core.diagnosis.dataset import manifest_of
from t2v_core.diagnosis.machine import engine_is_complete, install_line
from t2v_core.format import size
from t2v_core.specs import PreprocessSpec
from t2v_core.workspace import Dataset

# Importing torch and transformers from a cold disk takes half a minute on a small machine.
TIMEOUT_S = 120.0
SMALL_PRESETS = ("tiny", "unet3d-tiny")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


class EngineProbe:
    """The child, begun at once and asked for later."""

    def __init__(self, spec: PreprocessSpec, folder: Path) -> None:
        self._child: subprocess.Popen[str] | None = None
        if engine_is_complete():
            argv = [sys.executable, "-m", "t2v_core.diagnosis.engine_probe", spec.vae, spec.text_encoder]
            environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
            self._child = subprocess.Popen(
                argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder
            )

    def found(self) -> dict[str, Any]:
        """Return what the child said; `wrong` when it could not, and in words why."""
        if self._child is None:
            return {"wrong": "the engine is not installed"}
        try:
            said, complaint = self._child.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
            return {"wrong": f"torch was not imported within {TIMEOUT_S:.0f} s"}
        if self._child.returncode:
            last = (complaint.strip().splitlines() or [f"exit code {self._child.returncode}"])[-1]
            return {"wrong": f"torch cannot be used: {last}"}
        answer: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
        return answer


def examine_engine(found: dict[str, Any], preset: str, estimate: str) -> Iterator[Check]:
    """Examine torch and the accelerator.

    preset: what training would take; estimate: the line that tells what that costs
    """
    if "wrong" in found:
        yield bad("torch", found["wrong"], _reinstall_line())
        return
    build = f"built for CUDA {found['cuda_build']}" if found["cuda_build"] else "without CUDA"
    yield good("torch", f"{found['torch']}, {build}")
    if found["device"] == "cuda":
        yield _cuda(found)
    elif found["device"] == "mps":
        yield good("accelerator", f"{found['name']}; training takes fp32")
    elif NVIDIA_DRIVER.exists() or shutil.which("nvidia-smi"):
        line = f"{shlex.quote(sys.executable)} -m pip install --force-reinstall torch"
        yield bad("accelerator", f"an NVIDIA driver is here, and this torch ({build}) cannot use it", line)
    elif preset in SMALL_PRESETS:
        yield good("accelerator", f"none; the {preset} preset does not need one")
    else:
        yield odd("accelerator", f"none; the {preset} preset takes days to years on a CPU", estimate)


def _cuda(found: dict[str, Any]) -> Check:
    told = f"{found['name']}, {size(found['memory_bytes'])}"
    if found["has_bf16"]:
        return good("accelerator", f"{told}, with bf16")
    return odd("accelerator", f"{told}, without bf16: training takes fp16", "t2v train --precision fp32")


def _reinstall_line() -> str:
    return install_line("engine")


def examine_encoders(found: dict[str, Any], dataset: Dataset, preprocess: str) -> Iterator[Check]:
    """Examine whether they are here, and whether they are those that the data was made with."""
    if "wrong" in found:
        yield bad("encoders", "cannot be looked for without the engine", _reinstall_line())
        return
    for what, folder in (("VAE", dataset.latents), ("text encoder", dataset.text_embeddings)):
        encoder = found["encoders"][what]
        name = what.lower()
        if "wrong" in encoder:
            # Preprocessing fetches what is not here, if there is a network.
            yield bad(name, f"{encoder['source']} is not on this machine", preprocess)
            continue
        made_with = manifest_of(folder / "train").get("encoder", {})
        if made_with and made_with.get("sha256") != encoder["sha256"]:
            other = made_with.get("source", "another")
            sentence = f"{encoder['source']} is here, and the data was made with other files ({other})"
            yield odd(name, sentence, preprocess)
        else:
            same = ", the one the data was made with" if made_with else ""
            yield good(name, f"{encoder['source']} is here{same}")
