"""What an agent says of its machine before that does one job together with others."""

from __future__ import annotations

from dataclasses import dataclass

from t2v_core.disk.typed_json import ShownText


@dataclass(frozen=True)
class InterfaceAddress:
    """An IPv4 address and the interface that has it."""

    interface: ShownText
    address: ShownText


@dataclass(frozen=True)
class Meeting:
    """What it would bring.

    code: sha256 of the engine's files; torch: its version
    latents, text_embeddings: sha256 of their manifests, "" where there is none
    port: that it holds open for a minute, on all of `addresses`
    """

    code: str
    torch: ShownText
    latents: str
    text_embeddings: str
    addresses: tuple[InterfaceAddress, ...]
    port: int


@dataclass(frozen=True)
class Reached:
    """why: each place that was asked for is not reached, in its order; "" where it is"""

    why: tuple[ShownText, ...]
