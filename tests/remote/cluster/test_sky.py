"""A SkyPilot task: read by SkyPilot's own schemas, and its script run here as SkyPilot would run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from support.engine.engine import TIMEOUT_S, events_of
from support.engine.training_set import asked, data_set, differing
from support.engine.warm_engine import run_warm

from remote.cluster.sky_program import run_sky
from remote.cluster.sky_task import SkyRequest, as_yaml, sky_task
from t2v_core.errors import InvalidRequest
from t2v_tui.cli.main import main

# The version that the schemas were read from.
SKYPILOT = "skypilot==0.14.1"
CHECK = Path(__file__).with_name("check_sky_task.py")
SPEC = {"preset": "tiny", "data": "data", "max_steps": 4, "epochs": 1, "batch_size": 2, "device": "cpu", "samples": 0}


def request(**changes: Any) -> SkyRequest:
    values: dict[str, Any] = {
        "nodes": 2, "gpus": "A100:1", "infra": "gcp/us-central1", "is_spot": True, "bucket": "gs://some-bucket/t2v",
        "disk_gb": 256, "restarts": 2,
    }  # fmt: skip
    return SkyRequest(**values | changes)


def a_task(spec: dict[str, Any] = SPEC, **changes: Any) -> dict[str, Any]:
    return sky_task(
        request(**changes), verb="train", job="20261201-000000-train-3f2a", spec=spec, release=Path("/r.zip"), data=None
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpus": "A100:many"}, "not an accelerator"),
        ({"bucket": "/mnt/bucket"}, "not a bucket's address"),
        ({"bucket": None}, "a spot machine takes its disk with it"),
    ],
)
def test_what_skypilot_would_not_read_is_said_here(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        request(**changes)
    assert caught.value.hint


@pytest.mark.parametrize("bucket", ["gs://some-bucket/t2v", None])
def test_no_data_goes_along_where_latents_are_read_at_an_address(bucket: str | None) -> None:
    """Neither the folder here nor the bucket's."""
    asked = {
        "verb": "train",
        "job": "20261201-000000-train-3f2a",
        "release": Path("/r.zip"),
        "data": Path("/here/data"),
    }
    there = request(bucket=bucket, is_spot=False)
    for spec, has_data in (({"data": "data/a"}, True), ({"data": "data/a", "latents": "gs://some-bucket/a"}, False)):
        mounts = sky_task(there, spec=spec, **asked)["file_mounts"]
        assert any("/workspace/data" in place for place in mounts) == has_data
        assert any("/workspace/checkpoints" in place for place in mounts) == (bucket is not None)


@pytest.mark.slow
def test_the_task_is_one_by_skypilot_s_own_schemas(tmp_path: Path) -> None:
    """In an environment of their own; nothing of it can come into this one."""
    venv.create(tmp_path / "sky", with_pip=True)
    python = tmp_path / "sky/bin/python"
    packages = ["jsonschema", "pyyaml", "packaging"]
    for words in (["--no-deps", SKYPILOT], packages):
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"pip cannot install {words[-1]} here: {done.stderr.strip().splitlines()[-1]}")
    (tmp_path / "task.yaml").write_text(as_yaml(a_task()))
    wrong = as_yaml(a_task()).replace("num_nodes", "num_node")
    (tmp_path / "wrong.yaml").write_text(wrong)
    right = subprocess.run([python, CHECK, tmp_path / "task.yaml"], capture_output=True, text=True, check=False)
    assert (right.returncode, right.stdout.split()) == (0, ["valid"]), right.stderr
    refused = subprocess.run([python, CHECK, tmp_path / "wrong.yaml"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "num_node" in refused.stderr


def home_of(root: Path) -> dict[str, str]:
    """A machine as the task's setup leaves it: this t2v, an interpreter, and the data in the workspace."""
    (root / "t2v/env/bin").mkdir(parents=True)
    python = root / "t2v/env/bin/python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (root / "t2v/release").symlink_to(Path(__file__).parents[3])
    shutil.copytree(data_set(), root / "t2v/workspace/data")
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return kept | {"HOME": str(root), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "HF_HUB_OFFLINE": "1"}


def begin(home: Path, place: int, nodes: int, task: dict[str, Any]) -> subprocess.Popen[bytes]:
    given = {
        "SKYPILOT_NUM_NODES": str(nodes), "SKYPILOT_NUM_GPUS_PER_NODE": "1", "SKYPILOT_NODE_RANK": str(place),
        "SKYPILOT_NODE_IPS": "\n".join(["127.0.0.1"] * nodes),
    }  # fmt: skip
    environment = home_of(home) | task["envs"] | given
    with (home / "printed").open("wb") as log:
        return subprocess.Popen(["bash", "-c", task["run"]], env=environment, stdout=log, stderr=log)


@pytest.mark.slow
def test_the_task_s_script_on_one_machine_gives_the_bits_of_one_process(tmp_path: Path) -> None:
    task = a_task(SPEC | {"threads": 1})
    child = begin(tmp_path / "home", 0, 1, task)
    assert child.wait(TIMEOUT_S) == 0, (tmp_path / "home/printed").read_text()
    alone = run_warm(tmp_path, "train", **asked(**SPEC | {"threads": 1, "data": str(data_set())}))
    (there,) = (tmp_path / "home/t2v/workspace/checkpoints").glob("checkpoint_*")
    assert differing(there, tmp_path / alone.done["checkpoint"]) == []


@pytest.mark.slow
def test_the_task_s_script_on_two_machines_is_one_run_and_ends_by_143_on_a_notice(tmp_path: Path) -> None:
    """Two folders stand for two machines. A notice reaches one of them, and both save and end."""
    spec = SPEC | {"threads": 1, "max_steps": 100000, "epochs": 100000, "checkpoint_every": 100000}
    task = a_task(spec)
    homes = [tmp_path / "first", tmp_path / "second"]
    children = [begin(home, place, 2, task) for place, home in enumerate(homes)]
    job = homes[0] / "t2v/workspace/jobs" / task["envs"]["T2V_JOB"]
    while not any(event["kind"] == "step" for event in events_of(job)) if (job / "events.jsonl").exists() else True:
        assert [child.poll() for child in children] == [None, None], (homes[0] / "printed").read_text()
    other = homes[1] / "t2v/workspace/jobs" / task["envs"]["T2V_JOB"]
    for name in ("preempted", "stop"):
        (other / name).touch()
    assert children[1].wait(TIMEOUT_S) == 143
    assert children[0].wait(TIMEOUT_S) != 0  # SkyPilot ends the task of all machines with the first that ends
    saved = list((homes[0] / "t2v/workspace/checkpoints").glob("checkpoint_step_*"))
    assert [path.is_dir() for path in saved] == [True]
    assert events_of(job)[-1]["exit_code"] == 4


def test_the_command_writes_a_task_and_keeps_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t2v.toml").touch()
    words = ["sky", "task", "--nodes", "2", "--bucket", "gs://some-bucket/t2v", "--spot", "train", "--preset", "tiny",
             "--epochs", "7"]  # fmt: skip
    assert main(words) == 0
    said = capsys.readouterr()
    (job,) = (path.name for path in (tmp_path / "jobs").iterdir() if path.is_dir())
    assert f'name: "t2v-{job}"' in said.out
    assert "num_nodes: 2" in said.out
    assert f"job {job}" in said.err
    line = next(line for line in said.out.splitlines() if "T2V_SPEC_JSON" in line)
    assert json.loads(json.loads(line.partition(": ")[2])) == {"preset": "tiny", "epochs": 7}
    release = json.loads(next(line for line in said.out.splitlines() if "release.zip" in line).partition(": ")[2])
    assert Path(release).is_file()
    assert main(["sky", "task", "--bucket", "gs://some-bucket/t2v", job[-4:]]) == 0
    assert f'name: "t2v-{job}"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["generate", "a dog"], "generate is not work for a cluster"),
        (["train", "--epochs", "many"], "--epochs"),
        (["train", "--host", "vm"], "a cluster is not a host of t2v.toml"),
        (["no-such-job"], "there is no job 'no-such-job' here"),
        (["train", "--no-such-option"], "no option"),
    ],
)
def test_what_is_no_work_for_a_cluster_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t2v.toml").touch()
    assert main(["sky", "task", *words]) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert (said.out, "Traceback" in said.err) == ("", False)
    assert not (tmp_path / "jobs").exists()


def test_skypilot_is_a_program_of_its_own_environment(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "bin/sky"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@ [$PYTHONPATH]"; exit 7\n')
    program.chmod(0o755)
    environ = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": "/ours"}
    assert run_sky(["jobs", "queue"], environ) == 7
    assert capfd.readouterr().out == "jobs queue []\n"
    with pytest.raises(InvalidRequest, match="there is no program sky") as caught:
        run_sky(["jobs", "queue"], {"PATH": str(tmp_path)})
    assert "skypilot" in caught.value.hint
