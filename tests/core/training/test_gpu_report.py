"""What nvidia-smi says while a training runs becomes events, and nothing of it is left running."""

from __future__ import annotations

from pathlib import Path

import pytest

from t2v_core.events import Event, MachineEvent
from t2v_core.training.callbacks.gpu_report import GpuReport, event_in
from t2v_tui.text.event_log import line_of

# It says what the real one says on an A100 whose power cannot be read, then stays, as `-l` makes it.
STANDS_IN = """#!/bin/sh
echo "$@" > "$0.asked"
echo "97, 31210, 68, [N/A]"
echo "torn"
echo "98, 31210, 69, 312.45"
exec sleep 600
"""


def test_a_line_becomes_an_event_with_what_is_known() -> None:
    event = event_in("97, 40000, 68, 312.45\n")
    assert event is not None
    assert event.plain() == {
        "gpu_use_percent": 97.0, "gpu_memory_gb": 41.943, "gpu_temperature_c": 68.0, "gpu_power_w": 312.45,
    }  # fmt: skip
    assert line_of(event).endswith("gpu 97% 41.9 GB 68 °C 312 W")
    assert event_in("[N/A], [N/A], [N/A], [N/A]") is None
    assert event_in("Unable to determine the device handle") is None
    again = Event.from_line(event.to_line())
    assert isinstance(again, MachineEvent)
    assert again.gpu_power_w == 312.45


def test_one_program_is_heard_until_the_run_ends(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(STANDS_IN)
    program.chmod(0o755)
    report = GpuReport()
    report.listen(str(program), "GPU-1234")
    child = report._child
    assert child is not None
    heard = [report._said.get(timeout=60), report._said.get(timeout=60)]
    assert [(one.gpu_use_percent, one.gpu_power_w) for one in heard] == [(97.0, None), (98.0, 312.45)]
    report.close()
    assert child.poll() is not None
    assert (tmp_path / "nvidia-smi.asked").read_text().split()[-4:] == ["-i", "GPU-1234", "-l", "10"]


def test_a_program_that_cannot_be_started_says_nothing(tmp_path: Path) -> None:
    report = GpuReport()
    report.listen(str(tmp_path / "gone"), "GPU-1234")
    assert list(report.heard()) == []
    report.close()


@pytest.mark.parametrize("line", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d"])
def test_a_line_of_another_form_is_none(line: str) -> None:
    assert event_in(line) is None
