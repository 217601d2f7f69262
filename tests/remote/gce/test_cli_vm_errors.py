"""Whatever Google Cloud says no with is one sentence, one next step and an exit code, for a person at a terminal."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.machines.gce_here import NAME, gcloud
from support.machines.vm_here import VmHere, vm_as_new, vm_of_module

# Nothing of it is asked: who asks has no login, and that is found out before.
GOOGLE = {"T2V_COMPUTE_ENDPOINT": "", "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "false"}


vm_module, vm = vm_of_module, vm_as_new


def told(vm: VmHere, *words: str, **environment: str) -> tuple[int, str, str]:
    """(exit code, error, hint); whatever else was said is narration."""
    done = vm.ran(*words, **environment)
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    (error,) = (line.removeprefix("error: ") for line in lines if line.startswith("error: "))
    (hint,) = (line.removeprefix("hint:  ") for line in lines if line.startswith("hint:  "))
    return done.returncode, error, hint


@pytest.mark.parametrize(
    ("fault", "code", "error", "hint"),
    [
        (
            (403, "forbidden", "Required 'compute.instances.get' permission."), 2,
            "Google Cloud does not allow it: Required 'compute.instances.get' permission",
            "is it the right account and project? see: gcloud config list; it needs the role Compute Instance Admin",
        ),
        (
            (403, "accessNotConfigured", "Compute Engine API has not been used in project 1 before."), 2,
            "the Compute Engine API is off in that project: Compute Engine API has not been used in project 1 before",
            "gcloud services enable compute.googleapis.com",
        ),
        (
            (403, "quotaExceeded", "Quota 'GPUS_ALL_REGIONS' exceeded. Limit: 0.0 globally."), 2,
            "the project's quota is used up: Quota 'GPUS_ALL_REGIONS' exceeded. Limit: 0.0 globally",
            "ask for more at console.cloud.google.com/iam-admin/quotas",
        ),
        (
            (429, "rateLimitExceeded", "Quota exceeded for quota metric 'Read requests'."), 3,
            "Google Cloud asks for fewer requests: Quota exceeded for quota metric 'Read requests'", "wait a minute",
        ),
        (
            (503, "backendError", "Backend Error."), 3, "Google Cloud has a problem of its own (503): Backend Error",
            "only Google can fix it; try again in a minute",
        ),
        (
            (404, "notFound", "The resource 'projects/proj/zones/us-central1-a/instances/vm' was not found."), 2,
            "there is no such VM: The resource 'projects/proj/zones/us-central1-a/instances/vm' was not found",
            "is there a project proj? gcloud projects list",
        ),
    ],
    ids=["forbidden", "api off", "quota", "rate limit", "theirs", "no project"],
)  # fmt: skip
def test_each_no_is_a_sentence_and_a_next_step(
    vm: VmHere, fault: tuple[int, str, str], code: int, error: str, hint: str
) -> None:
    vm.add()
    status, reason, message = fault
    vm.gce.emulator.fail("GET", status, times=None, reason=reason, message=message)
    assert told(vm, "vm", "status") == (code, error, hint)


def test_a_network_that_is_down_is_one_line(vm: VmHere) -> None:
    found = told(vm, "vm", "status", T2V_COMPUTE_ENDPOINT="http://127.0.0.1:1")
    assert found == (3, "Google Cloud cannot be reached: 127.0.0.1: Connection refused", "is this machine online?")


def test_a_quota_that_a_start_meets_is_said_after_the_vm_was_looked_at_again(vm: VmHere) -> None:
    vm.add()
    vm.gce.emulator.fail_operation("start", "QUOTA_EXCEEDED", http=403, message="Quota 'NVIDIA_A100_GPUS' exceeded.")
    code, error, hint = told(vm, "vm", "start")
    assert (code, error) == (2, "the project's quota is used up: Quota 'NVIDIA_A100_GPUS' exceeded")
    assert "quotas" in hint
    requests = [str(one) for one in vm.gce.emulator.requests]
    posted = max(number for number, one in enumerate(requests) if one.endswith("/start"))
    assert any(one.startswith("GET") and one.endswith(f"/instances/{NAME}") for one in requests[posted:])


def test_a_refused_start_is_not_said_to_be_on_its_way(vm: VmHere) -> None:
    vm.add()
    vm.gce.emulator.fail("POST .*/start", 429, times=None)
    done = vm.ran("vm", "start")
    assert (done.returncode, "cannot be taken back" in done.stderr, "may run" in done.stderr) == (3, False, False)


def test_a_stop_that_is_refused_says_that_the_vm_runs_on(vm: VmHere) -> None:
    vm.add("RUNNING")
    vm.gce.emulator.fail("POST .*/stop", 403, times=None, message="Required 'compute.instances.stop' permission.")
    done = vm.ran("vm", "stop")
    assert done.returncode == 2
    assert f"{NAME} runs and costs $3.7" in done.stderr
    assert "it was not stopped" in done.stderr
    assert "is stopped" not in done.stderr


# Logins


def test_without_any_login_gclouds_is_the_one_that_is_asked_for(vm: VmHere) -> None:
    gcloud()
    sentence = "gcloud's login is missing or has expired: You do not currently have an active account selected"
    assert told(vm, "vm", "status", CLOUDSDK_CORE_ACCOUNT="", **GOOGLE) == (2, sentence, "gcloud auth login")


def test_without_gcloud_either_it_is_the_first_thing_to_install(vm: VmHere, tmp_path: Path) -> None:
    code, error, hint = told(vm, "vm", "status", PATH=str(tmp_path), **GOOGLE)
    assert (code, error) == (
        2, "nobody is logged in here: there is no application default login, and gcloud is not installed",
    )  # fmt: skip
    assert hint == "install the Google Cloud CLI, then: gcloud auth login"


def test_a_login_file_that_was_named_and_cannot_be_read_is_what_is_wrong(vm: VmHere, tmp_path: Path) -> None:
    file = tmp_path / "gone.json"
    code, error, hint = told(vm, "vm", "status", GOOGLE_APPLICATION_CREDENTIALS=str(file), **GOOGLE)
    assert (code, hint) == (2, "point it at another file, or unset it")
    assert error == f"the login that GOOGLE_APPLICATION_CREDENTIALS names cannot be used: File {file} was not found"


class _Revoked(BaseHTTPRequestHandler):
    """Google's token server, of which a login asks for something newer."""

    def do_POST(self) -> None:
        said = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def revoked(tmp_path: Path) -> Iterator[Path]:
    """An application default login that is good no longer."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    with HTTPServer(("127.0.0.1", 0), _Revoked) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        said = {
            "type": "service_account", "private_key": pem, "client_email": "t2v@proj.iam", "private_key_id": "1",
            "token_uri": f"http://127.0.0.1:{server.server_address[1]}/token",
        }  # fmt: skip
        (tmp_path / "login.json").write_text(json.dumps(said))
        yield tmp_path / "login.json"
        server.shutdown()


def test_an_application_default_login_that_has_expired_names_its_command(vm: VmHere, revoked: Path) -> None:
    code, error, hint = told(vm, "vm", "start", GOOGLE_APPLICATION_CREDENTIALS=str(revoked), **GOOGLE)
    assert (code, hint) == (2, "gcloud auth application-default login")
    assert error == "the application default login has expired: invalid_grant: Token has been expired or revoked"


# By way of a program


def test_a_tunnel_that_lacks_a_login_says_so_in_gclouds_words(vm: VmHere) -> None:
    gcloud()
    vm.write_settings("iap = true")
    vm.add("RUNNING")
    without = {"CLOUDSDK_CORE_ACCOUNT": "", "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "false"}
    done = vm.ran("vm", "start", **without)
    assert done.returncode == 2
    assert f"gcloud cannot reach {NAME}" in done.stderr
    assert "You do not currently have an active account selected" in done.stderr
    assert "hint:  gcloud auth login" in done.stderr
    assert f"{NAME} runs and costs" in done.stderr
    status = vm.ran("vm", "status", **without).stdout
    assert "SSH answers  no: You do not currently have an active account selected" in status


def test_a_price_that_nobody_knows_hides_neither_the_state_nor_the_past(vm: VmHere) -> None:
    instance = vm.add("RUNNING")
    assert vm.ran("vm", "cost").returncode == 0
    instance.machine_type = "z9-ultra-4"
    done = vm.ran("vm", "cost")
    assert (done.returncode, "started" in done.stdout) == (2, True)
    assert "error: what z9-ultra-4 costs is not known here" in done.stderr
    assert "hint:  usd_per_hour = … in its [host.NAME]" in done.stderr
    assert "what z9-ultra-4 costs is not known here" in vm.ran("vm", "status").stdout
