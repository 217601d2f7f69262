"""VBench: its folder of videos, and an installed one called in an environment of its own, which is never ours.

Source: Huang et al. 2024; vbench 0.1.5, vbench/launch/evaluate.py and vbench/__init__.py (mode custom_input).
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from t2v_core.data.video.frames import write_video
from t2v_core.disk.files import write_json
from t2v_core.disk.plain_json import read_table
from t2v_core.errors import InvalidRequest, WorkFailed
from t2v_core.job import Job

# Of its sixteen dimensions those that need nothing but a video and its prompt.
DIMENSIONS = (
    "subject_consistency", "background_consistency", "motion_smoothness", "dynamic_degree", "aesthetic_quality",
    "imaging_quality", "temporal_flickering", "temporal_style", "overall_consistency", "human_action",
)  # fmt: skip
# What its README names for videos of one's own.
USUAL = DIMENSIONS[:6]
VIDEOS, PROMPTS, RESULTS = "videos", "prompts.json", "*_eval_results.json"
# A name has 255 bytes on most disks; the rest is the number of the video.
LONGEST_NAME = 200
CHECK_TIMEOUT_S, POLL_S = 120.0, 0.5
VERSION = "from importlib.metadata import version; import vbench; print(version('vbench'))"


def chosen_dimensions(asked: str) -> list[str]:
    """Return the dimensions of a list with commas. Raises InvalidRequest for one that there is not."""
    names = list(dict.fromkeys(name.strip() for name in asked.split(",") if name.strip())) or list(USUAL)
    for name in names:
        if name not in DIMENSIONS:
            raise InvalidRequest(
                f"VBench has no dimension '{name}' for prompts of one's own", hint=f"there is: {', '.join(DIMENSIONS)}"
            )
    return names


def write_layout(folder: Path, prompts: Sequence[str], videos: Sequence[Tensor], fps: float) -> Path:
    """Write `videos/PROMPT-0.mp4`, `PROMPT-1.mp4`, … and `prompts.json`, which says whose prompt each has.

    So VBench finds them in both its modes: a video of one of its own prompts has the name that it looks for.

    prompts: of each clip; videos: of each, (seeds, frames, height, width, 3) uint8
    Returns the folder of the videos.
    """
    place, said = folder / VIDEOS, {}
    made: dict[str, int] = {}
    for prompt, drawn in zip(prompts, videos, strict=True):
        for frames in drawn:
            number = made.get(prompt, 0)
            made[prompt] = number + 1
            name = f"{file_name(prompt)}-{number}.mp4"
            write_video(place / name, frames.numpy(), fps=fps)
            said[name] = prompt
    write_json(folder / PROMPTS, said)
    return place


def file_name(prompt: str) -> str:
    """Return the prompt, where a file may be called so; else as much of it as may, and what tells it from others."""
    plain = re.sub(r"[/\x00-\x1f\x7f]", "_", prompt).lstrip(".")
    if plain == prompt and len(prompt.encode()) <= LONGEST_NAME and prompt:
        return prompt
    kept = plain.encode()[: LONGEST_NAME - 9].decode(errors="ignore")
    return f"{kept}-{hashlib.sha256(prompt.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class VBench:
    """An installed one. python: of its environment"""

    python: Path
    version: str

    @classmethod
    def at(cls, python: Path) -> VBench:
        """Look whether it is there. Raises InvalidRequest when it is not, or does not start."""
        try:
            done = subprocess.run(
                [str(python), "-c", VERSION], capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False,
                env=_environment(),
            )  # fmt: skip
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise _not_there(python, str(why)) from error
        if done.returncode:
            raise _not_there(python, (done.stderr.strip().splitlines() or ["it ended without a word"])[-1][:200])
        return cls(python, done.stdout.strip())

    def scores(self, folder: Path, dimensions: Sequence[str], job: Job) -> dict[str, dict[str, Any]]:
        """Have it score a layout; what it prints goes to the job's log. Raises WorkFailed, and Stopped when asked to.

        Returns `vbench_DIMENSION`, each with the version and how many videos it saw.
        """
        job.events.stage("vbench", f"{self.version}: {', '.join(dimensions)}")
        results = folder / "results"
        argv = [
            str(self.python), "-m", "vbench.launch.evaluate", "--mode", "custom_input",
            "--videos_path", str(folder / VIDEOS), "--prompt_file", str(folder / PROMPTS),
            "--output_path", str(results), "--dimension", *dimensions,
        ]  # fmt: skip
        with subprocess.Popen(
            argv, cwd=folder, env=_environment(), stdin=subprocess.DEVNULL, start_new_session=True
        ) as child:
            try:
                while (code := child.poll()) is None:
                    job.check_stop()
                    time.sleep(POLL_S)
            finally:
                if child.poll() is None:
                    child.terminate()
        if code:
            raise WorkFailed(
                f"vbench {self.version} failed with exit code {code}; the videos lie in {folder / VIDEOS}",
                hint="its own words are in the job's log; it needs a GPU, and downloads its networks",
            )
        return self._read(results, dimensions, len(list((folder / VIDEOS).glob("*.mp4"))))

    def _read(self, results: Path, dimensions: Sequence[str], videos: int) -> dict[str, dict[str, Any]]:
        files = sorted(results.glob(RESULTS), key=lambda file: file.stat().st_mtime)
        try:
            said = read_table(files[-1])
            return {
                f"vbench_{name}": {
                    "value": round(_overall(said[name]), 4), "videos": videos, "vbench": self.version,
                    "mode": "custom_input",
                }
                for name in dimensions
            }  # fmt: skip
        except (IndexError, OSError, ValueError, KeyError, TypeError) as error:
            raise WorkFailed(
                f"vbench {self.version} wrote no score of {', '.join(dimensions)} to {results}",
                hint="its own words are in the job's log",
            ) from error


def _overall(said: Any) -> float:
    """Of [the mean, what each video got]."""
    return float(said[0] if isinstance(said, list) else said)


def _environment() -> dict[str, str]:
    """Ours, without what would lead its Python to our packages; on a port of its own: it makes a group of one."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return kept | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}


def _not_there(python: Path, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"there is no VBench behind {python}: {why}",
        hint="make an environment of its own: python3 -m venv vbench && vbench/bin/pip install vbench, then "
        "--vbench vbench/bin/python",
    )
