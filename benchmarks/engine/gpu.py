"""What one GPU makes of t2v: training, sampling and the VAE, against the previous system's computation.

python benchmarks/engine/gpu.py [--out gpu] [--minutes 8]     writes gpu.md and gpu.json; nothing is downloaded
python benchmarks/engine/gpu.py --small --device cpu          the same parts on models of a few thousand parameters

Correctness comes first: a figure of a wrong computation is none. MFU is the FLOPs that are counted on the model's
shapes over the card's peak, as a product of large matrices reaches it here, and as its data sheet has it. A part that
would begin after the time is up is left out, and said.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1] / "data")]

from gpu_parts import Bench, Row, correctness, matmul_rate, resume, sampling, training, vae

from t2v_core.models.compiling import missing_compiler, recompilations
from t2v_core.training.forecast.gpus import gpu_of_device


@dataclass
class Report:
    """What was measured, part by part."""

    head: dict[str, Any]
    rows: dict[str, list[Row]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        lines = ["# t2v on " + str(self.head["card"]), "", *(f"- {name}: {value}" for name, value in self.head.items())]
        for part, rows in self.rows.items():
            names = list(dict.fromkeys(name for row in rows for name in row))
            lines += ["", f"## {part}", "", f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
            lines += [f"| {' | '.join(shown(row.get(name, '')) for name in names)} |" for row in rows]
        if self.left_out:
            lines += ["", "Left out, since the time was up: " + ", ".join(self.left_out)]
        return "\n".join(lines) + "\n"


def shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> int:
    asked = arguments()
    bench = Bench(torch.device(asked.device), is_small=asked.small, backend=asked.backend)
    ends_at = time.monotonic() + 60 * asked.minutes
    peak = matmul_rate(bench)
    card = torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else "CPU"
    sheet = gpu_of_device(card)
    missing = missing_compiler(bench.device)
    report = Report({
        "card": card,
        "torch": torch.__version__, "product of large matrices": f"{peak / 1e12:.3g} TFLOP/s in bf16",
        "data sheet": f"{sheet.half_flops / 1e12:.4g} TFLOP/s" if sheet else "not in the table",
        "compiler": f"none: {missing} is missing" if missing else "there",
    })  # fmt: skip
    bench.compiles = not missing
    peaks = {"MFU (measured peak)": peak, **({"MFU (data sheet)": sheet.half_flops} if sheet else {})}
    parts: dict[str, Callable[[], list[Row]]] = {
        "Correctness": lambda: correctness(bench),
        "Training, base": lambda: training(bench, "base", peaks),
        "Training, seed, and the previous system's": lambda: training(bench, "seed", peaks),
        "Resume": lambda: resume(bench),
        "Sampling": lambda: sampling(bench),
        "VAE": lambda: vae(bench),
    }
    for name, part in parts.items():
        if time.monotonic() > ends_at:
            report.left_out.append(name)
            continue
        began = time.monotonic()
        report.rows[name] = part()
        report.head["compiled again"] = recompilations() if bench.compiles else 0
        keep(report, asked.out)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    keep(report, asked.out)
    print(report.markdown())
    wrong = [row for row in report.rows["Correctness"] if row["right"] != "yes"]
    return 1 if wrong else 0


def keep(report: Report, out: Path) -> None:
    """What there is so far, so that a run that is ended loses nothing."""
    out.with_suffix(".md").write_text(report.markdown())
    out.with_suffix(".json").write_text(json.dumps(vars(report), indent=1))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="where the table goes, as .md and .json")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
