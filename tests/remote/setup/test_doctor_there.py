"""`t2v doctor --host`: a host that is off, unknown, unreachable, bare or ready, and the line that mends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hosts.far_host import NOWHERE, Far, far_host
from support.machines.vm_here import VmHere, vm_here
from support.warm.python import warm

from remote.hosts.host import LocalHost, agent_on
from remote.hosts.settings import HostSettings
from remote.hosts.ssh import SSHHost
from remote.launch.doctor import _as_seen, mended_from_here
from remote.setup.bootstrap import Steps
from remote.setup.release import current_release
from t2v_core.diagnosis.check import bad
from t2v_core.workspace import Workspace


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VmHere]:
    with vm_here(tmp_path_factory.mktemp("vm")) as one:
        one.write_settings()
        yield one


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with far_host(tmp_path_factory.mktemp("far")) as one:
        one.write_settings()
        yield one


def lines_of(said: str) -> dict[str, tuple[str, str]]:
    """sign and sentence by name; the line that mends goes after the sentence"""
    found: dict[str, tuple[str, str]] = {}
    name = ""
    for line in said.splitlines():
        if line[:1] in "✓!✗" and line[:1]:
            name = line[2:15].strip()
            found[name] = (line[0], line[16:])
        elif name and line.startswith(" "):
            found[name] = (found[name][0], f"{found[name][1]} {line.strip()}")
    return found


def test_of_a_vm_that_is_off_it_says_so_and_how_to_start_it(vm: VmHere) -> None:
    vm.gce.reset()
    vm.add()
    done = vm.ran("doctor", "--host", "a100-golden")
    assert (done.returncode, done.stderr) == (3, "")
    sign, said = lines_of(done.stdout)["VM"]
    assert sign == "✗"
    assert "TERMINATED" in said
    assert said.endswith("→ t2v vm start --host a100-golden")
    assert "SSH" not in lines_of(done.stdout)


def test_of_a_vm_that_the_cloud_does_not_know_it_says_what_there_is(vm: VmHere) -> None:
    vm.gce.reset()
    done = vm.ran("--json", "doctor", "--host", "a100-golden")
    said = json.loads(done.stdout)
    assert done.returncode == 2
    assert (said["host"], said["healthy"]) == ("a100-golden", False)
    assert [check["name"] for check in said["checks"]] == ["VM"]
    assert "there is no such VM" in said["checks"][0]["sentence"]


def test_a_vm_that_runs_is_asked_for_everything_up_to_its_guard(vm: VmHere) -> None:
    vm.gce.reset()
    vm.add("RUNNING")
    done = vm.ran("doctor", "--host", "a100-golden")
    found = lines_of(done.stdout)
    assert (done.returncode, done.stderr) == (1, "")
    assert [name for name in ("VM", "SSH", "host key", "t2v there", "python", "torch") if name in found
            and found[name][0] == "✓"] == ["VM", "SSH", "host key", "t2v there", "python", "torch"]  # fmt: skip
    assert "GB free" in found["disk"][1]  # enough or not, as it is where the tests run
    assert "SHA256:" in found["host key"][1]
    assert "compute." in found["host key"][1]
    assert found["data"][0] == "✗"
    assert found["data"][1].endswith("→ t2v push data --host a100-golden")
    assert found["guard"][0] == "!"
    assert found["guard"][1].endswith("→ t2v vm start --host a100-golden")
    assert list(vm.there.iterdir()) == []


def test_it_looks_for_what_the_settings_here_speak_of(far: Far) -> None:
    far.write_settings()
    with (far.here.root / "t2v.toml").open("a") as settings:
        settings.write('[preprocess]\nvae = "embedded"\ntext_encoder = "embedded"\n[train]\ndata = "data/shapes"\n')
    done = far.ran("doctor", "--host", "vm")
    far.write_settings()
    found = lines_of(done.stdout)
    assert done.returncode == 1
    assert found["vae"][0] == "✓"
    assert f"{far.there}/data/shapes" in found["data"][1]
    assert "t2v data shapes" in found["data"][1]
    assert found["data"][1].endswith("--host vm")
    assert "settings" not in found
    assert "guard" not in found


def test_a_bare_host_is_told_from_here_and_a_bootstrap_mends_it(far: Far) -> None:
    settings = far.here.root / "t2v.toml"
    settings.write_text(settings.read_text().replace(f'python = "{warm()}"\n', ""))
    done = far.ran("--json", "doctor", "--host", "vm")
    far.write_settings()
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.stderr == ""
    assert done.returncode in (0, 1)
    assert checks["t2v there"]["state"] == "odd"
    assert checks["environment"]["mend"] == "t2v bootstrap --host vm"
    assert checks["data"]["mend"] == "t2v push data --host vm"
    assert {"SSH", "host key", "python", "disk", "driver", "encoders"} <= checks.keys()
    assert list(far.there.iterdir()) == []


def test_a_key_that_is_not_pinned_comes_with_the_line_that_compares_it(far: Far) -> None:
    known = far.known_hosts.path
    text = known.read_text()
    known.write_text("")
    done = far.ran("doctor", "--host", "vm")
    known.write_text(text)
    sign, said = lines_of(done.stdout)["host key"]
    assert (done.returncode, sign) == (3, "✗")
    assert "t2v host trust vm" in said


def test_a_host_that_nobody_answers_at_is_unreachable(far: Far) -> None:
    settings = far.here.root / "t2v.toml"
    settings.write_text(settings.read_text().replace(f"port = {far.proxy.port}", "port = 1"))
    done = far.ran("doctor", "--host", "vm")
    far.write_settings()
    assert done.returncode == 3
    assert lines_of(done.stdout)["SSH"][0] == "✗"
    assert done.stdout.splitlines()[-1] == "1 bad"


def test_a_host_that_the_settings_do_not_name_was_asked_wrongly(far: Far) -> None:
    done = far.ran("doctor", "--host", "wm")
    assert done.returncode == 2
    assert "wm" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("/v/bin/python -m pip install 't2v[engine]'", "t2v bootstrap --host vm"),
        ("t2v preprocess --data data/x", "t2v preprocess --data data/x --host vm"),
        ("rm -r /w/checkpoints/checkpoint_epoch_3", "there: rm -r /w/checkpoints/checkpoint_epoch_3"),
        ("", ""),
    ],
)
def test_a_line_to_type_there_becomes_one_to_type_here(there: str, here: str) -> None:
    managed = SSHHost("vm", HostSettings(address="127.0.0.1"), config=NOWHERE)
    assert mended_from_here(bad("what", "is wrong", there), managed).mend == here


def test_a_python_of_the_user_s_own_that_does_not_run_is_a_sentence(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    host = LocalHost(workspace)
    host.engine_python = "/nowhere/python"
    with agent_on(host) as agent:
        steps = Steps(host, workspace, current_release(), 0)
        steps.ask_standing(agent)
    lines = [str(check.sentence) for check in _as_seen(steps, None)]
    assert "/nowhere/python on local does not run; the engine needs 3.11 or newer" in lines[0]
