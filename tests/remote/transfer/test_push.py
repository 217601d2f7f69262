"""A push: what git lists and no more, whole or not there, and never over or instead of what is somebody else's."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hosts.far_host import Far
from support.hosts.transfers import (
    KIB,
    SMALL,
    STREAMS,
    cleared_far,
    kill_sessions,
    left_behind,
    notes,
    pushed,
    same_tree,
    server_of_module,
)
from support.house.needs import needs
from support.machines.small_disk import mounted

from remote.errors import AgentError, DiskFull
from remote.hosts.ssh import SSHHost
from remote.transfer.plan.git_list import listed_by_git
from remote.transfer.plan.push_plan import plan_push
from remote.transfer.progress import TransferProgress
from remote.transfer.push import Pushing
from t2v_core.errors import InvalidRequest

server, far = server_of_module, cleared_far
SECRETS = ("secret.env", "private/key.pem", "a/b/secret.env", "build/out.o", ".venv/lib/x.py")


def git(folder: Path, *words: str) -> bytes:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    command = [needs("git"), *who, "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout


def repository(root: Path) -> None:
    git(root, "init", "-q")
    (root / ".gitignore").write_text("secret.env\nprivate/\nbuild/\n.venv/\n*.lock\n")
    (root / "src").mkdir()
    (root / "src/train.py").write_text("print('train')\n")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "uv.lock").write_text("pins\n")
    for secret in SECRETS:
        (root / secret).parent.mkdir(parents=True, exist_ok=True)
        (root / secret).write_text("hunter2")


def files_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and ".t2v" not in path.parts} - {
        "t2v.toml"
    }


# Code


def test_code_is_what_git_lists_and_the_lock_file_and_no_secret_ever_goes(far: Far) -> None:
    repository(far.here.root)
    git(far.here.root, "add", "src/train.py")
    with far.jobs() as jobs:
        pushed(jobs, "code")
    assert files_below(far.there) == {".gitignore", "src/train.py", "run.sh", "uv.lock"}
    assert (far.there / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (far.there / "src/train.py").stat().st_mode & 0o777 == 0o644
    assert left_behind(far.there) == []


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_ignored_the_list_is_gits_own(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    words = ["a", "b", "src", "x.py", "y.log", "n o", "é", "[z]", "-q"]
    rules = ["*.log", "a/", "/b", "!a/x.py", "**/src/*.py", "n\\ o", "x.*", "!y.log", "[[]z]", "# no rule"]
    git(tmp_path, "init", "-q")
    for _ in range(60):
        path = tmp_path.joinpath(*draw.choices(words, k=draw.randint(1, 4)))
        if not path.exists() and not any(parent.is_file() for parent in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
    folders = [path for path in tmp_path.rglob("*") if path.is_dir() and ".git" not in path.parts]
    for folder in draw.sample(folders, 1):
        (folder / ".gitignore").write_text("\n".join(draw.choices(rules, k=4)))
    (tmp_path / ".gitignore").write_text("\n".join(draw.choices(rules, k=5)))
    status = git(tmp_path, "status", "--porcelain", "-z", "--untracked-files=all").split(b"\0")
    assert set(listed_by_git(tmp_path).paths) == {os.fsdecode(line[3:]) for line in status if line}


def test_links_and_repositories_within_are_passed_over_with_a_word_and_what_was_deleted_without(tmp_path: Path) -> None:
    repository(tmp_path)
    git(tmp_path, "add", "-A")
    (tmp_path / "src/train.py").unlink()
    (tmp_path / "away").symlink_to("/etc/passwd")
    (tmp_path / "inner").mkdir()
    git(tmp_path / "inner", "init", "-q")
    (tmp_path / "inner/x").write_text("x")
    git(tmp_path / "inner", "add", "x")
    git(tmp_path / "inner", "commit", "-qm", "x")
    git(tmp_path, "add", "inner")
    listed = listed_by_git(tmp_path)
    assert listed.passed_over == (("away", "it is a link"), ("inner", "it is a repository of its own"))
    assert "src/train.py" not in listed.paths


def test_a_name_that_is_no_text_goes_as_it_is(far: Far) -> None:
    repository(far.here.root)
    name = os.fsdecode(b"caf\xe9 \x01.py")
    (far.here.root / name).write_text("odd")
    with far.jobs() as jobs:
        pushed(jobs, "code")
    assert (far.there / name).read_text() == "odd"


def test_where_git_lists_nothing_there_is_a_sentence(far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequest, match=r"git lists nothing in .*not a git repository"):
        listed_by_git(tmp_path)
    with far.jobs() as jobs, pytest.raises(InvalidRequest, match="code is pushed by itself"):
        plan_push(jobs, ["code", "data"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidRequest, match="git is not installed"):
        listed_by_git(tmp_path)


def test_on_a_disk_of_its_own_git_says_the_same(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "1m") as disk, pytest.raises(InvalidRequest, match="not a git repository"):
        listed_by_git(disk)


# What is there


def test_nothing_that_was_not_pushed_is_ever_overwritten_or_removed(far: Far) -> None:
    repository(far.here.root)
    sentinels = {"notes.txt": "mine", "src/scratch.py": "mine", "run.sh": "another one", "checkpoints/c/m": "mine"}
    for name, text in sentinels.items():
        (far.there / name).parent.mkdir(parents=True, exist_ok=True)
        (far.there / name).write_text(text)
    with far.jobs() as jobs:
        plan = plan_push(jobs, ["code"])
        assert plan.refused == (("run.sh", "there is another file of that name, not pushed"),)
        for _ in range(2):
            pushed(jobs, "code")
        (far.here.root / "src/train.py").unlink()
        (far.here.root / "src/scratch.py").write_text("now of the same name here")
        pushed(jobs, "code")
    assert {name: (far.there / name).read_text() for name in sentinels} == sentinels
    assert not (far.there / "src/train.py").exists()


def test_what_was_edited_there_is_left_alone_until_somebody_says_replace(far: Far) -> None:
    repository(far.here.root)
    with far.jobs() as jobs:
        pushed(jobs, "code")
        (far.there / "src/train.py").write_text("edited on the host")
        (far.here.root / "src/train.py").write_text("edited here")
        assert plan_push(jobs, ["code"]).refused == (("src/train.py", "it was edited there since it was pushed"),)
        pushed(jobs, "code")
        assert (far.there / "src/train.py").read_text() == "edited on the host"
        (far.here.root / "src/train.py").unlink()
        assert plan_push(jobs, ["code"]).gone == ()
        (far.here.root / "src/train.py").write_text("edited here")
        pushed(jobs, "code", is_replacing=True)
        assert (far.there / "src/train.py").read_text() == "edited here"


def test_what_was_pushed_and_is_no_more_is_removed_with_its_empty_folder_and_a_word(far: Far) -> None:
    repository(far.here.root)
    with far.jobs() as jobs:
        pushed(jobs, "code")
        (far.here.root / "src/train.py").unlink()
        rows = pushed(jobs, "code")
        assert notes(rows) == ["src/train.py was pushed earlier and deleted here: removed there"]
        assert not (far.there / "src").exists()
        (far.here.root / "data").mkdir()
        (far.here.root / "data/clip.mp4").write_text("clip")
        pushed(jobs, "data")
        (far.here.root / "data/clip.mp4").unlink()
        (far.here.root / "data/other.mp4").write_text("clip")
        pushed(jobs, "data")
    assert (far.there / "data/clip.mp4").read_text() == "clip"  # only of code does git say what is all


def test_a_second_push_sends_nothing(far: Far) -> None:
    repository(far.here.root)
    with far.jobs() as jobs:
        pushed(jobs, "code")
        plan = plan_push(jobs, ["code"])
        assert (plan.to_send, plan.needed, plan.total_files) == (0, (), 4)


def test_a_link_there_is_never_written_through(far: Far, tmp_path: Path) -> None:
    repository(far.here.root)
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "elsewhere").mkdir()
    (far.there / "run.sh").symlink_to(tmp_path / "precious")
    (far.there / "src").mkdir()
    with far.jobs() as jobs:
        assert plan_push(jobs, ["code"]).refused == (("run.sh", "there is a link of that name"),)
        pushed(jobs, "code")
        assert (tmp_path / "precious").read_text() == "precious"
        (far.here.root / "src/sub").mkdir()
        (far.here.root / "src/sub/x.py").write_text("x")
        (far.there / "src/sub").symlink_to(tmp_path / "elsewhere")
        refused = dict(plan_push(jobs, ["code"]).refused)
        assert refused["src/sub/x.py"] == f"{far.there}/src/sub leads to {tmp_path}/elsewhere"
        pushed(jobs, "code", is_replacing=True)
        assert (tmp_path / "precious").read_text() == "precious"
        assert not (far.there / "run.sh").is_symlink()
    assert list((tmp_path / "elsewhere").iterdir()) == []


# On the way


def test_data_arrives_whole_however_often_the_push_is_left_cut_or_killed(far: Far) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw, faults = random.Random(seed), 0
    write_data(far.here.root, draw, size=2000 * KIB, clips=40)
    far.proxy.rules.delay_s = 0.002
    while faults < 15:
        with far.jobs() as jobs:
            plan = plan_push(jobs, ["data"])
            assert plan.needed, f"all was there after {faults} faults"
            pushing, at = Pushing(jobs, plan, sizes=SMALL, most_streams=STREAMS), draw.randrange(150 * KIB)
            for row in paced(pushing):
                if row.done_bytes >= at and faults < 15:
                    kind = draw.choice(["leave", "cut", "kill"])
                    faults, at = faults + 1, row.done_bytes + draw.randrange(150 * KIB)
                    if kind == "leave":
                        pushing.close()
                        break
                    far.proxy.cut() if kind == "cut" else kill_sessions(far)
            assert whole_or_absent(far)
    with far.jobs() as jobs:
        pushed(jobs, "data")
        assert plan_push(jobs, ["data"]).needed == ()
    assert same_tree(far.here.root / "data", far.there / "data")
    assert left_behind(far.there) == []


def write_data(root: Path, draw: random.Random, *, size: int, clips: int) -> None:
    (root / "data/videos").mkdir(parents=True)
    (root / "data/big.bin").write_bytes(draw.randbytes(size))
    for number in range(clips):
        (root / f"data/videos/v{number}.mp4").write_bytes(draw.randbytes(draw.randrange(12 * KIB)))


def paced(pushing: Pushing) -> Iterator[TransferProgress]:
    """As often as it can be asked, so that a fault comes at any byte."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("remote.transfer.push.ROW_S", 0.0)
        patch.setattr("remote.transfer.push.TICK_S", 0.001)
        yield from pushing


def whole_or_absent(far: Far) -> bool:
    """Nothing there differs from what is here, under its name."""
    there = [path for path in (far.there / "data").rglob("*") if path.is_file() and ".part" not in path.name]
    return all(path.read_bytes() == (far.here.root / path.relative_to(far.there)).read_bytes() for path in there)


def test_a_push_that_was_left_goes_on_with_what_is_there(far: Far) -> None:
    write_data(far.here.root, random.Random(1), size=2000 * KIB, clips=0)
    far.proxy.rules.delay_s = 0.005
    with far.jobs() as jobs:
        pushing = Pushing(jobs, plan_push(jobs, ["data"]), sizes=SMALL, most_streams=STREAMS)
        for row in paced(pushing):
            if row.done_bytes > 1000 * KIB:
                break
        pushing.close()
    with far.jobs() as jobs:
        plan = plan_push(jobs, ["data"])
        # Of what was sent no more than a range, of all streams, may have been on its way.
        assert plan.to_send < 1000 * KIB + SMALL.range_bytes
        pushed(jobs, "data")
    assert same_tree(far.here.root / "data", far.there / "data")


def test_a_file_that_changes_while_it_is_sent_is_sent_again_with_a_word(far: Far) -> None:
    write_data(far.here.root, random.Random(1), size=1500 * KIB, clips=0)
    far.proxy.rules.delay_s = 0.01
    big, is_changed = far.here.root / "data/big.bin", False

    def change(row: TransferProgress) -> None:
        nonlocal is_changed
        if row.done_bytes > 200 * KIB and not is_changed:
            is_changed = True
            big.write_bytes(random.Random(2).randbytes(1400 * KIB))

    with far.jobs() as jobs:
        rows = pushed(jobs, "data", look=change)
    assert is_changed
    assert "it is sent again" in notes(rows)[0]
    assert (far.there / "data/big.bin").read_bytes() == big.read_bytes()


def test_what_the_hosts_disk_cannot_hold_is_refused_before_and_said_when_it_fills_meanwhile(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(far.here.root, random.Random(1), size=2500 * KIB, clips=10)
    with mounted(tmp_path / "small", "4m") as disk, far.jobs() as jobs:
        assert isinstance(jobs.host, SSHHost)
        jobs.host.settings = jobs.host.settings.model_copy(update={"workdir": str(disk)})
        with pytest.raises(DiskFull, match=r"2\.\d MB would be pushed to vm, which has [34]\.\d MB free"):
            pushed(jobs, "data")
        monkeypatch.setattr("remote.transfer.plan.push_plan.MARGIN_BYTES", 0)
        plan = plan_push(jobs, ["data"])
        (disk / "filler").write_bytes(bytes(3000 * KIB))
        with pytest.raises(AgentError, match="No space left on device"):
            list(Pushing(jobs, plan, sizes=SMALL, most_streams=STREAMS))
        (disk / "filler").unlink()
        pushed(jobs, "data")
        assert same_tree(far.here.root / "data", disk / "data")


def test_links_to_files_are_sent_as_what_they_hold_and_pipes_and_half_files_are_not(far: Far, tmp_path: Path) -> None:
    write_data(far.here.root, random.Random(1), size=KIB, clips=2)
    (tmp_path / "clip.mp4").write_text("clip")
    (far.here.root / "data/linked.mp4").symlink_to(tmp_path / "clip.mp4")
    (far.here.root / "data/broken.mp4").symlink_to(tmp_path / "nowhere")
    (far.here.root / "data/folder").symlink_to(tmp_path)
    os.mkfifo(far.here.root / "data/pipe")
    (far.here.root / "data/.partial-7-x").write_text("half")
    with far.jobs() as jobs:
        plan = plan_push(jobs, ["data"])
        pushed(jobs, "data")
    assert dict(plan.passed_over) == {
        "data/broken.mp4": "No such file or directory", "data/folder": "it is a link to a folder",
        "data/pipe": "it is not a regular file",
    }  # fmt: skip
    assert (far.there / "data/linked.mp4").read_text() == "clip"
    assert not (far.there / "data/.partial-7-x").exists()


@pytest.mark.parametrize(("word", "sentence"), [("../x", "is not in the workspace"), ("none", "there is no none in")])
def test_what_cannot_be_pushed_is_a_sentence(far: Far, word: str, sentence: str) -> None:
    with far.jobs() as jobs, pytest.raises(InvalidRequest, match=sentence):
        plan_push(jobs, [word])
