"""Whether a file is a video that can be used whole: `python -m t2v_core.data.video.check_upload FILE`.

Writes a line of JSON, {"frames", "fps", "width", "height"} or {"error", "hint"} with exit code 2. A process of its own:
a file from a stranger meets the decoder where it can break nothing else, and whoever asks has no decoder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2v_core.format import size

# What refining holds in memory at once, as RGB.
MOST_FRAMES, MOST_BYTES = 600, 2**30


def check(path: Path) -> dict[str, Any]:
    """Decode every frame once, one at a time. Raises UnreadableClip, and EngineError for one that is too large."""
    from t2v_core.data.video.container import opened, read_index
    from t2v_core.data.video.decode import intact_frames
    from t2v_core.errors import InvalidRequest

    with opened(path) as (container, stream):
        width, height, frames = stream.width, stream.height, len(read_index(path, container, stream).pts)
        fps = float(stream.average_rate or stream.base_rate or 0)
    if frames > MOST_FRAMES or frames * width * height * 3 > MOST_BYTES:
        raise InvalidRequest(
            f"the video has {frames} frames of {width}×{height}",
            hint=f"cut it to {MOST_FRAMES} frames or fewer, {size(MOST_BYTES)} decoded; "
            "the model works on a few seconds",
        )
    with opened(path) as (container, stream):
        decoded = sum(1 for _ in intact_frames(path, container, stream))
    return {"frames": decoded, "fps": fps, "width": width, "height": height}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the one video named and print what it is, or what is wrong with it, as a line of JSON.

    Returns 0, or 2 for a video that cannot be used or a call that is wrong.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        print("usage: python -m t2v_core.data.video.check_upload FILE", file=sys.stderr)
        return 2
    from t2v_core.errors import EngineError

    try:
        said, code = check(Path(arguments[0])), 0
    except ModuleNotFoundError as error:
        said, code = {"error": f"Python has no module {error.name}", "hint": "pip install 't2v[web]'"}, 2
    except EngineError as error:
        said, code = {"error": getattr(error, "detail", error.message), "hint": error.hint}, 2
    print(json.dumps(said))
    return code


if __name__ == "__main__":
    sys.exit(main())
