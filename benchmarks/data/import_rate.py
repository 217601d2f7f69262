"""How fast the previous system's latents are imported from a cold disk, beside what that disk gives to others.

python benchmarks/data/import_rate.py [--clips 4000] [--rounds 5] [--folder DIR]        4 GB of disk

In turns, each with nothing of the files in memory: reading them all, copying them all (cp -r), importing them. Root
only: nobody else can empty the memory that the system keeps of files.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from full_size import save_clip_text, save_sd_vae
from store import forget

from t2v_core.data.legacy.import_latents import import_latents
from t2v_core.events import EventWriter
from t2v_core.job import Job
from t2v_core.models.encoders import load_prompt_encoder
from t2v_core.specs import ImportLatentsSpec
from t2v_core.workspace import Workspace, create_job_directory

LATENTS = (16, 4, 32, 32)
CPU_S: dict[str, list[float]] = {}  # of what was done each time, by its name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to put the files (default: a temporary folder)")
    asked = parser.parse_args()
    if os.geteuid() != 0:
        print(f"{Path(__file__).name} has to be run as root", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        os.chdir(place)
        size_mb = fill(Path(place), asked.clips) / 1e6
        works = {"reading": reading_s, "cp -r": copying_s, "import": importing_s}
        took: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(asked.rounds):
            for name, work in works.items():
                took[name].append(cold(work))
                print(f"{name:8} {took[name][-1]:6.2f} s", file=sys.stderr, flush=True)
    middle = {name: statistics.median(seconds) for name, seconds in took.items()}
    for name, seconds in middle.items():
        rounds = ", ".join(f"{one:.2f}" for one in took[name])
        print(f"{name:8} {seconds:6.2f} s  {size_mb / seconds:5.0f} MB/s  ({rounds})")
    for name, seconds in CPU_S.items():
        print(f"{name:8} {1000 * statistics.median(seconds) / asked.clips:.2f} ms of a processor for each clip")
    ratios = ", ".join(f"import / {name} {middle['import'] / middle[name]:.2f}" for name in ("reading", "cp -r"))
    print(ratios)
    return 0


def fill(root: Path, clips: int) -> int:
    """Encoders at full size and the old folders; returns how many bytes of latents."""
    save_sd_vae(root / "vae")
    save_clip_text(root / "clip")
    latents = torch.randn(LATENTS)
    for name, values in (("latents", latents), ("text_embeddings", padded_text(root / "clip"))):
        (root / "old" / name).mkdir(parents=True)
        for number in range(clips):
            latents[0, 0, 0] = number / clips  # no two are the same
            torch.save(values, root / f"old/{name}/video{number}.pt")
    return sum(path.stat().st_size for path in (root / "old/latents").iterdir())


def padded_text(clip: Path) -> torch.Tensor:
    """One caption as the previous system encoded it."""
    encoder = load_prompt_encoder(str(clip))
    ids = encoder.tokenizer("a clip", padding="max_length", max_length=77, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return encoder.model(input_ids=ids).last_hidden_state.clone()


def cold(work: Callable[[], float]) -> float:
    os.sync()
    forget(Path())
    return work()


def reading_s() -> float:
    began = time.perf_counter()
    run("reading", ["cat", *map(str, Path("old/latents").iterdir())])
    return time.perf_counter() - began


def copying_s() -> float:
    began = time.perf_counter()
    run("cp -r", ["cp", "-r", "old/latents", "copy"])
    os.sync()
    took_s = time.perf_counter() - began
    shutil.rmtree("copy")
    return took_s


def run(name: str, words: list[str]) -> None:
    before = os.times()
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    used_s = after.children_user + after.children_system - before.children_user - before.children_system
    CPU_S.setdefault(name, []).append(used_s)


class TimedStages(EventWriter):
    """Notes when each stage began: its name, the time, and what of the processor was used until then."""

    def stage(self, name: str, detail: str = "") -> None:
        self.begun = [*getattr(self, "begun", []), (name, time.perf_counter(), time.process_time())]
        super().stage(name, detail)


def importing_s() -> float:
    """From the first file to the last shard on the disk: encoders are loaded before, text is imported after."""
    directory = create_job_directory(Workspace(Path()), "import-latents")
    events = TimedStages(directory / "events.jsonl")
    spec = ImportLatentsSpec(
        old_dir=Path("old"), data=Path("data"), vae="./vae", text_encoder="./clip", device="cpu"
    )  # fmt: skip
    import_latents(spec, Job(directory, Workspace(Path()), events))
    at = next(place for place, (name, _, _) in enumerate(events.begun) if name.startswith("latents"))
    (_, began_s, began_cpu_s), (_, ended_s, ended_cpu_s) = events.begun[at : at + 2]
    CPU_S.setdefault("import", []).append(ended_cpu_s - began_cpu_s)
    for made in ("data/latents", "data/text_embeddings", "jobs"):
        shutil.rmtree(made)
    return ended_s - began_s


if __name__ == "__main__":
    sys.exit(main())
