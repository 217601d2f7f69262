"""Which adapters were asked for: `FILE` or `FILE:SCALE`, several with commas between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from t2v_core.errors import InvalidRequest

MOST_SCALE = 100.0


@dataclass(frozen=True)
class AskedLora:
    """path: of its file or folder; scale: how many times it counts"""

    path: Path
    scale: float = 1.0


def asked_loras(text: str | None, resolve: Callable[[Path], Path]) -> tuple[AskedLora, ...]:
    """Read what `--lora` says. resolve: makes a path absolute. Raises InvalidRequest for a scale that is none."""
    found = (_one(part.strip()) for part in (text or "").split(",") if part.strip())
    return tuple(AskedLora(resolve(one.path), one.scale) for one in found)


def _one(text: str) -> AskedLora:
    path, colon, scale = text.rpartition(":")
    if not colon or "/" in scale or "\\" in scale:
        return AskedLora(Path(text))
    try:
        value = float(scale)
    except ValueError as error:
        raise _no_scale(text, scale) from error
    if not -MOST_SCALE <= value <= MOST_SCALE or not path:
        raise _no_scale(text, scale)
    return AskedLora(Path(path), value)


def _no_scale(text: str, scale: str) -> InvalidRequest:
    return InvalidRequest(
        f"--lora {text}: '{scale}' is not a scale", hint="write --lora FILE or --lora FILE:SCALE, such as style:0.8"
    )
