"""What the gauges say of a machine: each GPU by its number where there are several, and why there is none."""

from __future__ import annotations

from dataclasses import replace

from support.screen.tui_states import GPU, MACHINE, NOW, VM, live

from remote.jobs.metrics import MachineSample
from t2v_tui.widgets.gauges import text_of


def said_of(machine: MachineSample) -> str:
    host = replace(live().hosts[VM], machine=machine, machine_t=NOW)
    return text_of(host, NOW).plain


def test_one_gpu_needs_no_number_and_several_have_the_driver_s() -> None:
    assert said_of(MACHINE).startswith("gpu  ━")
    several = said_of(replace(MACHINE, gpus=(GPU, replace(GPU, index=1))))
    assert [line[:5] for line in several.splitlines() if line.startswith("gpu")] == ["gpu0 ", "gpu1 "]


def test_a_machine_without_a_gpu_says_why() -> None:
    why = "nvidia-smi: Failed to initialize NVML: Driver/library version mismatch"
    said = said_of(replace(MACHINE, gpus=(), why_no_gpu=why))
    assert said.endswith(f"no GPU: the engine takes the CPU\n{why}")
