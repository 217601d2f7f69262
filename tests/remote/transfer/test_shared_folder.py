"""Two workspaces that share one folder of a host: each has what it pushed and began, and leaves the other's alone."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.hosts.agent_here import WAITS, Here, agent
from support.hosts.far_host import Far
from support.hosts.guarded import Guarded, guarded
from support.hosts.transfers import cleared_far, notes, pulled, pushed, server_of_module, write_checkpoint
from test_push import repository

from remote.errors import Refused
from remote.guard import install_guard
from remote.hosts.settings import HostSettings
from remote.jobs.client import HostJobs
from remote.transfer.plan.pull_plan import plan_pull
from remote.transfer.plan.push_plan import plan_push
from remote.workspace_id import FILE, identity
from t2v_core.disk.files import staged_directory
from t2v_core.workspace import Workspace
from t2v_tui.new_workspace import make_workspace

server, far = server_of_module, cleared_far
Beside = Callable[[], Far]


@pytest.fixture
def other(far: Far) -> Iterator[Far]:
    """Another workspace of this machine with the same folder there."""
    root = far.here.root.parent / "other"
    root.mkdir()
    yield Far(far.sshd, far.proxy, Workspace(root), far.there)
    shutil.rmtree(root)


@contextmanager
def both(far: Far, other: Far) -> Iterator[tuple[HostJobs, HostJobs]]:
    with far.jobs() as mine, other.jobs() as others:
        yield mine, others


def name_of(far: Far) -> str:
    return identity(far.here)["name"]


def test_a_push_never_overwrites_or_removes_what_another_workspace_pushed(far: Far, other: Far) -> None:
    repository(far.here.root)
    repository(other.here.root)
    (other.here.root / "src/train.py").write_text("print('another')\n")
    (far.here.root / "src/mine.py").write_text("mine\n")
    (other.here.root / "src/others.py").write_text("others\n")
    with both(far, other) as (mine, others):
        pushed(mine, "code")
        plan = plan_push(others, ["code"])
        assert plan.refused == (("src/train.py", f"it was pushed from {name_of(far)}"),)
        assert plan.is_shared
        assert plan.gone == ()
        assert notes(pushed(others, "code")) == []
        assert (far.there / "src/train.py").read_text() == "print('train')\n"
        assert (far.there / "src/mine.py").read_text() == "mine\n"
        assert (far.there / "src/others.py").read_text() == "others\n"

        pushed(others, "code", is_replacing=True)
        assert (far.there / "src/train.py").read_text() == "print('another')\n"
        assert plan_push(mine, ["code"]).refused == (("src/train.py", f"it was pushed from {name_of(other)}"),)


def test_what_both_pushed_alike_stays_until_both_have_let_go_of_it(far: Far, other: Far) -> None:
    for one in (far, other):
        repository(one.here.root)
    with both(far, other) as (mine, others):
        pushed(mine, "code")
        pushed(others, "code")
        (far.here.root / "src/train.py").unlink()
        assert notes(pushed(mine, "code")) == []
        assert (far.there / "src/train.py").exists()
        (other.here.root / "src/train.py").unlink()
        assert notes(pushed(others, "code")) == ["src/train.py was pushed earlier and deleted here: removed there"]
        assert not (far.there / "src/train.py").exists()


def test_the_command_says_whose_it_is_and_the_ways_out(far: Far, other: Far) -> None:
    for one in (far, other):
        repository(one.here.root)
        one.write_settings()
    (other.here.root / "run.sh").write_text("#!/bin/sh\ntrue\n")
    assert far.ran("push", "code", "--host", "vm").returncode == 0
    ran = other.ran("push", "code", "--host", "vm")
    assert ran.returncode == 1
    assert f"run.sh on vm is left alone: it was pushed from {name_of(far)}; see --replace" in ran.stderr
    assert "a workdir of its own in [host.vm] keeps the two apart" in ran.stderr


def test_a_folder_from_before_there_were_ids_goes_on_without_a_question(far: Far, other: Far) -> None:
    repository(far.here.root)
    with both(far, other) as (mine, others):
        pushed(mine, "code")
        forget_ids(far.there)
        (far.here.root / "src/train.py").write_text("newer\n")
        pushed(mine, "code")
        assert (far.there / "src/train.py").read_text() == "newer\n"
        (far.here.root / "run.sh").unlink()
        assert notes(pushed(mine, "code")) == ["run.sh was pushed earlier and deleted here: removed there"]
        repository(other.here.root)
        (other.here.root / ".gitignore").write_text("another\n")
        refused = dict(plan_push(others, ["code"]).refused)
        assert refused[".gitignore"] == f"it was pushed from {name_of(far)}"


def forget_ids(there: Path) -> None:
    """As an earlier version left it."""
    file = there / ".t2v/pushed.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({k: v for k, v in line.items() if k != "by"}) + "\n" for line in lines))
    shutil.rmtree(there / ".t2v/workspaces")
    (there / ".t2v/first-workspace").unlink()


@pytest.mark.parametrize("seed", range(3))
def test_whatever_two_workspaces_do_in_turn_each_keeps_what_it_pushed(far: Far, other: Far, seed: int) -> None:
    draw = random.Random(seed)
    names = ["a.py", "b/c.py", "d.py"]
    (far.there / "own.txt").write_text("the user's")
    pushed_by: dict[str, dict[str, str]] = {"mine": {}, "others": {}}
    roots = {"mine": far.here.root, "others": other.here.root}
    for root in roots.values():
        repository(root)
        (root / "b").mkdir()
    with both(far, other) as (mine, others):
        for _ in range(12):
            who = draw.choice(list(roots))
            rival = next(one for one in roots if one != who)
            for name in draw.sample(names, 2):
                path = roots[who] / name
                if draw.random() < 0.3:
                    path.unlink(missing_ok=True)
                else:
                    path.write_text(draw.choice(["one", "two", f"{who}'s"]))
            is_replacing = draw.random() < 0.2
            jobs = mine if who == "mine" else others
            refused = {path for path, _ in plan_push(jobs, ["code"], is_replacing=is_replacing).refused}
            pushed(jobs, "code", is_replacing=is_replacing)
            now = {name: (roots[who] / name).read_text() for name in names if (roots[who] / name).exists()}
            kept = {name: text for name, text in pushed_by[who].items() if name in refused}
            pushed_by[who] = {name: text for name, text in now.items() if name not in refused} | kept
            if is_replacing:  # it was the word of who typed it
                pushed_by[rival] = {
                    name: text for name, text in pushed_by[rival].items() if now.get(name, text) == text
                }
            there = {name: (far.there / name).read_text() for name in names if (far.there / name).exists()}
            for owner, files in pushed_by.items():
                assert {name: there.get(name) for name in files} == files, (seed, owner)
    assert (far.there / "own.txt").read_text() == "the user's"


# Jobs


def test_a_job_of_another_workspace_is_ended_only_on_purpose(far: Far, other: Far) -> None:
    with both(far, other) as (mine, others):
        job = far.begin(mine, WAITS, "0")
        assert [row.of for row in mine.rows()] == [""]
        assert [row.of for row in others.rows()] == [name_of(far)]
        for ask in (lambda: others.stop(job), lambda: others.request(job, "stop")):
            with pytest.raises(Refused) as refused:
                ask()
            assert refused.value.message == f"job {job} was begun from {name_of(far)}"
            assert refused.value.hint == f"end it there; from here: t2v stop {job} --anyones"
        assert mine.row(job).state == "running"
        assert others.stop(job, grace_s=0, is_anyones=True).state == "stopped"


def test_without_an_id_of_a_job_this_workspace_s_own_is_meant(far: Far, other: Far) -> None:
    for one in (far, other):
        one.write_settings()
    with both(far, other) as (mine, others):
        job = far.begin(mine, WAITS, "0")
        own = other.begin(others, WAITS, "0")
        ran = far.ran("stop", "--host", "vm", "--grace-s", "0")
        assert ran.returncode == 0, ran.stderr
        assert (mine.row(job).state, others.row(own).state) == ("stopped", "running")
        table = far.ran("jobs", "--host", "vm").stdout
        assert f"of {name_of(other)}" in table
        others.stop(own, grace_s=0)


def test_whoever_works_in_the_folder_itself_may_end_any_job(tmp_path: Path) -> None:
    with agent() as one:
        here = Here(tmp_path, one)
        job = here.start(WAITS, "0", by={"id": "a" * 16, "name": "/home/ann on desk"})
        assert here.row(job)["of"] == ""
        assert here.call("stop", job=job, grace_s=0)["state"] == "stopped"


# What was made there


def test_a_pull_brings_what_this_workspace_made_and_names_the_rest(far: Far, other: Far) -> None:
    with both(far, other) as (mine, others):
        own, rival = far.begin(mine, WAITS, "0"), other.begin(others, WAITS, "0")
        write_checkpoint(far.there, 5)
        for number, job in enumerate((own, rival, "20260101-000000-generate-0000", None)):
            made(far.there, f"outputs/v{number}.mp4", job)
        stamp(far.there / "checkpoints/checkpoint_step_5", rival)
        plan = plan_pull(mine, ["videos", "checkpoints"])
        why = f"it was made from {name_of(other)}; t2v pull --anyones takes it"
        of_the_other = ("checkpoints/checkpoint_step_5", "outputs/v1.mp4", "outputs/v1.json")
        assert dict(plan.passed_over) == dict.fromkeys(of_the_other, why)
        pulled(mine, "videos", "checkpoints")
        assert {path.name for path in (far.here.root / "outputs").glob("*.mp4")} == {"v0.mp4", "v2.mp4", "v3.mp4"}
        assert not (far.here.root / "checkpoints").exists()
        assert plan_pull(others, ["videos"]).passed_over[0][0] in ("outputs/v0.mp4", "outputs/v0.json")
        assert plan_pull(mine, ["videos"], is_anyones=True).passed_over == ()
        far.go()


def made(there: Path, path: str, job: str | None) -> None:
    video = there / path
    video.parent.mkdir(exist_ok=True)
    video.write_bytes(path.encode())
    video.with_suffix(".json").write_text(json.dumps({"video": {"file": video.name}} | ({"job": job} if job else {})))


def stamp(checkpoint: Path, job: str) -> None:
    """As training writes it."""
    shutil.rmtree(checkpoint)
    with staged_directory(checkpoint) as partial:
        (partial / "model.safetensors").write_bytes(b"weights")
        (partial / "trainer.json").write_text(json.dumps({"step": 5, "job": job}))


# The guard of a machine


def test_a_guard_keeps_the_rules_of_the_workspace_that_agreed_on_them_first(tmp_path: Path) -> None:
    ann, ben = ({"id": letter * 16, "name": f"/home/{letter} on desk"} for letter in "ab")
    with guarded(tmp_path / "vm") as vm:  # agreed on before there were ids
        mine = vm.settings
        assert install_guard(vm, mine, ann).kept_of == ""
        assert install_guard(vm, mine, ben).kept_of == ""  # the same rules
        wanted = HostSettings(provider="gcloud", idle_stop_min=7, max_run_h=1.0)

        assert install_guard(vm, wanted, ben).kept_of == ann["name"]
        assert rules_in(vm)["idle_stop_min"] == mine.idle_stop_min
        assert install_guard(vm, wanted, ann).kept_of == ""
        assert rules_in(vm)["idle_stop_min"] == 7
        assert install_guard(vm, mine, ben, is_replacing=True).kept_of == ""
        assert rules_in(vm)["idle_stop_min"] == mine.idle_stop_min
        assert install_guard(vm, wanted, ann).kept_of == ben["name"]


def rules_in(vm: Guarded) -> dict[str, Any]:
    return dict(json.loads(vm.file("rules.json").read_text()))


# The id


def test_an_id_is_made_once_and_moves_with_its_folder_and_a_copy_gets_its_own(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "one")
    make_workspace(workspace, shapes=True)
    made = json.loads((workspace.root / FILE).read_text())["id"]
    make_workspace(workspace, shapes=True)
    assert identity(workspace)["id"] == made

    shutil.copytree(workspace.root, tmp_path / "copy")
    assert identity(Workspace(tmp_path / "copy"))["id"] != made
    assert identity(workspace)["id"] == made

    workspace.root.rename(tmp_path / "moved")
    moved = identity(Workspace(tmp_path / "moved"))
    assert moved["id"] == made
    assert moved["name"].startswith(f"{tmp_path / 'moved'} on ")


def test_where_no_id_can_be_kept_there_is_none(tmp_path: Path) -> None:
    (tmp_path / ".t2v").write_text("a file")
    assert identity(Workspace(tmp_path)) == {}
