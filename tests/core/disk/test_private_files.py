"""Other people on the same machine read no prompt, setting or log, plant no file, and change nothing that is run."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.hosts.agent_here import Here, agent
from support.hosts.far_host import Far, far_host
from support.hosts.transfers import pulled, pushed
from support.warm.python import warm

from remote.agent.base.files import write_whole
from remote.agent.base.private import open_to_others
from remote.agent.transfer.parts import Part, part_path
from remote.errors import RemoteError
from remote.hosts import agent_upload as loader
from remote.jobs.follow import Follower
from t2v_core.disk.files import STAGING, staged_file
from t2v_core.disk.private import make_folder, make_private
from t2v_core.errors import InvalidRequest
from t2v_core.events import EventWriter
from t2v_core.job import Job
from t2v_core.processes.alone import alone
from t2v_core.workspace import Workspace, create_job_directory

# What a job makes is its owner's to show, or not, by the umask.
RESULTS = ("outputs", "data", "checkpoints")
MAKES = "import pathlib; pathlib.Path('outputs').mkdir(); pathlib.Path('outputs/made').write_text('x'); print('a log')"


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def read_by_others(top: Path) -> list[str]:
    """Files below that others may open, but for results."""
    found = []
    for path in top.rglob("*"):
        parts = path.relative_to(top).parts
        if path.is_dir() or path.is_symlink() or parts[0] in RESULTS or not mode_of(path) & 0o077:
            continue
        if all(mode_of(top.joinpath(*parts[:depth])) & 0o011 for depth in range(1, len(parts))):
            found.append(str(path.relative_to(top)))
    return found


def written_by_others(top: Path) -> list[Path]:
    """Folders of ours that others may write to."""
    return [path for path in top.rglob("*") if path.name in (".t2v", "jobs", "t2v") and mode_of(path) & 0o022]


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with far_host(tmp_path_factory.mktemp("far")) as one:
        (one.sshd.home / ".bashrc").write_text("umask 000\n")  # sshd itself takes 022 away
        yield one


def test_a_whole_job_on_a_host_shows_others_its_results_alone(far: Far) -> None:
    (far.here.root / "notes.txt").write_text("pushed")
    with umask(0), far.jobs() as jobs:
        far.write_settings()
        (far.here.root / "t2v.toml").chmod(0o600)
        job = far.begin(jobs, MAKES)
        assert far.end_of(jobs, job).state == "succeeded"
        list(Follower(far.host(), job, far.spool(job)))
        pushed(jobs, "t2v.toml", "notes.txt")
        pulled(jobs, "outputs")
    assert (far.spool(job).log).read_text() == "a log\n"
    assert mode_of(far.there / "outputs/made") == 0o666, "the umask of the host is not the test's"
    assert mode_of(far.there / "t2v.toml") == 0o600
    assert read_by_others(far.there) == ["notes.txt"]
    assert read_by_others(far.here.root) == ["notes.txt"]
    assert read_by_others(far.config) == []
    assert read_by_others(far.sshd.home) == [".bashrc"]
    assert [path for top in (far.there, far.here.root, far.sshd.home) for path in written_by_others(top)] == []


def test_a_whole_job_here_shows_others_its_results_alone(tmp_path: Path) -> None:
    root, home = tmp_path / "work", tmp_path / "home"
    home.mkdir()
    for words in (["init", str(root)], ["data", "shapes", "--clips", "2", "--test-clips", "1"], ["status"]):
        subprocess.run(
            [warm(), "-m", "t2v_tui.cli.main", *words], cwd=root if root.exists() else tmp_path, umask=0,
            env={**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}, check=True,
            capture_output=True, timeout=240,
        )  # fmt: skip
    assert any(mode_of(path) & 0o044 for path in (root / "data").rglob("*.mp4")), "results are the umask's"
    assert list(root.glob("jobs/*/log"))
    assert read_by_others(root) == []
    assert read_by_others(home) == []


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o022, 0o077])
def test_a_job_s_folder_is_its_owner_s_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    workspace = Workspace(tmp_path / "new/work")
    with umask(mask):
        job = create_job_directory(workspace, "train")
        make_folder(workspace.root / ".t2v/spool/vm")
    assert [mode_of(path) for path in (workspace.jobs, job, workspace.root / ".t2v")] == [0o700] * 3
    assert not mode_of(workspace.root) & 0o022


def test_folders_of_an_earlier_version_are_closed(tmp_path: Path) -> None:
    for name in ("jobs", ".t2v"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    create_job_directory(Workspace(tmp_path), "train")
    make_folder(tmp_path / ".t2v/tui")
    assert [mode_of(tmp_path / name) for name in ("jobs", ".t2v")] == [0o700] * 2


# What somebody else has put there


def test_a_link_under_a_staging_name_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / f"{STAGING}{os.getpid()}-a.json").symlink_to(victim)
    with staged_file(tmp_path / "a.json") as partial:
        partial.write_text("new")
    assert (victim.read_text(), (tmp_path / "a.json").read_text()) == ("untouched", "new")
    assert not (tmp_path / "a.json").is_symlink()


def test_the_agent_s_staging_name_is_not_written_through_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    monkeypatch.setattr(time, "monotonic_ns", lambda: 5)  # who guesses it: it is not written through all the same
    (tmp_path / f".partial-{os.getpid()}.5-a.json").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "a.json", "new")
    assert victim.read_text() == "untouched"


def test_a_link_in_the_place_of_a_lock_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / ".train.lock").symlink_to(victim)
    events = EventWriter(tmp_path / "events.jsonl")
    job = Job(tmp_path, Workspace(tmp_path), events)
    with pytest.raises(InvalidRequest, match=r"\.train\.lock"), alone(tmp_path, ".train.lock", job):
        pass
    events.close()
    assert victim.read_text() == "untouched"


def test_a_part_that_is_a_link_is_begun_anew(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    target = tmp_path / "a.mp4"
    part_path(target).symlink_to(victim)
    (tmp_path / "a.mp4.part.journal").write_text('{"identity": "one", "size": 9}\n[0,9]\n')
    part = Part(target, "one", 9)
    part.open()
    part.close()
    assert part.there == []
    assert victim.read_text() == "untouched"


# What is run


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder of a test that stands for one on the way to a workspace."""
    (tmp_path / "shared/work").mkdir(parents=True)
    return tmp_path / "shared"


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        (0o755, ""),
        (0o1777, ""),
        (0o777, "may be written to by everybody, who could change what runs in it: chmod go-w"),
    ],
)
def test_a_folder_that_everybody_may_write_is_not_run_from(shared: Path, mode: int, sentence: str) -> None:
    shared.chmod(mode)
    said = open_to_others(shared / "work/.t2v")
    assert said == "" if not sentence else sentence in said
    assert not sentence or str(shared) in said


def test_a_group_of_its_user_s_own_gives_nothing_away(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import grp
    import pwd

    me = pwd.getpwuid(os.geteuid())
    os.chown(shared, -1, me.pw_gid)
    shared.chmod(0o775)
    own = grp.struct_group((me.pw_name, "x", me.pw_gid, []))
    monkeypatch.setattr(grp, "getgrgid", lambda _gid: own)
    assert open_to_others(shared / "work") == ""
    monkeypatch.setattr(grp, "getgrgid", lambda _gid: grp.struct_group((me.pw_name, "x", me.pw_gid, ["somebody"])))
    assert "everybody in the group" in open_to_others(shared / "work")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder away")
def test_a_folder_of_another_user_is_run_from_by_root_alone(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(shared, 12345, -1)
    assert open_to_others(shared / "work") == ""
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    assert "belongs to another user (uid 12345)" in open_to_others(shared / "work")


def test_no_job_begins_in_a_folder_that_others_may_write(shared: Path) -> None:
    with agent() as one:
        here = Here(shared / "work", one)
        (shared / "work").chmod(0o777)
        with pytest.raises(RemoteError, match=r"work may be written to by everybody.*chmod go-w"):
            here.start("pass")
        (shared / "work").chmod(0o755)
        assert here.end_of(here.start("pass"))["state"] == "succeeded"


@pytest.mark.parametrize("has_elsewhere", [True, False])
def test_the_agent_is_not_run_out_of_a_home_that_others_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_elsewhere: bool
) -> None:
    (tmp_path / "home/.cache").mkdir(parents=True)
    (tmp_path / "home/.cache").chmod(0o777)
    make_private(tmp_path / "var")
    monkeypatch.setattr(loader, "BASES", (str(tmp_path / "var"),) if has_elsewhere else ())
    done = subprocess.run(
        ["sh", "-c", loader.command(["serve"])], env={**os.environ, "HOME": str(tmp_path / "home")},
        input=loader.upload(), capture_output=True, timeout=240, check=False,
    )  # fmt: skip
    assert list((tmp_path / "home/.cache").iterdir()) == []
    if has_elsewhere:
        assert b'{"agent":' in done.stdout
    else:
        assert b".cache/t2v can be written to by others: chmod go-w" in done.stderr


def test_an_environment_that_others_may_write_is_not_even_asked_for_its_versions(shared: Path) -> None:
    python = shared / "work/.t2v/venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\ntouch {shared}/was-run\n")
    python.chmod(0o755)
    python.parent.chmod(0o777)
    with agent() as one:
        asked = {"workspace": str(shared / "work"), "requirements_sha256": "", "python": [str(python)]}
        said = one.call("standing", timeout_s=60, **asked)
    assert said["engine"] is None
    assert f"{python.parent} may be written to by everybody" in said["obstacle"]
    assert not (shared / "was-run").exists()
