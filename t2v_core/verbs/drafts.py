"""Draw small videos of prompts as they are typed: `python -m t2v_core.verbs.drafts`.

A process that keeps the shipped fast model loaded. Each line of stdin asks for one video: {"number", "prompt", "seed"}.
For each comes to stdout a line of JSON, {"number", "width", "height", "frames", "fps", "source"}, and then that many
frames of RGB, 8 bits each, as data/video/preview.py writes them; or a line {"number", "error", "hint"}. A later line
ends what is drawn for an earlier one, between two passes; one with an empty prompt does only that. It ends with its
stdin, and after ten minutes without a line.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any

from t2v_core.disk.plain_json import table
from t2v_core.errors import EngineError, InvalidRequest

IDLE_S = 600.0
# Behind whatever somebody waits for.
NICENESS = 5
CHECKPOINT = "embedded-fast"
Draw = Callable[[str, int, Callable[[int, int], None]], tuple[Any, float]]


class Superseded(Exception):
    """Something else was asked for."""


class Requests:
    """What stands on the lines of a file descriptor: the last of them, and whether there is a later one."""

    def __init__(self, source: int) -> None:
        self.source, self._rest, self._last = source, b"", b""
        self.has_ended = False

    def next(self, timeout_s: float) -> Mapping[str, Any] | None:
        """Wait for a line, and return the last one there is; None at the end, and when none comes in time."""
        while not self._last:
            if self.has_ended or not self._read(timeout_s):
                return None
        line, self._last = self._last, b""
        return table(line)

    def require_none(self, _done: int, _total: int) -> None:
        """Raise Superseded when a line has come, or the end."""
        if self._last or self._read(0.0) or self.has_ended:
            raise Superseded

    def _read(self, timeout_s: float) -> bool:
        """Take in what has come; tells whether there was a line, or a part of one."""
        if not select.select([self.source], [], [], timeout_s)[0]:
            return False
        data = os.read(self.source, 65536)
        self.has_ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._last = next((line for line in reversed(lines) if line.strip()), self._last)
        return bool(data)


def answer(requests: Requests, sink: IO[bytes], draw: Draw, idle_s: float = IDLE_S) -> None:
    """Draw what is asked for until nobody asks any more."""
    while (asked := requests.next(idle_s)) is not None:
        number, prompt = asked.get("number"), str(asked.get("prompt", "")).strip()
        if not prompt:
            continue
        try:
            frames, fps = draw(prompt, int(asked.get("seed", 0)), requests.require_none)
        except Superseded:
            continue
        except EngineError as error:
            _say(sink, number=number, error=error.message, hint=error.hint)
            continue
        count, height, width = frames.shape[:3]
        _say(sink, number=number, width=width, height=height, frames=count, fps=fps, source=[width, height])
        sink.write(frames.tobytes())
        sink.flush()


def _say(sink: IO[bytes], **fields: Any) -> None:
    sink.write(json.dumps(fields).encode() + b"\n")
    sink.flush()


def load() -> Draw:
    """Load the model, and draw once, as the first time takes longest. Raises InvalidRequest without an engine."""
    try:
        import torch

        from t2v_core.assemble import load_pipeline
        from t2v_core.checkpoints.open import open_checkpoint
        from t2v_core.presets import MAP_STEPS
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        raise InvalidRequest(f"Python has no module {module}", hint="pip install 't2v[engine]'") from error
    from pathlib import Path

    torch.set_num_threads(1)
    checkpoint = open_checkpoint(Path(CHECKPOINT))
    pipeline = load_pipeline(checkpoint, device="cpu", precision="fp32")
    fps = float(checkpoint.info["fps"])

    def draw(prompt: str, seed: int, progress: Callable[[int, int], None]) -> tuple[Any, float]:
        drawn = pipeline(
            prompt, num_inference_steps=MAP_STEPS, guidance_scale=1.0, seed=seed, progress=progress
        ).frames[0]
        return drawn.numpy(), fps

    draw("a", 0, lambda _done, _total: None)
    return draw


def main() -> int:
    """Answer until stdin ends; returns 0, or 2 without an engine, which one line says."""
    os.nice(NICENESS)
    sink = sys.stdout.buffer
    try:
        answer(Requests(sys.stdin.fileno()), sink, load())
    except InvalidRequest as error:
        _say(sink, number=None, error=error.message, hint=error.hint)
        return 2
    except BrokenPipeError:  # nobody looks any more
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
