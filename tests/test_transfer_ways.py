"""The other ways: gcloud compute scp, rsync, and a bucket; each with our verifying and renaming around it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.guest_agent import SshdGuest, lose_power
from bench.sshd import Sshd
from far_host import Far
from gce_here import NAME, Gce, gce_here, gcloud
from transfers import (
    cleared_far,
    landed,
    left_behind,
    notes,
    pulled,
    same_tree,
    server_of_module,
    write_checkpoint,
    write_videos,
)

from remote.errors import Corrupt, HostUnreachable, NotReady, TransferFailed
from remote.gce_host import GceHost
from remote.host_jobs import HostJobs
from remote.host_keys import KnownHosts
from remote.host_settings import HostSettings
from remote.transfer.argv import GcloudWay, SshWay, gcloud_scp_argv, literal, quoted, rsync_argv, storage_cp_argv
from remote.transfer.plan import plan_pull
from t2v_core.workspace import Workspace

server, far = server_of_module, cleared_far
# `gcloud storage cp`, as far as a pull by way of a bucket needs it: gs:// is a folder of this machine. A stand-in: no
# real bucket can be had without a network; what it cannot show is what Google's own copy does on a bad line.
STORAGE = """#!{python}
import json, os, pathlib, shutil, sys
bucket = pathlib.Path({bucket!r})
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
assert sys.argv[1:4] == ["storage", "cp", "--quiet"], sys.argv
*sources, target = sys.argv[4:]
def place(name):
    return bucket / name[5:] if name.startswith("gs://") else pathlib.Path(name)
if os.path.exists({broken!r}):
    sys.exit("ERROR: (gcloud.storage.cp) HTTPError 403: no access")
for source in sources:
    into = place(target) / place(source).name if target.endswith("/") else place(target)
    into.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(place(source), into)
"""


def set_way(far: Far, *lines: str) -> None:
    far.write_settings()
    with (far.here.root / "t2v.toml").open("a") as file:
        file.write("\n".join(lines) + "\n")


# Exact commands


def test_gcloud_is_asked_for_one_file_with_the_cipher_and_the_pinned_key() -> None:
    way = GcloudWay("a100-golden", "proj", "us-central1-a", "me", 2222, is_iap=True)
    assert gcloud_scp_argv(way, "/home/me/w/a [1]*.mp4", Path("/here/a.part")) == [
        "gcloud", "compute", "scp", "--quiet", "--strict-host-key-checking=yes", "--project=proj",
        "--zone=us-central1-a", "--port=2222", "--tunnel-through-iap", "--scp-flag=-q", "--scp-flag=-c",
        "--scp-flag=aes128-gcm@openssh.com", "me@a100-golden:/home/me/w/a \\[1\\]\\*.mp4", "/here/a.part",
    ]  # fmt: skip
    assert gcloud_scp_argv(GcloudWay("vm"), "/a", Path("/b"))[5:] == [
        "--scp-flag=-q", "--scp-flag=-c", "--scp-flag=aes128-gcm@openssh.com", "vm:/a", "/b",
    ]  # fmt: skip
    assert literal("a\\b?") == "a\\\\b\\?"


def test_rsync_gets_the_pinned_keys_names_on_stdin_and_no_shell_there() -> None:
    way = SshWay("me", "1.2.3.4", 22, "compute.7", Path("/k h"), "/id", ("nc", "%h a", "22"))
    argv = rsync_argv(way, "/there/", Path("/here"), partial=".p")
    assert argv[:8] == [
        "rsync", "--times", "--from0", "--files-from=-", "--protect-args", "--no-implied-dirs", "--timeout=60",
        "--partial-dir=.p",
    ]  # fmt: skip
    assert argv[8] == "-e"
    assert argv[10:] == ["--", "me@1.2.3.4:/there/", "/here/"]
    assert argv[9] == (
        "ssh -F none -c aes128-gcm@openssh.com -p 22 -i /id -o IdentitiesOnly=yes -o BatchMode=yes "
        "-o StrictHostKeyChecking=yes -o 'UserKnownHostsFile=\"/k h\"' -o HostKeyAlias=compute.7 -o CheckHostIP=no "
        "-o ServerAliveInterval=5 -o ServerAliveCountMax=3 -o \"ProxyCommand=nc '%%h a' 22\""
    )
    assert quoted("plain") == "plain"


def test_a_bucket_is_reached_by_gcloud_storage() -> None:
    assert storage_cp_argv(["/a", "/b"], "gs://x/y/") == ["gcloud", "storage", "cp", "--quiet", "/a", "/b", "gs://x/y/"]


# rsync


def test_rsync_brings_files_that_are_verified_and_renamed_as_ours(far: Far) -> None:
    if shutil.which("rsync") is None:
        assert not os.environ.get("CI"), "CI runs the tests of rsync: install it"
        pytest.skip("rsync is not installed")
    write_checkpoint(far.there, 1)
    write_videos(far.there, 10)
    (far.there / "outputs/odd $(x) [1]*.mp4").write_text("odd")
    set_way(far, 'transfer = "rsync"')
    with far.jobs() as jobs:
        rows = pulled(jobs, "checkpoints", "videos")
        assert len(landed(rows)) == 12
        assert plan_pull(jobs, ["checkpoints", "videos"]).to_send == 0
    for name in ("checkpoints", "outputs"):
        assert same_tree(far.there / name, far.here.root / name)
    assert left_behind(far.here.root) == []
    assert not list(far.here.root.glob(".t2v/transfers/*/rsync"))


def test_without_rsync_at_either_end_ssh_is_taken_with_a_word(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    write_videos(far.there, 2)
    set_way(far, 'transfer = "rsync"')
    monkeypatch.setattr("remote.transfer.ways.shutil.which", lambda _: None)
    with far.jobs() as jobs:
        rows = pulled(jobs, "videos")
    assert notes(rows) == ["there is no rsync here: taking ssh"]
    assert len(landed(rows)) == 2


def test_gcloud_for_a_host_that_is_no_vm_is_a_sentence(far: Far) -> None:
    write_videos(far.there, 1)
    set_way(far, 'transfer = "gcloud"')
    with far.jobs() as jobs, pytest.raises(NotReady, match="vm is no VM that gcloud knows"):
        pulled(jobs, "videos")


# gcloud compute scp, the real one


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.kill()
    lose_power(server.home)


@pytest.fixture(scope="module")
def gce(tmp_path_factory: pytest.TempPathFactory, sshd: Sshd) -> Iterator[Gce]:
    with gce_here(tmp_path_factory.mktemp("gce"), SshdGuest(sshd)) as gce:
        yield gce


@pytest.mark.slow
def test_gcloud_compute_scp_brings_a_checkpoint_that_is_verified_and_renamed_as_ours(
    gce: Gce, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcloud()
    for name, value in (gce.environment | {"HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    here, there = Workspace(tmp_path / "here"), tmp_path / "there"
    here.root.mkdir()
    write_checkpoint(there, 1)
    instance = gce.add()
    instance.metadata.items["enable-guest-attributes"] = "TRUE"
    gce.cloud.bring_up(instance)
    values = {"provider": "gcloud", "port": sshd.port, "workdir": str(there), "transfer": "gcloud"}
    gce.write_settings(here.root, f"port = {sshd.port}", f'workdir = "{there}"', 'transfer = "gcloud"')
    host = GceHost(NAME, HostSettings.model_validate(values), gce.vm, known_hosts=KnownHosts(tmp_path / "known_hosts"))
    with HostJobs(host, here) as jobs:
        rows = pulled(jobs, "checkpoints")
    assert landed(rows) == ["checkpoints/checkpoint_step_1"]
    assert same_tree(there / "checkpoints", here.root / "checkpoints")
    theirs = KnownHosts(tmp_path / ".ssh/google_compute_known_hosts")
    assert theirs.pinned("compute.4711001") == [sshd.public_host_key]


# A bucket


@pytest.fixture
def bucket(far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is gs://films, and a `gcloud` at either end that copies to and from it."""
    place = tmp_path / "bin/gcloud"
    place.parent.mkdir()
    files = {"bucket": tmp_path / "gs", "log": tmp_path / "gcloud.log", "broken": tmp_path / "broken"}
    place.write_text(STORAGE.format(python=sys.executable, **{name: str(path) for name, path in files.items()}))
    place.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place.parent}:{os.environ['PATH']}")
    (far.sshd.home / ".bashrc").write_text(f"export PATH={place.parent}:$PATH\n")
    set_way(far, 'transfer = "bucket"', 'bucket = "gs://films/mine"')
    return tmp_path


def test_what_the_host_uploads_comes_home_by_the_bucket(far: Far, bucket: Path) -> None:
    write_checkpoint(far.there, 1)
    write_videos(far.there, 3)
    with far.jobs() as jobs:
        rows = pulled(jobs, "checkpoints", "videos")
        assert len(landed(rows)) == 4
        assert any(row.verb == "upload" and row.state == "succeeded" for row in jobs.rows())
    for name in ("checkpoints", "outputs"):
        assert same_tree(far.there / name, far.here.root / name)
    calls = [json.loads(line) for line in (bucket / "gcloud.log").read_text().splitlines()]
    assert {call[-1].startswith("gs://films/mine/vm/") for call in calls} == {True, False}


@pytest.mark.usefixtures("bucket")
def test_with_the_vm_off_what_it_has_uploaded_still_comes(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(far.there, 1)
    with far.jobs() as jobs:
        pulled(jobs, "checkpoints")
    shutil.rmtree(far.here.root / "checkpoints")
    monkeypatch.setattr("remote.host_jobs.QUESTION_PATIENCE_S", 0.5)
    far.sshd.kill()
    try:
        with far.jobs() as jobs:
            assert landed(pulled(jobs, "checkpoints")) == ["checkpoints/checkpoint_step_1"]
            with pytest.raises(HostUnreachable):
                plan_pull(jobs, ["videos"])
    finally:
        far.sshd.start()
    assert same_tree(far.there / "checkpoints", far.here.root / "checkpoints")


def test_what_is_damaged_in_the_bucket_is_not_taken(far: Far, bucket: Path) -> None:
    write_checkpoint(far.there, 1)
    with far.jobs() as jobs:
        pulled(jobs, "checkpoints")
        shutil.rmtree(far.here.root / "checkpoints")
        film = next((bucket / "gs").rglob("model.safetensors"))
        content = bytearray(film.read_bytes())
        content[7] ^= 1
        film.write_bytes(content)
        with pytest.raises(Corrupt, match="does not match its sha256"):
            pulled(jobs, "checkpoints")
    assert not (far.here.root / "checkpoints/checkpoint_step_1").exists()


def test_a_bucket_that_refuses_says_so_in_its_own_words(
    far: Far, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remote.transfer.carriers.PAUSE_S", 0.0)
    write_checkpoint(far.there, 1)
    (bucket / "broken").touch()
    with far.jobs() as jobs, pytest.raises(TransferFailed, match=r"the upload of gs://films/mine/vm/.* failed"):
        pulled(jobs, "checkpoints")
