"""A few real training steps, to learn how long one takes here and how much memory."""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch

from t2v_core.data.store.latents import NULL_PROMPT_FILE
from t2v_core.data.store.shard_plan import shard_name
from t2v_core.data.store.shard_set import Entry, ShardSet
from t2v_core.data.store.shards import write_shard
from t2v_core.disk.formats import SHARD_FORMAT
from t2v_core.events import EventWriter
from t2v_core.events.estimated import DataFacts
from t2v_core.job import Job
from t2v_core.machine import forget_peak, peak_resident_bytes, resident_bytes
from t2v_core.specs import TrainSpec
from t2v_core.training.callbacks.callback import Callback
from t2v_core.training.callbacks.step_report import StepReport
from t2v_core.training.setup import build
from t2v_core.training.trainer import Trainer
from t2v_core.workspace import Dataset

# The first step makes Adam's moments and warms the libraries up; it does not count.
WARM_UP, STEPS = 1, 3
RANDOM_CLIPS = 16
RANDOM_CAPTION_TOKENS = (10, 16, 13, 12)  # as captions are: a dozen, the longest sixteen
MATRIX_SIDE = 1024


@dataclass(frozen=True)
class Probe:
    """What was measured.

    clips: of one step; step_s: its median time; peak_bytes: of memory beside what the process had before; None where
    the system does not tell
    """

    clips: int
    step_s: float
    peak_bytes: int | None


def probe(spec: TrainSpec, facts: DataFacts, job: Job) -> Probe:
    """Take `WARM_UP + STEPS` training steps as `spec` asks for them and throw the result away.

    On random latents and captions of the data's shapes when the data is not preprocessed yet. Raises Stopped, and
    what training raises.
    """
    with tempfile.TemporaryDirectory(prefix="t2v-probe-") as place:
        folder = Path(place)
        data = job.workspace.resolve(spec.data)
        if not facts.is_preprocessed:
            data = folder / "data"
            write_random_set(data, facts)
        changes = {"data": data, "max_steps": WARM_UP + STEPS, "epochs": 10**6, "resume": False, "compile": "no"}
        changes |= {"shard": False}  # of which one process has nothing
        asked = spec.model_copy(update=changes)
        with closing(EventWriter(folder / "events.jsonl")) as events:
            return _measure(asked, Job(folder, job.workspace, events), job)


def _measure(spec: TrainSpec, quiet: Job, job: Job) -> Probe:
    before = _begin_to_watch(spec)
    run, times = build(spec, quiet, quiet.directory / "checkpoints"), StepTimes(job)
    Trainer(run, quiet, [StepReport(), times]).train()
    step_s = statistics.median(times.seconds[WARM_UP:])
    return Probe(run.plan.clips_per_step, step_s, _watched(run.accelerator.device, before))


class StepTimes(Callback):
    """Seconds of each step, with the wait for its clips; told to the job that asked, which can stop it."""

    def __init__(self, job: Job) -> None:
        self.seconds: list[float] = []
        self._job, self._began = job, time.perf_counter()

    def on_step_start(self, trainer: Trainer) -> None:
        """Raise Stopped when the job was asked to end."""
        self._job.check_stop()

    def on_step_end(self, trainer: Trainer) -> None:
        """Take the time."""
        self.seconds.append(time.perf_counter() - self._began)
        self._began = time.perf_counter()
        self._job.events.progress(trainer.run.step, WARM_UP + STEPS, "steps")


def _begin_to_watch(spec: TrainSpec) -> int | None:
    """Bytes that are held before the run is built; None where the peak cannot be watched."""
    if spec.device.startswith("cuda") or (spec.device == "auto" and torch.cuda.is_available()):
        torch.cuda.reset_peak_memory_stats()
        return 0
    try:
        forget_peak()
    except OSError:
        return None
    return resident_bytes()


def _watched(device: torch.device, before: int | None) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return None if before is None or device.type != "cpu" else peak_resident_bytes() - before


def write_random_set(root: Path, facts: DataFacts) -> None:
    """Write a preprocessed training split of noise, with the shapes of `facts`, in the form that training reads."""
    dataset = Dataset(root)
    names = [f"random{number}" for number in range(RANDOM_CLIPS)]
    latents = {"latents": torch.randn(RANDOM_CLIPS, *facts.shape).half()}
    entries: list[Entry] = [{"video_id": name, "effective_fps": 8.0} for name in names]
    _one_shard(dataset.latents / "train", latents, entries).seal(names, {"statistics": {}, "shape": list(facts.shape)})
    lengths = [RANDOM_CAPTION_TOKENS[number % len(RANDOM_CAPTION_TOKENS)] for number in range(RANDOM_CLIPS)]
    entries = [{"video_id": n, "captions": [n], "first": row, "truncated": []} for row, n in enumerate(names)]
    folder = dataset.text_embeddings / "train"
    text = _one_shard(folder, _random_text(lengths, facts), entries)
    write_shard(folder / NULL_PROMPT_FILE, _random_text([facts.null_length], facts), {"settings": {}})
    text.seal(names, {}, extra_files=(NULL_PROMPT_FILE,))


def _one_shard(folder: Path, tensors: dict[str, torch.Tensor], entries: list[Entry]) -> ShardSet:
    write_shard(folder / shard_name(0), tensors, {"settings": {"version": SHARD_FORMAT}, "rows": entries})
    return ShardSet(folder, {})


def _random_text(lengths: list[int], facts: DataFacts) -> dict[str, torch.Tensor]:
    """Unpadded captions side by side, as `CaptionEncoder` writes them."""
    return {
        "tokens": torch.randn(sum(lengths), facts.text_dim).half(),
        "offsets": torch.tensor(list(accumulate(lengths, initial=0))),
        "pooled": torch.randn(len(lengths), facts.pooled_dim).half(),
    }


def matrix_product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of a square matrix product here, the best of three: the most that training could reach."""
    left = torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=device).to(dtype)
    times = []
    for _ in range(4):
        began = time.perf_counter()
        float((left @ left)[0, 0])  # reading a value waits for the device
        times.append(time.perf_counter() - began)
    return 2 * MATRIX_SIDE**3 / min(times[1:])
