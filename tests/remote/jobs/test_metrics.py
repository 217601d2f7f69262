"""What a machine says of itself. Its GPUs are a stand-in for nvidia-smi that speaks the CSV of a real one."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest

from remote.hosts.host import LocalHost
from remote.jobs.metrics import MachineSample, watch_machine
from remote.replies.machine import GpuSample
from t2v_core.workspace import Workspace

NVIDIA_SMI = """#!{python}
import sys, time
asked = next(a for a in sys.argv if a.startswith("--query-gpu=")).partition("=")[2].split(",")
known = {{"index": "0", "name": "NVIDIA A100-SXM4-40GB", "utilization.gpu": "93", "memory.used": "38000",
          "memory.total": "40960", "temperature.gpu": "71", "power.draw": "[N/A]", "power.limit": "400.00",
          "count": "1"}}
while True:
    print(", ".join(known[name] for name in asked), flush=True)
    if "-l" not in sys.argv:
        break
    time.sleep(0.2)
"""


def first(workspace: Path, count: int) -> list[MachineSample]:
    with closing(watch_machine(LocalHost(Workspace(workspace)), interval_s=1)) as samples:
        return [next(samples) for _ in range(count)]


def test_a_gpu_is_told_by_names_and_what_its_driver_does_not_know_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(NVIDIA_SMI.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    sample = first(tmp_path, 2)[-1]
    assert sample.gpus == (
        GpuSample(
            index=0, name="NVIDIA A100-SXM4-40GB", utilization_percent=93, memory_used_mib=38000,
            memory_total_mib=40960, temperature_c=71, power_w=None, power_limit_w=400,
        ),
    )  # fmt: skip
    assert sample.why_no_gpu == ""


def test_a_machine_without_a_gpu_says_so_and_tells_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    samples = first(tmp_path, 2)
    assert [sample.gpus for sample in samples] == [(), ()]
    assert "no nvidia-smi" in samples[0].why_no_gpu
    assert 0 <= samples[1].cpu_percent <= 100
    assert 0 < samples[1].memory_available_bytes < samples[1].memory_total_bytes
    assert samples[1].disk_free_bytes > 0
