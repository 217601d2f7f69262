"""GPUs as the agent tells of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from support.hosts.agent_here import WAITS, Here, agent, open_agent
from support.hosts.agent_shared import agent_of_module, here_with_agent

from remote.hosts.agent_client import frames

shared, here = agent_of_module, here_with_agent


# GPUs


NVIDIA_SMI = """#!{python}
import sys, time
row = "2, {{0}}, NVIDIA A100-SXM4-40GB, {{1}}, 1234, 40960, 51, [N/A], 400.00"
rows = [row.format(number, 7 + number) for number in (0, 1)]
if any("compute-apps" in a for a in sys.argv):
    rows = open({apps!r}).read().splitlines()
if any("driver_version" in a for a in sys.argv):
    rows = ["550.54.15"]
print("\\n".join(rows), flush=True)
while "-l" in sys.argv:
    time.sleep(0.2)
    for row in rows:
        print(row, flush=True)
        time.sleep(0.05)
"""


@pytest.fixture
def gpu_here(here: Here) -> Iterator[Here]:
    """The same workspace on a machine that seems to have two GPUs."""
    folder = here.workspace.parent / "bin"
    folder.mkdir()
    (folder / "apps").touch()
    program = folder / "nvidia-smi"
    program.write_text(NVIDIA_SMI.format(python=sys.executable, apps=str(folder / "apps")))
    program.chmod(0o755)
    with agent(PATH=f"{folder}:{os.environ['PATH']}") as one:
        yield Here(here.workspace, one)


def test_gpus_are_told_by_named_fields_and_what_is_not_available_is_none(gpu_here: Here) -> None:
    expected = {
        "count": 2, "index": 1, "name": "NVIDIA A100-SXM4-40GB", "utilization_percent": 8,
        "memory_used_mib": 1234, "memory_total_mib": 40960, "temperature_c": 51, "power_w": None, "power_limit_w": 400,
    }  # fmt: skip
    said = gpu_here.call("gpu")
    assert (said["gpus"][1], len(said["gpus"]), said["why"]) == (expected, 2, "")
    assert gpu_here.call("probe")["driver"] == "550.54.15"
    environment = {"PATH": f"{gpu_here.workspace.parent / 'bin'}:{os.environ['PATH']}"}
    channel = open_agent("metrics", **environment)
    stream = frames(channel, {"interval_s": 1, "workspace": str(gpu_here.workspace)})
    for _ in range(3):
        line, _data = next(stream)
        assert [gpu["index"] for gpu in line["gpus"]] == [0, 1]
        assert line["gpus"][1] == expected
        assert 0 <= line["cpu_percent"] <= 100
        assert 0 < line["memory"]["available_bytes"] < line["memory"]["total_bytes"]
        assert line["disk_free_bytes"] > 0
    channel.close()


def test_without_a_gpu_there_is_a_sentence() -> None:
    with agent(PATH="/nowhere") as one:
        said = one.call("gpu")
    assert said["gpus"] == []
    assert "no nvidia-smi" in said["why"]
    line, _ = next(frames(open_agent("metrics", PATH="/nowhere"), {"interval_s": 1}))
    assert line["gpus"] == []
    assert "no nvidia-smi" in line["why"]


def test_stop_tells_whose_gpu_memory_is_left(gpu_here: Here) -> None:
    """The driver of this machine names a process of the job for longer than it lives."""
    job = gpu_here.start(WAITS, "0")
    gpu_here.at_work(job)
    pid = gpu_here.state(job)["pid"]
    (gpu_here.workspace.parent / "bin/apps").write_text(f"1, 77\n{pid}, 1500\n")
    answer = gpu_here.call("stop", job=job, grace_s=0.2)
    assert (answer["left"], answer["gpu_checked"]) == ([], True)
    assert answer["gpu_left"] == [{"pid": pid, "memory_used_mib": 1500}]
