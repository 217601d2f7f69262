"""One process of `store.py`: open a store, read shuffled batches from it, print what it took as JSON.

python benchmarks/data/store_probe.py LATENTS TEXT
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import torch

from t2v_core.data.store.batches import BatchPlan, load_batch
from t2v_core.data.store.latents import LatentStore

BATCH, STEPS = 16, 250


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("latents", type=Path)
    parser.add_argument("text", type=Path)
    asked = parser.parse_args()
    latents, text = asked.latents, asked.text
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of starting
    before_mb = status_mb("VmRSS")
    began = time.perf_counter()
    store = LatentStore(latents, text)
    opened_s = time.perf_counter() - began
    held, peak = status_mb("VmRSS") - before_mb, status_mb("VmHWM") - before_mb
    rates = [rate(store)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    del store
    rates.append(rate(LatentStore(latents, text)))
    print(
        json.dumps({"open_s": opened_s, "held_mb": held, "peak_mb": peak, "rate": rates[0], "rate_few_files": rates[1]})
    )


def rate(store: LatentStore) -> float:
    """Samples a second as training reads them, after some to warm up."""
    plan = BatchPlan(range(len(store)), BATCH, 1, 1, seed=0)
    for step in range(STEPS):
        load_batch(store, plan.rows(step % plan.steps_per_epoch, 0), 0, 0)
    began = time.perf_counter()
    for step in range(STEPS):
        load_batch(store, plan.rows(step % plan.steps_per_epoch, 0), 0, 0)
    return BATCH * STEPS / (time.perf_counter() - began)


def status_mb(name: str) -> float:
    """A figure of /proc/self/status: VmRSS now, VmHWM at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
