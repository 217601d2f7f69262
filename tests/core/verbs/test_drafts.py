"""Drafts are drawn line by line by one process, and what was asked for later goes before what was asked for earlier."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.warm.python import warm

from t2v_core.assemble import load_pipeline
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.verbs.drafts import Draw, Requests, Superseded, answer, load

DEADLINE_S = 180


@pytest.fixture(scope="module")
def draw() -> Draw:
    return load()


def answers(said: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """Every line with the pixels behind it."""
    stream, found = io.BytesIO(said), []
    while line := stream.readline():
        header = json.loads(line)
        size = header["width"] * header["height"] * header["frames"] * 3 if "width" in header else 0
        found.append((header, stream.read(size)))
        assert len(found[-1][1]) == size
    return found


def asked(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_a_draft_is_the_video_that_the_shipped_fast_model_draws_in_four_passes() -> None:
    with subprocess.Popen(
        [warm(), "-m", "t2v_core.verbs.drafts"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(asked({"number": 7, "prompt": "a red circle moving right", "seed": 3}))
        child.stdin.flush()
        line = child.stdout.readline()
        child.stdin.close()
        [(header, pixels)] = answers(line + child.stdout.read())
        assert child.wait(DEADLINE_S) == 0
    assert header == {"number": 7, "width": 64, "height": 64, "frames": 8, "fps": 8.0, "source": [64, 64]}
    pipeline = load_pipeline(open_checkpoint(Path("embedded-fast")), device="cpu", precision="fp32")
    frames = pipeline("a red circle moving right", num_inference_steps=4, guidance_scale=1, seed=3).frames[0]
    shown = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).reshape(frames.shape)
    assert int((shown.int() - frames.int()).abs().max()) <= 1


def test_of_lines_that_wait_the_last_one_is_drawn_and_an_empty_prompt_draws_nothing(draw: Draw) -> None:
    source, end = os.pipe()
    with os.fdopen(source, "rb") as reading:
        os.write(end, asked({"number": 1, "prompt": "a"}, {"number": 2, "prompt": "a red circle"}))
        os.close(end)
        sink = io.BytesIO()
        answer(Requests(reading.fileno()), sink, draw)
        assert sink.getvalue() == b""  # the end had come before it was drawn

    source, end = os.pipe()
    with os.fdopen(source, "rb") as reading, os.fdopen(end, "wb", buffering=0) as writing:
        writing.write(asked({"number": 1, "prompt": "a"}, {"number": 2, "prompt": "a red circle"}))
        sink = io.BytesIO()
        answer(Requests(reading.fileno()), sink, draw, idle_s=0.0)
        assert [header["number"] for header, _ in answers(sink.getvalue())] == [2]
        writing.write(asked({"number": 3, "prompt": " "}))
        answer(Requests(reading.fileno()), sink, draw, idle_s=0.0)
        assert [header["number"] for header, _ in answers(sink.getvalue())] == [2]


def test_a_later_line_ends_what_is_being_drawn_between_two_passes(draw: Draw) -> None:
    source, end = os.pipe()
    passes: list[tuple[str, int]] = []
    with os.fdopen(source, "rb") as reading, os.fdopen(end, "wb", buffering=0) as writing:

        def drawn(prompt: str, seed: int, progress: Callable[[int, int], None]) -> tuple[Any, float]:
            def told(done: int, total: int) -> None:
                passes.append((prompt, done))
                if passes == [("first", 1)]:
                    writing.write(asked({"number": 2, "prompt": "second"}))
                progress(done, total)

            return draw(prompt, seed, told)

        writing.write(asked({"number": 1, "prompt": "first"}))
        sink = io.BytesIO()
        answer(Requests(reading.fileno()), sink, drawn, idle_s=0.0)
    assert passes == [("first", 1), *(("second", number) for number in (1, 2, 3, 4))]
    assert [header["number"] for header, _ in answers(sink.getvalue())] == [2]


def test_nothing_is_taken_for_a_line_before_its_end_has_come() -> None:
    source, end = os.pipe()
    with os.fdopen(source, "rb") as reading, os.fdopen(end, "wb", buffering=0) as writing:
        requests = Requests(reading.fileno())
        writing.write(b'{"number": 1, "pro')
        assert requests.next(0.0) is None
        writing.write(b'mpt": "a"}\n')
        assert requests.next(0.0) == {"number": 1, "prompt": "a"}
        requests.require_none(1, 4)
        writing.write(b"{}\n")
        with pytest.raises(Superseded):
            requests.require_none(2, 4)
