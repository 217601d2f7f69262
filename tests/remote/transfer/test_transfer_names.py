"""Names from the other side: none of them leads anywhere else, stands on the screen as it is, or stops the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hosts.far_host import Far, far_host
from support.hosts.transfers import cleared, landed, pulled, same_tree, write_checkpoint

from remote.errors import AgentError, UnsafeName
from remote.hosts.agent_client import error_of
from remote.jobs.spool import Spool
from remote.replies.questions import OFFER
from remote.replies.transfer import FullOffer
from remote.text import shown
from remote.transfer.plan.names import folds_case, relative_path, same_place
from remote.transfer.plan.offered import read_offer
from remote.transfer.plan.pull_plan import plan_pull
from t2v_core.workspace import Workspace

HOSTILE = {
    "checkpoints/../../../etc/cron.d/x": "leads out of the workspace",
    "/etc/passwd": "leads out of the workspace",
    "checkpoints//x": "leads out of the workspace",
    "checkpoints/./x": "leads out of the workspace",
    "checkpoints/x/..": "leads out of the workspace",
    "": "leads out of the workspace",
    "checkpoints/\x1b[2J\x1b]0;owned\x07": "control characters",
    "checkpoints/new\nline": "control characters",
    "checkpoints/gpj.\u202eelif": "control characters",
    "checkpoints/nul\0": "control characters",
    "checkpoints/\udcff": "is not UTF-8",
    "checkpoints/" + "x" * 300: "is too long",
    "checkpoints/" + "é" * 124: "is too long",
    "checkpoints/" + "/".join(["x" * 100] * 40): "is too long",
    "checkpoints/..\\..\\x": "has a backslash",
    "checkpoints/.git/hooks/post-checkout": "nothing from a host is written to .git",
    "checkpoints/.T2V/spool": "nothing from a host is written to .git or .t2v",
    "checkpoints/t2v.toml": "nothing from a host is written to",
    "checkpoints/film.mp4.part": "its name marks it as unfinished",
    "checkpoints/.partial-1-x": "its name marks it as unfinished",
    "outputs/x.mp4": "does not lie in checkpoints, which was asked for",
    "checkpoints_other/x": "does not lie in checkpoints, which was asked for",
}


@pytest.mark.parametrize(("name", "why"), HOSTILE.items(), ids=range(len(HOSTILE)))
def test_a_name_that_would_do_harm_is_refused_with_a_sentence_that_does_none(name: str, why: str) -> None:
    with pytest.raises(UnsafeName) as refused:
        relative_path(name, "checkpoints")
    assert why in refused.value.message
    assert refused.value.message.isprintable()


@pytest.mark.parametrize(
    "name", ["checkpoints/a b/é 日本.mp4", "checkpoints/-rf", "checkpoints/$(x)`;'\"*?[1]", "checkpoints"]
)
def test_a_name_that_is_only_odd_is_taken(name: str) -> None:
    assert str(relative_path(name, "checkpoints")) == name


def test_what_is_shown_moves_no_cursor_and_turns_no_text_around() -> None:
    assert shown("a\x1b[31m\r\u202e\udcff é") == "a\\x1b[31m\\r\\u202e\\udcff é"


def unit(path: str, *files: dict[str, Any], kind: str = "sealed") -> dict[str, Any]:
    return {"path": path, "kind": kind, "step": 1, "files": list(files) or [file("" if kind == "file" else "m")]}


def file(name: str, **other: Any) -> dict[str, Any]:
    return {"name": name, "size": 1, "mtime_ns": 1, "inode": 1, "sha256": None} | other


def reply(*units: dict[str, Any]) -> dict[str, Any]:
    return {"digest": "d", "is_same": False, "workspace": "/there", "units": list(units), "skipped": [], "programs": []}


def read(said: dict[str, Any]) -> FullOffer:
    offer = OFFER.read(said, "far")
    assert isinstance(offer, FullOffer)
    return offer


def offered(*units: dict[str, Any]) -> FullOffer:
    return read(reply(*units))


def test_one_hostile_name_does_not_stop_the_others() -> None:
    names = [*HOSTILE, "checkpoints/checkpoint_step_1"]
    offer = read_offer(offered(*map(unit, names)), ["checkpoints"], folds_case=False)
    assert [str(one.path) for one in offer.units] == ["checkpoints/checkpoint_step_1"]
    assert len(offer.unsafe) == len(HOSTILE)
    assert all(name.isprintable() and why.isprintable() for name, why in offer.unsafe)


@pytest.mark.parametrize("inside", ["../../escape", "/etc/x", "a/../../b", "\x1b[2J", ".git/config", "m.part"])
def test_a_manifest_that_names_files_elsewhere_is_refused_as_a_whole(inside: str) -> None:
    offer = read_offer(offered(unit("checkpoints/one", file("m"), file(inside))), ["checkpoints"], folds_case=False)
    assert offer.units == ()
    assert len(offer.unsafe) == 1


def test_names_that_are_one_file_where_case_does_not_count_are_refused_there_and_taken_elsewhere() -> None:
    both = offered(unit("outputs/Cat.mp4", kind="file"), unit("outputs/cat.MP4", kind="file"))
    folded = read_offer(both, ["outputs"], folds_case=True)
    assert [str(one.path) for one in folded.units] == ["outputs/Cat.mp4"]
    assert "here it is the same name as outputs/Cat.mp4" in folded.unsafe[0][1]
    assert len(read_offer(both, ["outputs"], folds_case=False).units) == 2
    accents = offered(unit("outputs/\u00e9", kind="file"), unit("outputs/e\u0301", kind="file"))
    assert len(read_offer(accents, ["outputs"], folds_case=True).units) == 1


def test_whether_case_counts_is_seen_on_the_disk_itself(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    assert folds_case(tmp_path / "here" / "not yet there") is (tmp_path / "HERE").exists()
    assert same_place(relative_path("A/É", ".")) == same_place(relative_path("a/e\u0301", "."))


@pytest.mark.parametrize(
    "broken",
    [
        {}, {"units": 3}, {"units": [{"path": "outputs/x"}]},
        {"units": [unit("outputs/x", file("", size=-1), kind="file")]},
        {"units": [unit("outputs/x", file("", sha256="zz"), kind="file")]},
        {"units": [unit("outputs/x", file(""), file(""), kind="file")]},
        {"units": [unit("outputs/x", file("", size="1"), kind="file")]},
    ],
    ids=range(7),
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_a_sentence(broken: dict[str, Any]) -> None:
    said = reply() | broken if broken else {}
    with pytest.raises(AgentError, match="far's reply to 'offer' is not in the expected form"):
        read_offer(read(said), ["outputs"], folds_case=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with far_host(tmp_path_factory.mktemp("far")) as far:
        yield far


def test_odd_and_hostile_names_of_a_real_host(server: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    far = cleared(server, monkeypatch)
    folder = far.there / "outputs"
    folder.mkdir()
    odd = ["a b.mp4", "-rf", "$(touch x)`;'\"*?[1].mp4", "日本é.mp4", "x" * 200]
    hostile = [b"\x1b[31mred.mp4", b"new\nline", b"back\\slash", b"\xff\xfe.mp4", b"y" * 250]
    for name in odd:
        (folder / name).write_text(name)
    for name in hostile:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("hostile")
    with far.jobs() as jobs:
        plan = plan_pull(jobs, ["videos"])
        assert len(plan.unsafe) == len(hostile)
        assert sorted(landed(pulled(jobs, "videos"))) == sorted(f"outputs/{name}" for name in odd)
    assert sorted(path.name for path in (far.here.root / "outputs").iterdir()) == sorted(odd)


def test_a_manifest_there_that_points_out_of_its_folder_brings_nothing(
    server: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = cleared(server, monkeypatch)
    good, bad = write_checkpoint(far.there, 1, size=1000), write_checkpoint(far.there, 2, size=1000)
    (far.there / "secret").write_text("secret")
    manifest = bad / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"notes.txt"', '"../../secret"').replace(": 300", ": 6"))
    with far.jobs() as jobs:
        plan = plan_pull(jobs, ["checkpoints"])
        assert "leads out of the workspace" in plan.unsafe[0][1]
        assert landed(pulled(jobs, "checkpoints")) == ["checkpoints/checkpoint_step_1"]
    assert same_tree(good, far.here.root / "checkpoints/checkpoint_step_1")


@pytest.mark.parametrize("job", ["../../../home/me/.ssh", "a/b", "", "..", "\x1b[2J", "a\0"])
def test_a_jobs_id_from_a_host_leads_nowhere_else(tmp_path: Path, job: str) -> None:
    with pytest.raises(UnsafeName, match="is not the id of a job"):
        Spool.of(Workspace(tmp_path), "vm", job)


def test_what_an_agent_says_is_wrong_is_shown_without_what_moves_the_cursor() -> None:
    error = error_of({"kind": "failed", "message": "no \x1b[2Jfile", "hint": "look\rthere"})
    assert (error.message, error.hint) == ("no \\x1b[2Jfile", "look\\rthere")
