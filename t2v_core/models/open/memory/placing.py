"""Where an open model's parts go, and as what: as asked, or the first way that fits into the memory that is free."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from t2v_core.errors import InvalidRequest, NotEnoughMemory
from t2v_core.format import size
from t2v_core.machine import available_memory_bytes
from t2v_core.memory import is_lack_of_memory
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.memory.footprint import Footprint, footprint, weights_of
from t2v_core.models.open.parts import Placing
from t2v_core.models.open.quantizing import PACKAGES, is_installed, require_installed

OFFLOADS = ("none", "model", "group")
# More than any VAE holds while it decodes, in times of the video as float32: 21 were reckoned for Wan's, 30 for
# CogVideoX's. Where even that fits there is nothing to reckon.
MOST_TIMES = 300
# Of what is free: allocators round up, and others may take some.
SHARE = 0.92
Warn = Callable[..., None]


@dataclass(frozen=True)
class Way:
    """One of the ways that there are."""

    offload: str
    is_tiled: bool
    quantize: str = "none"

    def peak(self, need: Footprint) -> int:
        """Return the bytes on the device at the fullest moment."""
        return need.peak(self.offload, is_tiled=self.is_tiled, quantize=self.quantize)

    def flags(self, plain: Way) -> list[str]:
        """Return what says it on the command line, where it is not as in `plain`."""
        said = [f"--offload {self.offload}"] * (self.offload != plain.offload)
        said += ["--vae-tiling yes"] * (self.is_tiled != plain.is_tiled)
        return said + [f"--quantize {self.quantize}"] * (self.quantize != plain.quantize)


def ways_of(offload: str = "auto", tiling: str = "auto", quantize: str = "auto") -> list[Way]:
    """Return the ways that are left open, those first that change least: values last, since they change the videos.

    Quantized weights are not moved block by block.
    """
    return [
        Way(how, is_tiled, what)
        for what in (("none", *PACKAGES) if quantize == "auto" else (quantize,))
        for how in (OFFLOADS if offload == "auto" else (offload,))
        for is_tiled in ((False, True) if tiling == "auto" else (tiling == "yes",))
        if what == "none" or how != "group"
    ]


def place(
    model: OpenModel, shape: tuple[int, int, int], *, offload: str, tiling: str, quantize: str, warn: Warn
) -> Placing:
    """Return where the parts go for a video of (frames, height, width): as asked, or the first way that fits.

    warn: told when that is not simply the device. Raises InvalidRequest when nothing fits that was left open, for
    quantized weights block by block, and where a package for them is not installed.
    """
    require_installed(quantize)
    if offload == "group" and quantize in PACKAGES:
        raise InvalidRequest(
            f"--quantize {quantize} and --offload group exclude each other",
            hint="use --offload model, which moves whole parts, or leave --quantize out",
        )
    placing = model.parts.placing
    free = free_bytes(placing.device)
    open_ways = [way for way in ways_of(offload, tiling, quantize) if _can_be_had(way)]
    if len(open_ways) == 1 or fits_easily(model, shape, free):
        return _placed(placing, open_ways[0])
    need = footprint(model, *shape)
    fitting = [way for way in open_ways if not free or way.peak(need) <= free * SHARE]
    if not fitting:
        least = min(way.peak(need) for way in open_ways)
        raise InvalidRequest(
            f"{model.name} takes about {size(least)} for {shape[0]} frames of {shape[2]}×{shape[1]}, and "
            f"{size(free)} is free on {placing.device}",
            hint="ask for fewer --frames or a smaller --height and --width, or use another --host; "
            "--offload, --vae-tiling and --quantize say to try all the same",
        )
    way, first = fitting[0], open_ways[0]
    if way != first:
        warn(
            f"all at once it would take about {size(first.peak(need))}, and {size(free)} is free on {placing.device}: "
            f"done with {' and '.join(way.flags(first))}, which is "
            + ("slower" if way.quantize == first.quantize else "coarser")
        )
    return _placed(placing, way)


@contextmanager
def memory_told(placing: Placing) -> Iterator[None]:
    """Say what to turn on where the memory does not hold what is done inside. Raises NotEnoughMemory."""
    try:
        yield
    except Exception as error:
        if not is_lack_of_memory(error):
            raise
        flags = ["--offload model"] * (placing.offload == "none")
        flags += ["--offload group"] * (placing.offload != "group" and placing.quantize == "none")
        flags += ["--vae-tiling yes"] * (not placing.tiling)
        flags += ["--quantize int8"] * (placing.quantize == "none" and placing.offload != "group")
        first = str(error).strip().partition("\n")[0][:200]
        raise NotEnoughMemory(
            f"the model does not fit into the memory of {placing.device}" + (f": {first}" if first else ""),
            hint=f"use {', '.join([*flags, 'fewer --frames'])} or a smaller --height and --width; "
            "t2v estimate --model says beforehand what fits",
        ) from error


def fits_easily(model: OpenModel, shape: tuple[int, int, int], free: int) -> bool:
    """Tell without simulating, which takes seconds, that there is room for everything at once."""
    frames, height, width = shape
    return not free or sum(weights_of(model).values()) + MOST_TIMES * frames * height * width * 3 * 4 < free * SHARE


def free_bytes(device: torch.device) -> int:
    """Return what is free on a device; 0 where nobody says."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory_bytes()


def _can_be_had(way: Way) -> bool:
    return way.quantize == "none" or is_installed(way.quantize)


def _placed(placing: Placing, way: Way) -> Placing:
    return replace(placing, offload=way.offload, tiling=way.is_tiled, quantize=way.quantize)
