"""The other ways: gcloud compute scp, rsync, and a bucket; each with our verifying and renaming around it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.cloud.guest_agent import SshdGuest, lose_power
from bench.cloud.storage_emulator import StorageEmulator
from bench.sshd import Sshd
from support.hosts.far_host import Far
from support.hosts.transfers import (
    KIB,
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
from support.house.needs import needs
from support.machines.gce_here import NAME, Gce, gce_here, gcloud

from remote.errors import Corrupt, HostUnreachable, NotReady, TransferFailed
from remote.gce.host import GceHost
from remote.gce.scp import GcloudWay
from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings
from remote.jobs.client import HostJobs
from remote.transfer.carriers.argv import gcloud_scp_argv, literal, rsync_argv, storage_cp_argv
from remote.transfer.links.ssh_way import SshWay, quoted
from remote.transfer.plan.pull_plan import plan_pull
from remote.transfer.progress import TransferProgress
from t2v_core.workspace import Workspace

server, far = server_of_module, cleared_far


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
    way = SshWay(
        "me", "1.2.3.4", 22, "compute.7", Path("/k h"), ("/id", "/i d"), ("/c%1",), "/a/sock", True,
        proxy=("nc", "%h a", "22"), family="inet",
    )  # fmt: skip
    argv = rsync_argv(way, "/there/", Path("/here"), partial=".p")
    assert argv[:8] == [
        "rsync", "--times", "--from0", "--files-from=-", "--protect-args", "--no-implied-dirs", "--timeout=60",
        "--partial-dir=.p",
    ]  # fmt: skip
    assert argv[8] == "-e"
    assert argv[10:] == ["--", "me@1.2.3.4:/there/", "/here/"]
    assert argv[9] == (
        'ssh -F none -c aes128-gcm@openssh.com -p 22 -i /id -i "/i d" -o BatchMode=yes '
        "-o StrictHostKeyChecking=yes -o 'UserKnownHostsFile=\"/k h\"' -o HostKeyAlias=compute.7 -o CheckHostIP=no "
        "-o ServerAliveInterval=5 -o ServerAliveCountMax=3 -o IdentityAgent=/a/sock -o AddressFamily=inet "
        "-o CertificateFile=/c%%1 -o IdentitiesOnly=yes -o \"ProxyCommand=nc '%%h a' 22\""
    )
    assert quoted("plain") == "plain"


def test_a_bucket_is_reached_by_gcloud_storage() -> None:
    assert storage_cp_argv(["/a", "/b"], "gs://x/y/") == ["gcloud", "storage", "cp", "--quiet", "/a", "/b", "gs://x/y/"]


# rsync


@pytest.fixture
def rsync() -> None:
    """The real one."""
    needs("rsync", "ssh")


@pytest.mark.usefixtures("rsync")
def test_rsync_brings_files_that_are_verified_and_renamed_as_ours(far: Far) -> None:
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


@pytest.mark.usefixtures("rsync")
def test_rsync_that_breaks_off_within_a_file_goes_on_there(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remote.transfer.carriers.programs.PAUSE_S", 0.0)
    size = 8_000 * KIB
    write_checkpoint(far.there, 1, size=size)
    set_way(far, 'transfer = "rsync"')
    before = far.proxy.passed
    far.proxy.rules.stall_after = before + 6_000 * KIB  # ema.safetensors comes first, with a seventh of the size

    def cut_once_written(row: TransferProgress) -> None:
        if far.proxy.rules.stall_after is not None and row.done_bytes > 5_200 * KIB:
            far.proxy.cut()
            far.proxy.rules.stall_after = None

    with far.jobs() as jobs:
        rows = pulled(jobs, "checkpoints", look=cut_once_written)
    assert landed(rows) == ["checkpoints/checkpoint_step_1"]
    assert [note for note in notes(rows) if note.startswith("rsync: ") and note.endswith("it is tried again")]
    assert same_tree(far.there / "checkpoints", far.here.root / "checkpoints")
    assert far.proxy.passed - before < size + size // 7 + 1_000 * KIB


def test_without_rsync_at_either_end_ssh_is_taken_with_a_word(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    write_videos(far.there, 2)
    set_way(far, 'transfer = "rsync"')
    monkeypatch.setattr("remote.transfer.carriers.ways.shutil.which", lambda _: None)
    with far.jobs() as jobs:
        rows = pulled(jobs, "videos")
    assert notes(rows) == ["there is no rsync here: taking ssh"]
    assert len(landed(rows)) == 2


def test_gcloud_for_a_host_that_is_no_vm_is_a_sentence(far: Far) -> None:
    write_videos(far.there, 1)
    set_way(far, 'transfer = "gcloud"')
    with far.jobs() as jobs, pytest.raises(NotReady, match="vm is not a VM that gcloud knows"):
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
def bucket(far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageEmulator]:
    """gs://films, for the real gcloud at either end."""
    gcloud()
    with StorageEmulator("films") as storage:
        for name, value in storage.environment(tmp_path / "gcloud-here").items():
            monkeypatch.setenv(name, value)
        there = storage.environment(tmp_path / "gcloud-there")
        far.sshd.home.joinpath(".bashrc").write_text("".join(f"export {name}={there[name]}\n" for name in there))
        set_way(far, 'transfer = "bucket"', 'bucket = "gs://films/mine"')
        yield storage
    far.sshd.home.joinpath(".bashrc").unlink()


def test_what_the_host_uploads_comes_home_by_the_bucket(far: Far, bucket: StorageEmulator) -> None:
    write_checkpoint(far.there, 1)
    write_videos(far.there, 3)
    with far.jobs() as jobs:
        rows = pulled(jobs, "checkpoints", "videos")
        assert len(landed(rows)) == 4
        assert any(row.verb == "upload" and row.state == "succeeded" for row in jobs.rows())
    for name in ("checkpoints", "outputs"):
        assert same_tree(far.there / name, far.here.root / name)
    assert {name.rpartition("/")[2] for name in bucket.objects} >= {"model.safetensors", "trainer.json", "v0.mp4"}
    assert all(name.startswith("mine/vm/") for name in bucket.objects)


def test_an_upload_that_breaks_off_goes_on_and_a_download_says_how_far_it_is(far: Far, bucket: StorageEmulator) -> None:
    size = 12_000 * KIB  # gcloud sends more than 8 MiB in pieces
    write_checkpoint(far.there, 1, size=size)
    bucket.cut_upload, bucket.piece_s = size // 2, 0.02
    with far.jobs() as jobs:
        rows: list[TransferProgress] = []
        assert landed(pulled(jobs, "checkpoints", look=rows.append)) == ["checkpoints/checkpoint_step_1"]
    assert bucket.cut_upload is None
    assert any(0 < row.done_bytes < size for row in rows)
    assert same_tree(far.there / "checkpoints", far.here.root / "checkpoints")
    assert not left_behind(far.here.root)
    assert not list(far.here.root.rglob("*.gstmp"))


def test_with_the_vm_off_what_it_has_uploaded_still_comes(
    far: Far, bucket: StorageEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(far.there, 1)
    with far.jobs() as jobs:
        pulled(jobs, "checkpoints")
    shutil.rmtree(far.here.root / "checkpoints")
    uploads = bucket.seen("POST")
    monkeypatch.setattr("remote.jobs.client.QUESTION_PATIENCE_S", 0.5)
    far.sshd.kill()
    try:
        with far.jobs() as jobs:
            assert landed(pulled(jobs, "checkpoints")) == ["checkpoints/checkpoint_step_1"]
            with pytest.raises(HostUnreachable):
                plan_pull(jobs, ["videos"])
    finally:
        far.sshd.start()
    assert bucket.seen("POST") == uploads
    assert same_tree(far.there / "checkpoints", far.here.root / "checkpoints")


def test_what_is_damaged_in_the_bucket_is_not_taken(far: Far, bucket: StorageEmulator) -> None:
    write_checkpoint(far.there, 1)
    with far.jobs() as jobs:
        pulled(jobs, "checkpoints")
        shutil.rmtree(far.here.root / "checkpoints")
        name = next(name for name in bucket.objects if name.endswith("model.safetensors"))
        content = bytearray(bucket.objects[name])
        content[7] ^= 1
        bucket.objects[name] = bytes(content)
        with pytest.raises(Corrupt, match="does not match its sha256"):
            pulled(jobs, "checkpoints")
    assert not (far.here.root / "checkpoints/checkpoint_step_1").exists()


def test_a_bucket_that_refuses_says_so_in_its_own_words(
    far: Far, bucket: StorageEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remote.transfer.carriers.programs.PAUSE_S", 0.0)
    write_checkpoint(far.there, 1)
    fault = bucket.fail("POST", 403, times=None, message="me@example.com does not have storage.objects.create access")
    with far.jobs() as jobs:
        with pytest.raises(TransferFailed, match=r"the upload of gs://films/mine/vm/.* failed"):
            pulled(jobs, "checkpoints")
        fault.times = 0
        bucket.fail("GET /download", 403, times=None, message="no access")
        with pytest.raises(TransferFailed, match=r"^gcloud: HTTPError 403"):
            pulled(jobs, "checkpoints")
