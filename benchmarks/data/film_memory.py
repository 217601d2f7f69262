"""What a film takes of memory, by its length: `python benchmarks/data/film_memory.py [SECONDS …]`, films of 1080p.

Each verb runs on each film in a process of its own, which tells how much more it held at its peak than when it had
loaded everything and had refined, noised or read a second's film. A frame of the source is 6.2 MB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, FPS = 1920, 1080, 30
FRAME_BYTES = WIDTH * HEIGHT * 3
VERBS = ("add-noise", "refine", "preprocess", "data check")


def pictures(count: int) -> Iterator[NDArray[np.uint8]]:
    """A square that moves over a gradient: quick to encode, and no two alike."""
    background = np.tile(np.linspace(0, 255, WIDTH, dtype=np.uint8)[None, :, None], (HEIGHT, 1, 3))
    for number in range(count):
        picture = background.copy()
        left = 10 * number % (WIDTH - 200)
        picture[400:600, left : left + 200] = 255
        yield picture


def work_of(verb: str, workspace: Path) -> Callable[[Path], object]:
    from t2v_core.data.annotations.msrvtt import Clip
    from t2v_core.data.check.check_clip import check_clip
    from t2v_core.data.store.ahead import decode_ahead
    from t2v_core.data.store.buckets import Bucket
    from t2v_core.run_job import main
    from t2v_core.workspace import Workspace, create_job_directory

    def through_the_door(**spec: Any) -> None:
        directory = create_job_directory(Workspace(workspace), verb)
        (directory / "spec.json").write_text(json.dumps(spec))
        if main([verb, str(directory)]):
            raise SystemExit((directory / "events.jsonl").read_text())

    usual = Bucket(16, 256, 256)

    def decoded(film: Path) -> list[object]:
        with decode_ahead([(Clip("a", film, ["a"]), usual)], largest=usual, ahead=8) as clips:
            return list(clips)

    output = str(workspace / f"{verb.replace(' ', '-')}.mp4")
    refining = {"prompt": "a red circle", "checkpoint": "embedded", "steps": 1, "strength": 1, "device": "cpu"}
    return {
        "add-noise": lambda film: through_the_door(input=str(film), output=output, strength=0),
        "refine": lambda film: through_the_door(input=str(film), output=output, **refining),
        "preprocess": decoded,
        "data check": check_clip,
    }[verb]


def measure(verb: str, warm: Path, film: Path) -> int:
    """In this process: bytes at the peak beyond those that were held before."""
    from t2v_core.machine import forget_peak, peak_resident_bytes, resident_bytes

    work = work_of(verb, film.parent)
    work(warm)
    forget_peak()
    before = resident_bytes()
    work(film)
    return peak_resident_bytes() - before


def main(seconds: list[int]) -> None:
    from t2v_core.data.video.frames import write_video

    with tempfile.TemporaryDirectory(prefix="t2v-film-memory-") as place:
        films = {length: Path(place) / f"{length}s.mp4" for length in sorted({1, *seconds})}
        for length, film in films.items():
            write_video(film, pictures(length * FPS), fps=FPS, crf=30)
        print(f"{'':<12}" + "".join(f"{f'{length} s':>10}" for length in seconds) + "   MB at the peak, 1080p")
        for verb in VERBS:
            row = []
            for length in seconds:
                argv = [sys.executable, __file__, "--measure", verb, str(films[1]), str(films[length])]
                said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
                row.append(int(said.strip().splitlines()[-1]) / 1e6)
            print(f"{verb:<12}" + "".join(f"{megabytes:>10.0f}" for megabytes in row), flush=True)
        whole = "".join(f"{length * FPS * FRAME_BYTES / 1e6:>10.0f}" for length in seconds)
        print(f"{'the frames':<12}{whole}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(measure(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])))
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("seconds", type=int, nargs="*", default=[2, 8])
        main(parser.parse_args().seconds)
