"""SSH to a VM: found by the API, known by the API's word, let in by its metadata. A real sshd stands for the VM's."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bench.cloud.compute_state import Instance
from bench.cloud.guest_agent import OsLogin, SshdGuest
from bench.sshd import Sshd, make_key
from support.hosts.agent_here import wait_until
from support.machines.gce_here import NAME, Gce, gce_here, gcloud

from remote.errors import AuthFailed, CloudError, HostKeyChanged, HostKeyUnknown, HostOff, HostUnreachable, LoginExpired
from remote.gce.host import GceHost, iap_tunnel
from remote.gce.login import gcloud_key, public_key, with_key
from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings

ALIAS = "compute.4711001"
RELAY = """#!{python}
import json, os, select, socket, sys
with open({log!r}, "w") as file:
    json.dump(sys.argv[1:], file)
far = socket.create_connection(("127.0.0.1", {port}))
while True:
    for one in select.select([0, far], [], [])[0]:
        data = os.read(0, 65536) if one == 0 else far.recv(65536)
        if not data:
            sys.exit()
        far.sendall(data) if one == 0 else os.write(1, data)
"""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Sshd:
    return Sshd(tmp_path_factory.mktemp("sshd"))


@pytest.fixture(scope="module")
def gce(tmp_path_factory: pytest.TempPathFactory, sshd: Sshd) -> Iterator[Gce]:
    os_login = OsLogin(sshd.user)
    with gce_here(tmp_path_factory.mktemp("gce"), SshdGuest(sshd, os_login=os_login)) as gce:
        gce.emulator.os_login = os_login
        yield gce


@pytest.fixture(autouse=True)
def fresh(gce: Gce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gce.reset()
    gce.emulator.os_login.keys.clear()
    for name, value in (gce.environment | {"HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def known(tmp_path: Path) -> KnownHosts:
    return KnownHosts(tmp_path / "known_hosts")


def host_of(gce: Gce, sshd: Sshd, known: KnownHosts, **settings: object) -> GceHost:
    values = {"provider": "gcloud", "port": sshd.port or None} | settings
    return GceHost(NAME, HostSettings.model_validate(values), gce.vm, known_hosts=known)


def running(gce: Gce, *, publishes: bool = True, **how: object) -> Instance:
    instance = gce.add(**how)
    if publishes:
        instance.metadata.items["enable-guest-attributes"] = "TRUE"
    gce.cloud.bring_up(instance)
    return instance


def hello(host: GceHost) -> str:
    """What the agent there says first."""
    try:
        return str(host.open(["serve"]).greeting["python"])
    finally:
        host.close()


def keys_written(gce: Gce) -> int:
    return len(gce.emulator.seen("setMetadata"))


# Whom it talks to


def test_the_first_connection_pins_the_keys_by_the_apis_word_and_brings_our_own(
    gce: Gce, sshd: Sshd, known: KnownHosts
) -> None:
    instance = running(gce)
    host = host_of(gce, sshd, known)
    assert hello(host).startswith("3.")
    assert known.pinned(ALIAS) == [sshd.public_host_key]
    assert gcloud_key().stat().st_mode & 0o777 == 0o600
    key = public_key(gcloud_key(), sshd.user)
    assert instance.metadata.items["ssh-keys"] == f"{sshd.user}:{key} t2v"
    assert hello(host_of(gce, sshd, known)).startswith("3.")
    assert keys_written(gce) == 1


def test_a_key_that_several_want_at_once_is_made_once_and_they_all_have_it(tmp_path: Path) -> None:
    identity, begin = tmp_path / "home/.ssh/google_compute_engine", threading.Barrier(8)

    def wants_it(_: int) -> str:
        begin.wait(10)
        return public_key(identity, "me")

    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(wants_it, range(8)))
    assert keys == {public_key(identity, "me")}
    assert {path.name for path in identity.parent.iterdir()} == {identity.name, f"{identity.name}.pub"}
    assert identity.stat().st_mode & 0o777 == 0o600


def test_a_vm_that_is_off_is_said_to_be_off_at_once(gce: Gce, sshd: Sshd, known: KnownHosts) -> None:
    gce.add()
    with pytest.raises(HostOff, match=f"{NAME} is TERMINATED") as caught:
        hello(host_of(gce, sshd, known))
    assert (caught.value.hint, caught.value.exit_code) == (f"t2v vm start --host {NAME}", 3)


def test_without_the_apis_word_nobody_is_trusted_but_whom_gcloud_knows(
    gce: Gce, sshd: Sshd, known: KnownHosts, tmp_path: Path
) -> None:
    running(gce, publishes=False)
    host = host_of(gce, sshd, known)
    with pytest.raises(HostKeyUnknown) as caught:
        hello(host)
    assert (caught.value.name, "t2v host trust" in caught.value.hint) == (ALIAS, True)
    theirs = tmp_path / ".ssh/google_compute_known_hosts"
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text(f"{ALIAS} {sshd.public_host_key}\n")
    assert hello(host).startswith("3.")
    assert theirs.read_text() == f"{ALIAS} {sshd.public_host_key}\n"


def test_another_key_on_the_same_machine_is_refused_also_when_the_api_lists_it(
    gce: Gce, sshd: Sshd, known: KnownHosts, tmp_path: Path
) -> None:
    running(gce)
    make_key(tmp_path / "other")
    known.pin(ALIAS, [public_key(tmp_path / "other", "x")])
    with pytest.raises(HostKeyChanged, match="Google Cloud does list the key that it shows"):
        hello(host_of(gce, sshd, known))
    gce.cloud.instances["us-central1-a", NAME].guest_attributes.clear()
    with pytest.raises(HostKeyChanged, match="Google Cloud does not list the key"):
        hello(host_of(gce, sshd, known))


def test_a_vm_that_was_made_anew_is_another_one(gce: Gce, sshd: Sshd, known: KnownHosts, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    known.pin(ALIAS, [public_key(tmp_path / "other", "x")])
    running(gce, id=4711002)
    assert hello(host_of(gce, sshd, known)).startswith("3.")
    assert known.pinned("compute.4711002") == [sshd.public_host_key]


# Who logs in


def test_a_key_that_the_project_names_already_is_not_written_again(gce: Gce, sshd: Sshd, known: KnownHosts) -> None:
    gce.cloud.metadata.items["ssh-keys"] = f"{sshd.user}:{public_key(gcloud_key(), sshd.user)} me@laptop"
    running(gce)
    assert hello(host_of(gce, sshd, known)).startswith("3.")
    assert keys_written(gce) == 0


def test_keys_of_others_stay_when_ours_is_added(gce: Gce, sshd: Sshd, known: KnownHosts) -> None:
    instance = gce.add()
    instance.metadata.items |= {
        "enable-guest-attributes": "TRUE",
        "ssh-keys": "ann:ssh-rsa AAAA a\n\nbob:ssh-rsa BBBB b",
    }
    gce.cloud.bring_up(instance)
    hello(host_of(gce, sshd, known))
    assert instance.metadata.items["ssh-keys"].splitlines()[:2] == ["ann:ssh-rsa AAAA a", "bob:ssh-rsa BBBB b"]
    assert with_key("", "me", "ssh-rsa CCCC") == "me:ssh-rsa CCCC t2v"


def test_a_key_that_is_named_and_refused_nevertheless_is_said_so(gce: Gce, sshd: Sshd, known: KnownHosts) -> None:
    instance = running(gce)
    instance.metadata.items["ssh-keys"] = f"{sshd.user}:{public_key(gcloud_key(), sshd.user)}"
    with pytest.raises(AuthFailed, match="though it knows the key"):
        hello(host_of(gce, sshd, known))


def test_whoever_may_not_change_the_vm_is_told_what_is_missing(gce: Gce, sshd: Sshd, known: KnownHosts) -> None:
    running(gce)
    gce.emulator.fail("setMetadata", 403, message="Required 'compute.instances.setMetadata' permission")
    with pytest.raises(CloudError, match=r"compute\.instances\.setMetadata"):
        hello(host_of(gce, sshd, known))


def test_with_os_login_the_name_and_the_keys_are_the_profiles(gce: Gce, sshd: Sshd, known: KnownHosts) -> None:
    gcloud()
    instance = running(gce)
    instance.metadata.items["enable-oslogin"] = "TRUE"
    gce.cloud.guest.metadata_changed(instance, {})
    host = host_of(gce, sshd, known)
    assert hello(host).startswith("3.")
    assert (host.user, host.login.is_os_login) == (sshd.user, True)
    assert gce.emulator.os_login.keys == [public_key(gcloud_key(), sshd.user)]
    assert keys_written(gce) == 0


def test_gclouds_own_login_is_named_when_it_has_expired(
    gce: Gce, sshd: Sshd, known: KnownHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcloud()
    running(gce).metadata.items["enable-oslogin"] = "TRUE"
    monkeypatch.delenv("CLOUDSDK_AUTH_DISABLE_CREDENTIALS")
    monkeypatch.delenv("CLOUDSDK_CORE_ACCOUNT")
    with pytest.raises(LoginExpired) as caught:
        hello(host_of(gce, sshd, known))
    assert caught.value.hint == "gcloud auth login"


# Ways there


def test_through_iap_the_connection_is_a_programs_stdin_and_stdout(
    gce: Gce, sshd: Sshd, known: KnownHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(gce, has_external_address=False)
    program, log = tmp_path / "bin/gcloud", tmp_path / "argv"
    program.parent.mkdir()
    program.write_text(RELAY.format(python=sys.executable, log=str(log), port=sshd.port))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert hello(host_of(gce, sshd, known, iap=True, port=None)).startswith("3.")
    assert known.pinned(ALIAS) == [sshd.public_host_key]
    assert log.read_text().startswith('["compute", "start-iap-tunnel", "a100-golden", "22", "--listen-on-stdin"')


def test_the_tunnels_command_line_is_one_that_gcloud_takes(gce: Gce, tmp_path: Path) -> None:
    gcloud()
    argv = iap_tunnel(gce.vm, 22)
    assert argv == [
        "gcloud", "compute", "start-iap-tunnel", NAME, "22", "--listen-on-stdin", "--project=proj",
        "--zone=us-central1-a",
    ]  # fmt: skip
    # It would go on to Google's relay; the guard stops it, and this once that is as it should be.
    environment = gce.environment | {"LEFT_LOOPBACK": str(tmp_path / "stopped")}
    said = subprocess.run(
        argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False
    )
    assert said.returncode != 2, said.stderr
    assert "unrecognized arguments" not in said.stderr


def test_without_an_external_address_the_settings_that_help_are_named(gce: Gce, sshd: Sshd, known: KnownHosts) -> None:
    running(gce, has_external_address=False)
    with pytest.raises(HostUnreachable, match="no external address") as caught:
        hello(host_of(gce, sshd, known))
    assert "iap = true" in caught.value.hint
    assert hello(host_of(gce, sshd, known, address="127.0.0.1")).startswith("3.")


def test_a_vm_that_switches_itself_off_is_seen_to_be_off(gce: Gce, sshd: Sshd, known: KnownHosts) -> None:
    running(gce)
    host = host_of(gce, sshd, known)
    host.connect()
    _, out, _ = host.connect()._connection.client.exec_command("$T2V_POWER_OFF; echo done")
    assert out.read() == b"done\n"
    wait_until(lambda: gce.vm.state().is_stopped)
    host.close()
    assert sshd.sessions() == []


def test_a_twin_is_the_same_vm_over_a_connection_of_its_own(gce: Gce, sshd: Sshd, known: KnownHosts) -> None:
    running(gce)
    host = host_of(gce, sshd, known)
    twin = host.twin(2**20)
    assert host.connect() is not twin.connect()
    assert twin.key_name == ALIAS
    twin.close()
    host.close()


def test_a_key_of_gclouds_with_a_passphrase_is_said_at_once_and_nothing_is_written(
    gce: Gce, sshd: Sshd, known: KnownHosts
) -> None:
    running(gce)
    gcloud_key().parent.mkdir(mode=0o700, exist_ok=True)
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(gcloud_key())]
    subprocess.run(make, check=True, timeout=120)
    with pytest.raises(AuthFailed, match="has a passphrase") as caught:
        hello(host_of(gce, sshd, known))
    assert caught.value.hint == f"ssh-add {gcloud_key()}"
    gcloud_key().write_text("no key")
    with pytest.raises(AuthFailed, match="there was no key to offer"):
        hello(host_of(gce, sshd, known))
    assert keys_written(gce) == 0
