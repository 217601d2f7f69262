"""How long `t2v vm status` takes beside gcloud's describe, against the bench's Compute Engine; interleaved, medians.

python benchmarks/hosts/vm_status.py [ROUNDS]

The API answers at once here, so what is left is each program's own. Warm: the helper of a running program is asked.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# The bench that the tests use as well, in place of this folder, in which `remote` is a file.
sys.path[:1] = [str(Path(__file__).parents[2] / name) for name in (".", "tests", "setup")]

from bench.cloud.compute_emulator import ComputeEmulator
from bench.cloud.compute_state import Instance

from remote.gce.client import ComputeClient
from remote.gce.vm import Vm

NAME = "a100-golden"
T2V = [sys.executable, "-m", "t2v_tui.cli.main", "vm", "status"]
GCLOUD = ["gcloud", "compute", "instances", "describe", NAME, "--format=value(status)"]


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder, ComputeEmulator() as emulator:
        emulator.cloud.add(Instance(NAME))
        home = Path(folder)
        (home / "t2v.toml").write_text(f'[host.{NAME}]\nprovider = "gcloud"\n')
        environment = os.environ | emulator.environment(home)

        def run(argv: list[str]) -> None:
            subprocess.run(argv, cwd=home, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=60)

        client = ComputeClient(environment)
        vm = Vm(NAME, emulator.cloud.project, "us-central1-a", client=client)
        programs = {"t2v vm status": lambda: run(T2V), "gcloud describe": lambda: run(GCLOUD), "warm helper": vm.state}
        took: dict[str, list[float]] = {name: [] for name in programs}
        for number in range(rounds + 1):
            for name, call in programs.items():
                seconds = timed(call)
                if number:  # the first fills caches
                    took[name].append(seconds)
        client.close()
    for name, seconds in took.items():
        print(f"{name:<16} {statistics.median(seconds):7.3f} s  (min {min(seconds):.3f}, max {max(seconds):.3f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=7)
    main(parser.parse_args().rounds)
