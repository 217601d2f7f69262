"""What `t2v estimate --model` returns: the memory that an open model takes to make one video."""

from __future__ import annotations

from dataclasses import dataclass

from t2v_core.events.estimated import MachinePart
from t2v_core.events.results import Result


@dataclass(frozen=True, kw_only=True)
class OpenPart(Result):
    """One part of the model, in the arithmetic that it computes in."""

    name: str
    parameters: int
    weights_bytes: int


@dataclass(frozen=True, kw_only=True)
class Way(Result):
    """One way to place the parts, and the most it takes on the device."""

    offload: str
    vae_tiling: bool
    peak_bytes: int
    quantize: str = "none"


@dataclass(frozen=True, kw_only=True)
class Card(Result):
    """What a card of so much memory can do. way: the first that fits, None where none does"""

    memory_bytes: int
    way: Way | None = None


@dataclass(frozen=True, kw_only=True)
class OpenEstimated(Result):
    """Of `estimate --model`. sampling, decoding, tiled: what transformer and VAE hold beside weights; ways: all"""

    model: str
    family: str
    licence: str
    arithmetic: str
    frames: int
    height: int
    width: int
    parts: tuple[OpenPart, ...]
    sampling_bytes: int
    decoding_bytes: int
    tiled_bytes: int
    ways: tuple[Way, ...]
    machine: MachinePart
    here: Card
    cards: tuple[Card, ...]
