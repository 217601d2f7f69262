"""What `t2v --help` costs: processor seconds of a whole process, median of 9, and whether it loads torch.

python benchmarks/terminal/command_start.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

RUNS = 9
HELP = [sys.executable, "-m", "t2v_tui.cli.main", "--help"]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    seconds = statistics.median(cpu_seconds(HELP) for _ in range(RUNS))
    bare = statistics.median(cpu_seconds([sys.executable, "-c", "pass"]) for _ in range(RUNS))
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", *HELP[1:]], capture_output=True, text=True, check=True
    ).stderr
    heavy = [name for name in ("torch", "numpy", "diffusers", "transformers", "pydantic") if f" {name}\n" in loaded]
    print(f"t2v --help: {seconds:.3f} CPU s (median of {RUNS}); an empty Python: {bare:.3f}")
    print(f"heavy modules loaded: {', '.join(heavy) or 'none'}")


def cpu_seconds(command: list[str]) -> float:
    """User and system time of one run."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
