"""The bench's Compute Engine is one that the real gcloud takes for it; gcloud's logins and configuration are read as
it reads them; and nothing that the tests start talks to anything but this machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.cloud.guest_agent import SshdGuest
from bench.sshd import Sshd
from support.machines.gce_here import NAME, Gce, gce_here, gcloud

from remote.errors import CloudUnreachable, LoginExpired
from remote.gce.client import HELPER, ComputeClient
from remote.gce.gcloud_config import gcloud_says
from remote.gce.settings import vm_of
from remote.gce.vm import Vm
from remote.host_factory import switched_host
from remote.hosts.settings import HostSettings, switched_hosts
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Sshd:
    return Sshd(tmp_path_factory.mktemp("sshd"))


@pytest.fixture(scope="module")
def gce(tmp_path_factory: pytest.TempPathFactory, sshd: Sshd) -> Iterator[Gce]:
    with gce_here(tmp_path_factory.mktemp("gce"), SshdGuest(sshd)) as gce:
        yield gce


@pytest.fixture(autouse=True)
def fresh(gce: Gce) -> None:
    gce.reset()


def run_gcloud(gce: Gce, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*gcloud(), "compute", *words],
        env=gce.environment | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


# gcloud and the bench


def test_gcloud_starts_the_vm_runs_a_command_copies_a_file_and_stops_it(gce: Gce, sshd: Sshd, tmp_path: Path) -> None:
    instance = gce.add()
    instance.metadata.items["enable-guest-attributes"] = "TRUE"
    assert run_gcloud(gce, "instances", "start", NAME).returncode == 0
    assert instance.status == "RUNNING"
    listed = run_gcloud(gce, "instances", "list", "--format=value(name,status)")
    assert listed.stdout.split() == [NAME, "RUNNING"]

    said = run_gcloud(gce, "ssh", NAME, f"--ssh-flag=-p {sshd.port}", "--command", "echo there; exit 7")
    assert (said.returncode, said.stdout.strip().splitlines()[-1]) == (7, "there")
    known = (gce.home / ".ssh/google_compute_known_hosts").read_text()
    assert f"compute.{instance.id} {sshd.public_host_key}" in known
    (tmp_path / "up").write_bytes(b"some bytes")
    copied = run_gcloud(gce, "scp", str(tmp_path / "up"), f"{NAME}:{tmp_path}/there", f"--port={sshd.port}")
    assert copied.returncode == 0, copied.stderr
    assert (tmp_path / "there").read_bytes() == b"some bytes"

    assert run_gcloud(gce, "instances", "stop", NAME).returncode == 0
    assert instance.status == "TERMINATED"
    assert sshd.sessions() == []


def test_a_wait_that_returns_early_is_asked_again_by_gcloud_as_well(gce: Gce) -> None:
    gce.add()
    gce.emulator.wait_s, gce.cloud.step_s = 0.0, 0.3
    assert run_gcloud(gce, "instances", "start", NAME).returncode == 0
    assert len(gce.emulator.seen("POST .*/wait")) > 1


def test_what_fails_fails_for_gcloud_in_the_apis_words(gce: Gce) -> None:
    gce.add()
    gce.emulator.fail_operation("start", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", http=503, zones=("us-west1-b",))
    said = run_gcloud(gce, "instances", "start", NAME)
    assert said.returncode == 1
    assert "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS" in said.stderr


# Nothing leaves this machine


def test_the_guard_stops_gcloud_and_the_client_at_the_edge_of_this_machine(gce: Gce, tmp_path: Path) -> None:
    left = tmp_path / "left"
    elsewhere = {
        "LEFT_LOOPBACK": str(left), "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": "https://compute.example.com/compute/v1/",
    }  # fmt: skip
    assert run_gcloud(gce, "instances", "list", **elsewhere).returncode != 0
    assert left.read_text().splitlines()[0] == "compute.example.com"
    left.unlink()
    (tmp_path / "adc.json").write_text(json.dumps(EXPIRED))
    environment = {
        **gce.environment, "LEFT_LOOPBACK": str(left), "T2V_COMPUTE_ENDPOINT": "https://compute.example.com",
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "adc.json"),
    }  # fmt: skip
    client = ComputeClient(environment)
    with pytest.raises(CloudUnreachable):
        Vm(NAME, "proj", "us-central1-a", client=client).state()
    client.close()
    assert left.read_text().splitlines()[0] == "oauth2.googleapis.com"


# Who we are

EXPIRED = {
    "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
}  # fmt: skip
WHO = f"""
import os, runpy, sys
helper = runpy.run_path({str(HELPER)!r})
import google.auth.transport.requests as transport
login = helper["login"]()
try:
    login.refresh(transport.Request())
    if "ASKED" in os.environ:
        helper["read"].__globals__.update(endpoint=lambda: os.environ["ASKED"], who=lambda: login)
        helper["get"](dict(project="proj", zone="us-central1-a", instance="a100-golden"))
    print(login.token, login.valid)
except Exception as error:
    print(helper["trouble"](error))
"""


def who(gce: Gce, **environment: str) -> str:
    kept = {name: value for name, value in gce.environment.items() if name != "CLOUDSDK_AUTH_DISABLE_CREDENTIALS"}
    done = subprocess.run(
        [sys.executable, "-c", WHO],
        env=kept | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_without_an_application_default_login_gclouds_own_is_used(gce: Gce, tmp_path: Path) -> None:
    gcloud()
    (tmp_path / "token").write_text("ya29.mine")
    assert who(gce, CLOUDSDK_AUTH_ACCESS_TOKEN_FILE=str(tmp_path / "token")) == "ya29.mine True"


def test_without_any_login_gclouds_is_the_one_that_is_asked_for(gce: Gce) -> None:
    gcloud()
    assert "'code': 'login-gcloud'" in who(gce, CLOUDSDK_CORE_ACCOUNT="")


def test_a_token_of_gclouds_that_the_api_refuses_is_gclouds_to_renew(gce: Gce, tmp_path: Path) -> None:
    gcloud()
    gce.add()
    gce.emulator.fail("GET", 401, times=None)
    (tmp_path / "token").write_text("ya29.mine")
    said = who(gce, CLOUDSDK_AUTH_ACCESS_TOKEN_FILE=str(tmp_path / "token"), ASKED=gce.emulator.url)
    assert "'code': 'login-gcloud'" in said
    assert "injected 401" in said


def test_a_token_that_is_no_longer_good_names_the_command(gce: Gce) -> None:
    gce.add()
    gce.emulator.token = NAME
    with pytest.raises(LoginExpired) as caught:
        gce.vm.state()
    assert caught.value.hint == "gcloud auth application-default login"


# Where the VM is


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "configurations").mkdir()
    (tmp_path / "configurations/config_default").write_text("[core]\nproject = first\n[compute]\nzone = zone-1\n")
    (tmp_path / "configurations/config_work").write_text("[core]\nproject = second\naccount = me@example.com\n")
    return tmp_path


def test_gclouds_active_configuration_is_read_as_gcloud_reads_it(folder: Path) -> None:
    here = {"CLOUDSDK_CONFIG": str(folder)}
    assert (gcloud_says("project", here), gcloud_says("zone", here)) == ("first", "zone-1")
    (folder / "active_config").write_text("work")
    assert (gcloud_says("project", here), gcloud_says("zone", here)) == ("second", None)
    assert gcloud_says("account", here) == "me@example.com"
    assert gcloud_says("project", here | {"CLOUDSDK_ACTIVE_CONFIG_NAME": "default"}) == "first"
    assert gcloud_says("project", here | {"CLOUDSDK_CORE_PROJECT": "third"}) == "third"
    for command, expected in ((["project"], "second"), (["compute/zone"], "(unset)")):
        said = subprocess.run(
            [*gcloud(), "config", "get-value", *command],
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **here},
            capture_output=True, text=True, timeout=240, check=True,
        )  # fmt: skip
        assert (said.stdout.strip() or "(unset)") == expected


def test_a_configuration_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    here = {"CLOUDSDK_CONFIG": str(tmp_path)}
    assert gcloud_says("project", here) is None
    (tmp_path / "configurations").mkdir()
    (tmp_path / "configurations/config_default").write_bytes(b"\xff\x00 not [a config")
    assert gcloud_says("project", here) is None


def test_settings_go_before_gclouds_configuration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLOUDSDK_CORE_PROJECT", "CLOUDSDK_COMPUTE_ZONE", "CLOUDSDK_ACTIVE_CONFIG_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(folder))
    vm = vm_of("golden", HostSettings(provider="gcloud"))
    assert (vm.name, vm.project, vm.zone) == ("golden", "first", "zone-1")
    vm = vm_of("golden", HostSettings(provider="gcloud", instance="a100", project="mine", zone="zone-2"))
    assert (vm.name, vm.project, vm.zone) == ("a100", "mine", "zone-2")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(folder / "none"))
    with pytest.raises(InvalidRequest, match="which Google Cloud project") as caught:
        vm_of("golden", HostSettings(provider="gcloud", zone="z"))
    assert "gcloud config set project" in caught.value.hint
    with pytest.raises(InvalidRequest, match="which zone golden is in"):
        vm_of("golden", HostSettings(provider="gcloud", project="p"))


def test_a_host_that_is_no_vm_is_said_to_be_none(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    (tmp_path / "t2v.toml").write_text('[host.box]\naddress = "1.2.3.4"\n[host.golden]\nprovider = "gcloud"\n')
    assert list(switched_hosts(workspace)) == ["golden"]
    with pytest.raises(InvalidRequest, match="does not say that box is a VM"):
        switched_host("box", workspace)
    with pytest.raises(InvalidRequest) as caught:
        switched_host("goldn", workspace)
    assert caught.value.hint == "did you mean 'golden'?"
