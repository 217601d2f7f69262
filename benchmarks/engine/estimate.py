"""Memory that `t2v estimate` reckons beside what its three real training steps take: both without the imports' share.

python benchmarks/engine/estimate.py [--only tiny]
python benchmarks/engine/estimate.py --open

Random latents; one child process a row, so that no row's memory is another's. On the CPU the figure is the peak of the
resident memory; on a GPU what torch reserved.

With --open: CPU seconds of `t2v estimate --model`, a process from its start to its end, for tiny models of every family
and for Wan 2.1 1.3B by its published configuration; the median of --rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:1] = [str(ROOT / name) for name in ("benchmarks/learning", ".", "tests", "setup")]

from door import result, run
from support.engine.open_models import MODELS, save_open_model

# frames, size in pixels, clips of a forward pass, forward passes of a step
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("tiny", {"frames": 8, "size": 64, "batch_size": 16, "gradient_accumulation": 1}),
    ("tiny", {"frames": 16, "size": 128, "batch_size": 8, "gradient_accumulation": 1}),
    ("unet3d-tiny", {"frames": 8, "size": 64, "batch_size": 16, "gradient_accumulation": 1}),
    ("unet3d", {"frames": 8, "size": 256, "batch_size": 2, "gradient_accumulation": 2}),
    ("base", {"frames": 2, "size": 256, "batch_size": 1, "gradient_accumulation": 1}),
    ("base", {"frames": 4, "size": 256, "batch_size": 1, "gradient_accumulation": 2}),
    ("base", {"frames": 4, "size": 256, "batch_size": 2, "gradient_accumulation": 1, "gradient_checkpointing": True}),
    ("seed", {"frames": 1, "size": 256, "batch_size": 1, "gradient_accumulation": 2}),
    ("seed", {"frames": 4, "size": 128, "batch_size": 1, "gradient_accumulation": 1}),
)
# Of Wan 2.1 1.3B, what its configuration says that is not as in the tiny one.
PUBLISHED: dict[str, dict[str, Any]] = {
    "transformer": {
        "num_attention_heads": 12, "attention_head_dim": 128, "num_layers": 30, "ffn_dim": 8960, "text_dim": 4096,
        "rope_max_seq_len": 1024,
    },
    "vae": {"base_dim": 96, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2},
    "text_encoder": {
        "vocab_size": 256384, "d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_layers": 24, "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one preset")
    parser.add_argument("--open", action="store_true", help="how long an estimate of an open model takes")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    if asked.open:
        print_open(asked.rounds)
        return
    only = asked.only
    print("preset       frames  size  batch  measured MB  estimated MB  estimated / measured")
    for preset, values in CASES:
        if only in (None, preset):
            print(row(preset, values), flush=True)


def print_open(rounds: int) -> None:
    """Say how long estimates of open models take, one video of each and a LoRA of the first and the last."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for name in MODELS:
            save_open_model(name, root / name)
        publish(save_open_model("wan", root / "wan-1.3b"))
        print(f"{'model':16}{'one video, CPU s':>18}{'a LoRA, CPU s':>16}")
        for name in (*MODELS, "wan-1.3b"):
            small = {} if name == "wan-1.3b" else {"frames": 7 if name == "mochi" else 9, "height": 32, "width": 32}
            given = {"model": name, "gpu": "L4", "probe": False} | small
            seconds = [cpu_seconds(root, rounds, **given, lora=lora) for lora in (False, True)]
            print(f"{name:16}{seconds[0]:18.1f}{seconds[1]:16.1f}", flush=True)


def publish(folder: Path) -> None:
    """Leave the configuration of Wan 2.1 1.3B in a folder, and no weights."""
    for part, said in PUBLISHED.items():
        file = folder / part / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | said))
        for weights in (folder / part).glob("*.safetensors"):
            weights.unlink()


def cpu_seconds(root: Path, rounds: int, **given: Any) -> float:
    """Of one estimate, the median of several."""
    seconds = []
    for _ in range(rounds):
        before = os.times()
        run(root, "estimate", **given)
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return statistics.median(seconds)


def row(preset: str, values: dict[str, Any]) -> str:
    memory = estimated(preset, values)
    measured, reckoned = (
        (memory[key] - memory["framework_bytes"]) / 1e6 for key in ("measured_bytes", "peak_bytes")
    )  # fmt: skip
    batch = f"{values['batch_size']}×{values['gradient_accumulation']}"
    note = " checkpointing" if values.get("gradient_checkpointing") else ""
    return (
        f"{preset:12} {values['frames']:6} {values['size']:5} {batch:>6} {measured:12.0f} {reckoned:13.0f} "
        f"{reckoned / measured:21.2f}{note}"
    )


def estimated(preset: str, values: dict[str, Any]) -> dict[str, Any]:
    """The memory part of an estimate whose three steps were really taken."""
    with tempfile.TemporaryDirectory() as folder:
        asked = values | {"preset": preset, "latents_in_memory": "no", "device": "auto", "probe_seconds": 3600}
        done = result(run(Path(folder), "estimate", **asked))
    memory: dict[str, Any] = done["memory"]
    return memory


if __name__ == "__main__":
    main()
