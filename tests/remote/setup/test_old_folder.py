"""The old folder, first contact: everything of the user's is as it was, byte for byte, whatever t2v did beside it.

Real throughout: OpenSSH's server, torch's own files, a venv with a package of its own, a bootstrap by pip. The checkout
that is brought asks for one small package instead of torch and its company, so that nothing is fetched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench.sshd import Sshd
from support.hosts.agent_here import wait_until
from support.hosts.laid_pip import host_python
from support.hosts.small_release import built_once, only_packages_of, small_checkout, write_package
from support.machines.small_disk import mounted
from support.previous.old_folder import CLIPS, EPOCHS, OWN_PACKAGE, fingerprint, make_old_folder, make_venv

from remote.agent.setup.own_folder import obstacle
from remote.errors import NotReady
from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings
from remote.hosts.ssh import SSHHost
from remote.jobs.client import HostJobs
from remote.setup.bootstrap import ensure_ready, look_beforehand
from remote.setup.release import Release
from t2v_core.specs import ShapesSpec
from t2v_core.workspace import Workspace


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def release(checkout: Path) -> Release:
    return built_once(checkout)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What comes first on the PATH of the host."""
    return host_python(tmp_path_factory.mktemp("host") / "python")


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One old folder, of which each test gets a copy."""
    return make_old_folder(tmp_path_factory.mktemp("pattern") / "text2video")


@dataclass
class Machine:
    """A server with a private home, and our workspace."""

    sshd: Sshd
    here: Workspace
    checkout: Path

    @property
    def there(self) -> Path:
        return self.sshd.home / "text2video"

    def host(self) -> SSHHost:
        known = KnownHosts(self.here.root.parent / "config/t2v/known_hosts")
        settings = HostSettings(
            address="127.0.0.1", port=self.sshd.port, user=self.sshd.user, identity=self.sshd.client_key
        )
        host = SSHHost("vm", settings, known_hosts=known, config=Path("/nonexistent"))
        known.pin(host.key_name, [self.sshd.public_host_key])
        return host

    def bootstrap(self, release: Release) -> list[str]:
        told: list[str] = []
        host = self.host()
        try:
            ensure_ready(host, self.here, release=release, tell=lambda step: told.append(f"{step.name} {step.detail}"))
        finally:
            host.close()
        return told

    def ran(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line of the checkout that is brought, here."""
        self.host().close()
        (self.here.root / "t2v.toml").write_text(
            f'[host.vm]\naddress = "127.0.0.1"\nport = {self.sshd.port}\nidentity = "{self.sshd.client_key}"\n'
            f'user = "{self.sshd.user}"\n'
        )
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "SSH_"))}
        config = self.here.root.parent / "config"
        kept |= {"XDG_CONFIG_HOME": str(config), "HOME": str(config), "PYTHONPATH": str(self.checkout)}
        return subprocess.run(
            [sys.executable, "-P", "-m", "t2v_tui.cli.main", *arguments], cwd=self.here.root, env=kept,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path, checkout: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    sshd = Sshd(tmp_path / "sshd", programs=programs)
    write_package(tmp_path / "packages")
    only_packages_of(tmp_path / "packages", sshd.home)
    (tmp_path / "here").mkdir()
    sshd.start()
    try:
        yield Machine(sshd, Workspace(tmp_path / "here"), checkout)
    finally:
        sshd.kill()


def copied(pattern: Path, machine: Machine) -> dict[str, tuple[int, int, str]]:
    """The old folder there, and how it stands."""
    shutil.copytree(pattern, machine.there, symlinks=True)
    return fingerprint(machine.there)


@pytest.mark.slow
def test_first_contact_list_doctor_push_bootstrap_job_pull_and_nothing_of_the_users_has_changed(
    machine: Machine, pattern: Path, release: Release
) -> None:
    before = copied(pattern, machine)

    listed = machine.ran("ls", "--host", "vm")
    assert (listed.returncode, listed.stderr) == (0, "")
    kinds = listed.stdout.splitlines()
    assert any("venv/" in line and "Python environment (not ours)" in line for line in kinds)
    assert any("train.py" in line and "script" in line for line in kinds)

    old = machine.ran("ls", "checkpoints", "--host", "vm")
    rows = [line for line in old.stdout.splitlines() if "checkpoint of the previous system" in line]
    assert [f"checkpoint_epoch_{epoch}.pt" in line for epoch, line in zip(EPOCHS, rows, strict=True)] == [True] * 5
    assert [f", epoch {epoch}, loss 0." in line for epoch, line in zip(EPOCHS, rows, strict=True)] == [True] * 5

    doctor = machine.ran("doctor", "--host", "vm")
    assert f"{len(CLIPS)} latents" in " ".join(doctor.stdout.split())
    assert "t2v data import-latents data/msr-vtt --data data/msr-vtt --host vm" in doctor.stdout
    assert "push data" not in doctor.stdout

    train = machine.ran("train", "--host", "vm", "--detach")
    assert train.returncode != 0
    assert "t2v data import-latents data/msr-vtt --data data/msr-vtt --host vm" in train.stderr
    assert not (machine.there / ".t2v").exists()

    subprocess.run(["git", "init", "-q", str(machine.here.root)], check=True, timeout=120)
    (machine.here.root / "train.py").write_text("another\n")
    pushed = machine.ran("push", "code", "--host", "vm")
    assert pushed.returncode == 1
    assert "refused: train.py on vm is left alone: there is another file of that name, not pushed" in pushed.stderr
    (machine.there / "t2v.toml").unlink(missing_ok=True)  # it went with the code; the user has none there

    machine.bootstrap(release)
    with HostJobs(machine.host(), machine.here) as jobs:
        argv = [str(machine.there / ".t2v/venv/bin/python"), "-c", "import small_thing; print(small_thing.answer)"]
        job = jobs.submit("shapes", ShapesSpec(), argv=argv).job
        wait_until((machine.there / "jobs" / job / "exit.json").exists)
        assert jobs.row(job).state == "succeeded"
    assert (machine.there / "jobs" / job / "log").read_text() == "42\n"

    pulled = machine.ran("pull", "checkpoints/checkpoint_epoch_5.pt", "--host", "vm")
    assert pulled.returncode == 0, pulled.stderr
    name = "checkpoints/checkpoint_epoch_5.pt"
    assert (machine.here.root / name).read_bytes() == (machine.there / name).read_bytes()

    assert fingerprint(machine.there) == before


def test_a_dry_run_says_what_would_be_made_and_makes_nothing(machine: Machine, pattern: Path, release: Release) -> None:
    before = copied(pattern, machine)
    said = machine.ran("bootstrap", "--host", "vm", "--dry-run")
    assert said.returncode == 0, said.stderr
    for words in (f".t2v/releases/{release.name}/", ".t2v/venv/", "jobs/", "a Python environment; it stays as it is"):
        assert words in said.stdout
    assert "~/.cache/t2v" in said.stderr
    assert fingerprint(machine.there, but=()) == before
    assert {path.name for path in machine.there.iterdir()} == {name for name in before if "/" not in name}
    told = machine.bootstrap(release)
    assert [f"change {line}" for line in said.stdout.splitlines()] == [
        line for line in told if line.startswith("change ")
    ]
    assert fingerprint(machine.there) == before
    assert "there is nothing to do" in machine.ran("bootstrap", "--host", "vm", "--dry-run").stderr


def to_a_link(there: Path) -> None:
    (there / "venv").rename(there.parent / "elsewhere")
    (there / "venv").symlink_to(there.parent / "elsewhere")


def with_pip(there: Path) -> None:
    shutil.rmtree(there / "venv")
    make_venv(there / "venv", with_pip=True)


def of_python38(there: Path) -> None:
    """Its program says 3.8 of itself, as one does that the system's upgrade left behind."""
    (there / "venv/bin/python").unlink()
    (there / "venv/bin/python").write_text("#!/bin/sh\necho 3.8\n")
    (there / "venv/bin/python").chmod(0o755)


def a_file_beside_a_begun_bootstrap_of_an_earlier_t2v_and_jobs_of_their_own(there: Path) -> None:
    shutil.rmtree(there / "venv")
    (there / "venv").write_text("mine")
    (there / ".t2v").mkdir()
    (there / ".t2v/venv-begun").touch()
    (there / "jobs/applications").mkdir(parents=True)
    (there / "jobs/applications/letter.txt").write_text("Dear Sir or Madam")


STATES: list[Callable[[Path], None]] = [
    to_a_link, with_pip, of_python38, a_file_beside_a_begun_bootstrap_of_an_earlier_t2v_and_jobs_of_their_own
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("make", STATES, ids=lambda make: make.__name__)
def test_whatever_lies_at_venv_it_stays_and_ours_is_made_elsewhere(
    machine: Machine, pattern: Path, release: Release, make: Callable[[Path], None]
) -> None:
    copied(pattern, machine)
    make(machine.there)
    before = fingerprint(machine.there)
    theirs = {name for name in fingerprint(machine.there, but=(".t2v",)) if name.startswith("jobs/")}
    elsewhere = fingerprint(machine.there.parent / "elsewhere", but=())
    machine.bootstrap(release)
    assert fingerprint(machine.there) == before
    assert fingerprint(machine.there.parent / "elsewhere", but=()) == elsewhere
    assert theirs <= set(fingerprint(machine.there, but=(".t2v",)))
    code = f"import small_thing, importlib.util as u; print(small_thing.answer, u.find_spec('{OWN_PACKAGE}'))"
    python = machine.there / ".t2v/venv/bin/python"
    said = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, timeout=240, check=True)
    assert said.stdout == "42 None\n"


@pytest.mark.slow
def test_an_environment_of_an_earlier_t2v_is_used_on_as_it_is(machine: Machine, release: Release) -> None:
    """The gigabytes do not come again; and when other packages are wanted, it is not written into either."""
    make_venv(machine.there / "venv", with_pip=True)
    mark = {"requirements_sha256": release.requirements_sha256, "python": sys.version.split()[0]}
    (machine.there / "venv/t2v-installed.json").write_text(json.dumps(mark))
    told = machine.bootstrap(release)
    assert not list((machine.there / "jobs").glob("*-bootstrap-*"))
    assert (machine.there / ".t2v/venv").readlink() == Path("../venv")
    assert any(line.startswith("in use") for line in told)

    (machine.there / "venv/t2v-installed.json").write_text(json.dumps(mark | {"requirements_sha256": "another"}))
    before = fingerprint(machine.there)
    machine.bootstrap(release)
    assert not (machine.there / ".t2v/venv").is_symlink()
    assert fingerprint(machine.there) == before


def test_an_environment_at_our_place_that_we_did_not_make_is_left_alone(machine: Machine, release: Release) -> None:
    make_venv(machine.there / ".t2v/venv", with_pip=False)
    before = fingerprint(machine.there / ".t2v/venv", but=())
    with pytest.raises(NotReady, match="is there and was not made by t2v") as caught:
        machine.bootstrap(release)
    assert caught.value.hint == "move it away"
    assert fingerprint(machine.there / ".t2v/venv", but=()) == before


def t2v_is_a_file(root: Path) -> None:
    (root / ".t2v").write_text("notes")


def jobs_is_a_file(root: Path) -> None:
    (root / "jobs").write_text("apply to …")


def t2v_leads_nowhere(root: Path) -> None:
    (root / ".t2v").symlink_to("/nonexistent/place")


def t2v_of_another_user(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a folder to another user takes root")
    (root / ".t2v").mkdir()
    os.chown(root / ".t2v", 12345, 12345)


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (t2v_is_a_file, r"\.t2v is a file, and t2v needs a folder"),
        (jobs_is_a_file, r"jobs is a file, and t2v needs a folder"),
        (t2v_leads_nowhere, r"\.t2v is a link to /nonexistent/place, which is not there"),
        (t2v_of_another_user, r"\.t2v belongs to another user \(uid 12345\)"),
    ],
)
def test_a_place_that_cannot_be_ours_is_one_sentence_and_nothing_is_made(
    machine: Machine, release: Release, plant: Callable[[Path], None], words: str
) -> None:
    machine.there.mkdir()
    plant(machine.there)
    before = fingerprint(machine.there, but=())
    with pytest.raises(NotReady, match=words) as caught:
        machine.bootstrap(release)
    assert caught.value.hint == "fix that there, or set workdir in [host.vm]"
    with pytest.raises(NotReady, match=words):
        look_beforehand(machine.host(), machine.here, release)
    assert fingerprint(machine.there, but=()) == before


def test_a_folder_that_cannot_be_written_to_is_seen_beforehand(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "1m") as disk:
        (disk / "text2video").mkdir()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, timeout=10)
        assert obstacle(disk / "text2video") == f"{disk}/text2video cannot be written to"
