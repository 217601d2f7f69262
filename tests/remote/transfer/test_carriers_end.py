"""A carrier that ends at once, a file that cannot be read, a pull that was killed: each said once, with a next step.

What is on the PATH in rsync's place are real programs that do just that.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.hosts.far_host import Far, far_host
from support.hosts.transfers import (
    landed,
    left_behind,
    notes,
    pulled,
    pushed,
    same_tree,
    write_checkpoint,
    write_videos,
)
from support.house.needs import needs

from remote.agent.transfer.parts import Part, journal_path, part_path
from remote.errors import TransferFailed
from remote.transfer.carriers.programs import why_it_ended
from remote.transfer.plan.pull_plan import UNIT_MARK, plan_pull, staging_of
from remote.transfer.pull import Pulling


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    with far_host(tmp_path) as far:
        yield far


# Carriers

ENDS = {
    "without a word": ("#!/bin/sh\nexit 1\n", "rsync: it ended with code 1 and said nothing"),
    "without reading its names": ("#!/bin/sh\nexec 0<&-\necho no room for it >&2\nexit 11\n", "rsync: no room for it"),
    "content with nothing": ("#!/bin/sh\nexit 0\n", "rsync ended without an error, but did not bring it"),
    "by a signal": ("#!/bin/sh\nkill -SEGV $$\n", "rsync: it was ended by SIGSEGV"),
    "before it began": ("", "rsync cannot be started: Exec format error"),
    "with much to say": ("#!/bin/sh\nseq 100000 >&2; echo the reason >&2; exit 3\n", "rsync: the reason"),
}


@pytest.mark.parametrize(("program", "sentence"), ENDS.values(), ids=ENDS)
def test_one_that_ends_at_once_is_a_sentence_and_a_next_step(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, sentence: str
) -> None:
    needs("rsync")  # at the far end
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/rsync").write_text(program)
    (tmp_path / "bin/rsync").chmod(0o755)
    # Where a file is no program the next one of that name is taken, so there must be none.
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH'] if program else ''}")
    monkeypatch.setattr("remote.transfer.carriers.programs.PAUSE_S", 0.0)
    (far.there / "outputs").mkdir()
    for number in range(400):  # more names than a pipe holds
        (far.there / f"outputs/{'long' * 50}{number}.mp4").write_text("video")
    far.write_settings()
    with (far.here.root / "t2v.toml").open("a") as file:
        file.write('transfer = "rsync"\n')
    with far.jobs() as jobs, pytest.raises(TransferFailed) as caught:
        pulled(jobs, "videos")
    assert sentence in caught.value.message
    assert 'transfer = "ssh"' in caught.value.hint


def test_the_command_line_says_it_as_well(far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken pipe within a transfer is not taken for a reader of ours that went away."""
    needs("rsync")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/rsync").write_text(ENDS["without reading its names"][0])
    (tmp_path / "bin/rsync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (far.there / "outputs").mkdir()
    for number in range(400):
        (far.there / f"outputs/{'long' * 50}{number}.mp4").write_text("video")
    far.write_settings()
    with (far.here.root / "t2v.toml").open("a") as file:
        file.write('transfer = "rsync"\n')
    done = far.ran("pull", "videos")
    assert done.returncode == 1
    assert "error: rsync: no room for it\nhint:  what arrived is kept" in done.stderr
    assert "t2v itself failed" not in done.stderr


@pytest.mark.parametrize(
    ("said", "code", "why"),
    [
        (
            "ssh: connect to host 10.0.0.1 port 22: Connection refused\n"
            "rsync: connection unexpectedly closed (0 bytes received so far) [Receiver]\n"
            "rsync error: unexplained error (code 255) at io.c(231) [Receiver=3.2.7]\n",
            255,
            "ssh: connect to host 10.0.0.1 port 22: Connection refused",
        ),
        ("rsync error: timeout in data send/receive (code 30) at io.c(195)\n", 30, "rsync error: timeout in data"),
        ("", -9, "it was ended by SIGKILL"),
        ("\n \n", 7, "it ended with code 7 and said nothing"),
        ("\x1b[2Jbad\n", 1, "\\x1b[2Jbad"),
    ],
)
def test_the_reason_is_what_stands_before_rsync_s_own_ending(said: str, code: int, why: str) -> None:
    assert why_it_ended(said, code).startswith(why)


# Files that cannot be read


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """For root as well: a file of the kernel's that nobody may read is bound over it."""
    if os.geteuid() != 0:
        path.chmod(0)
        yield
        path.chmod(0o644)
        return
    needs("root")
    subprocess.run(["mount", "--bind", "/proc/sys/vm/compact_memory", str(path)], check=True, timeout=10)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True, timeout=10)


def test_one_that_cannot_be_read_is_refused_and_the_others_come(far: Far) -> None:
    write_videos(far.there, 4)
    write_checkpoint(far.there, 1)
    write_checkpoint(far.there, 2)
    far.write_settings()
    closed = far.there / "checkpoints/checkpoint_step_1/notes.txt"
    with unreadable(far.there / "outputs/v1.mp4"), unreadable_of_same_size(closed):
        done = far.ran("pull", "checkpoints", "videos")
    assert done.returncode == 1
    assert "refused: outputs/v1.mp4 cannot be read there" in done.stderr
    assert "refused: checkpoints/checkpoint_step_1/notes.txt cannot be read there" in done.stderr
    assert "starting it over" not in done.stderr
    assert sorted(path.name for path in (far.here.root / "outputs").iterdir()) == ["v0.mp4", "v2.mp4", "v3.mp4"]
    assert same_tree(far.there / "checkpoints/checkpoint_step_2", far.here.root / "checkpoints/checkpoint_step_2")


@contextmanager
def unreadable_of_same_size(path: Path) -> Iterator[None]:
    """A manifest is held against sizes first; the kernel's file has none."""
    if os.geteuid() == 0:
        path.write_bytes(b"")
        manifest = path.with_name("manifest.json")
        said = json.loads(manifest.read_text())
        said["files"][path.name]["size_bytes"] = 0
        manifest.write_text(json.dumps(said))
    with unreadable(path):
        yield


def test_one_that_cannot_be_read_any_more_is_said_once_when_the_others_have_come(far: Far) -> None:
    write_videos(far.there, 4)
    with far.jobs() as jobs:
        plan = plan_pull(jobs, ["videos"])
        rows = []
        with unreadable(far.there / "outputs/v1.mp4"):
            with pytest.raises(TransferFailed, match=r"outputs/v1\.mp4 cannot be read on vm: Permission denied"):
                rows.extend(Pulling(jobs, plan))
            assert len(list((far.here.root / "outputs").glob("*.mp4"))) == 3
    assert not [note for note in notes(rows) if "starting it over" in note]


# What a killed pull or push leaves


def leave_journal(target: Path) -> None:
    """As whoever was killed between a file's name and the end of its journal."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Part(target, "an earlier one", 5)
    part.open()
    part.close()
    part_path(target).unlink()
    assert journal_path(target).exists()


def test_no_journal_is_left_beside_what_has_landed(far: Far) -> None:
    write_videos(far.there, 3)
    write_checkpoint(far.there, 1)
    root = far.here.root
    with far.jobs() as jobs:
        plan = plan_pull(jobs, ["checkpoints", "videos"])
        (sealed,) = [item.unit for item in plan.items if item.unit.is_sealed]
        leave_journal(root / "outputs/v0.mp4")
        list(Pulling(jobs, plan))
        for target in ("outputs/v1.mp4", "checkpoints/checkpoint_step_1/model.safetensors"):
            leave_journal(root / target)
        (root / "outputs/mine.part.journal").write_text("my own")
        assert not landed(pulled(jobs, "checkpoints", "videos"))
    assert not staging_of(sealed, root).exists()
    assert [path.name for path in root.rglob("*.journal")] == ["mine.part.journal"]


def test_a_journal_in_a_folder_that_is_put_together_does_not_get_its_name(far: Far) -> None:
    write_checkpoint(far.there, 1)
    with far.jobs() as jobs:
        plan = plan_pull(jobs, ["checkpoints"])
        unit = plan.items[0].unit
        staging = staging_of(unit, far.here.root)
        leave_journal(staging / "notes.txt")
        (staging / UNIT_MARK).write_text(unit.identity)
        shutil.copy(far.there / "checkpoints/checkpoint_step_1/notes.txt", staging)
        pulled(jobs, "checkpoints")
    assert same_tree(far.there / "checkpoints", far.here.root / "checkpoints")
    assert left_behind(far.here.root) == []


def test_a_push_takes_away_a_journal_that_an_earlier_one_left(far: Far) -> None:
    write_videos(far.here.root, 2)
    with far.jobs() as jobs:
        pushed(jobs, "videos")
        leave_journal(far.there / "outputs/v0.mp4")
        pushed(jobs, "videos")
    assert not list(far.there.rglob("*.journal"))
