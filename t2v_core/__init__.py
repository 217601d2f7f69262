"""The engine: data, models, training, sampling, scores. Knows tensors, pixels and files; no terminal, no network.

In Python: `from t2v_core import VideoGenerator, find_latest_checkpoint`. They are imported when they are asked for, so
that whoever reads a spec or an event loads no tensors.
"""

from typing import TYPE_CHECKING, Any

from t2v_core.version import __version__

if TYPE_CHECKING:
    from t2v_core.video_generator import Video, VideoGenerator, find_latest_checkpoint

__all__ = ["Video", "VideoGenerator", "__version__", "find_latest_checkpoint"]

_LAZY = frozenset({"Video", "VideoGenerator", "find_latest_checkpoint"})


def __getattr__(name: str) -> Any:
    """Import what was asked for. Raises ImportError that says what to install where the engine is not."""
    if name not in _LAZY:
        raise AttributeError(f"module 't2v_core' has no attribute {name!r}")
    try:
        from t2v_core import video_generator  # it loads PyTorch
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("t2v_core"):
            raise
        raise ImportError(f"t2v_core.{name} needs the engine: pip install 't2v[engine]' (no {error.name})") from error
    return getattr(video_generator, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
