"""Memory that `t2v estimate` reckons beside what its three real training steps take: both without the imports' share.

python benchmarks/estimate.py [--only tiny]

Random latents; one child process a row, so that no row's memory is another's. On the CPU the figure is the peak of the
resident memory; on a GPU what torch reserved.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from door import result, run

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one preset")
    only = parser.parse_args().only
    print("preset       frames  size  batch  measured MB  estimated MB  estimated / measured")
    for preset, values in CASES:
        if only in (None, preset):
            print(row(preset, values), flush=True)


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
