"""What lies on the host under another name is not sent again: it is copied there, and checked as what comes is."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from pathlib import Path

from support.hosts.far_host import Far
from support.hosts.transfers import (
    KIB,
    cleared_far,
    landed,
    left_behind,
    notes,
    pushed,
    same_tree,
    server_of_module,
    write_checkpoint,
)

from remote.agent.transfer.landing import copy, land
from remote.agent.transfer.parts import Part
from remote.agent.transfer.receiving import want
from remote.transfer.plan.push_plan import plan_push

server, far = server_of_module, cleared_far
BIG = 1500 * KIB
# What is asked and answered, and the agent itself where it is not there yet.
TALK_BYTES = 500 * KIB


def write_big(path: Path, seed: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(seed).randbytes(BIG))
    return path


def sent_by(far: Far, *what: str) -> tuple[int, list[str]]:
    """Bytes that went there for a push, and what it noted."""
    before = far.proxy.sent
    with far.jobs() as jobs:
        rows = pushed(jobs, *what)
    return far.proxy.sent - before, notes(rows)


def test_a_file_that_was_renamed_here_is_copied_there(far: Far) -> None:
    old = write_big(far.here.root / "data/epoch_100.pt")
    assert sent_by(far, "data")[0] > BIG
    old.rename(old.with_name("final.pt"))
    with far.jobs() as jobs:
        plan = plan_push(jobs, ["data"])
        assert (plan.to_send, plan.to_copy, plan.copies) == (0, BIG, {"data/final.pt"})
    size, said = sent_by(far, "data")
    assert (size < TALK_BYTES, said) == (True, [])
    assert (far.there / "data/final.pt").read_bytes() == (far.here.root / "data/final.pt").read_bytes()
    assert (far.there / "data/epoch_100.pt").exists()
    with far.jobs() as jobs:
        assert plan_push(jobs, ["data"]).needed == ()
    assert left_behind(far.there) == []


def test_what_a_checkpoint_there_lists_and_what_was_summed_there_once_is_known_as_well(far: Far) -> None:
    kept = write_checkpoint(far.there, 1, size=BIG)
    (far.here.root / "starts").mkdir()
    shutil.copy(kept / "model.safetensors", far.here.root / "starts/model.safetensors")
    write_big(far.there / "outputs/film.mp4")
    shutil.copy(far.there / "outputs/film.mp4", far.here.root / "starts/film.mp4")
    with far.jobs() as jobs:
        from remote.replies.questions import SUMS

        jobs.ask(SUMS, paths=["outputs/film.mp4"])
    size, said = sent_by(far, "starts")
    assert (size < TALK_BYTES, said) == (True, [])
    assert same_tree(far.here.root / "starts", far.there / "starts")


def test_what_has_rotted_there_is_sent_after_all_with_a_word(far: Far) -> None:
    kept = write_checkpoint(far.there, 1, size=BIG)
    (far.here.root / "starts").mkdir()
    model = Path(shutil.copy(kept / "model.safetensors", far.here.root / "starts/model.safetensors"))
    (kept / "model.safetensors").write_bytes(bytes(BIG))
    size, said = sent_by(far, "starts")
    assert size > BIG
    assert said == [
        "starts/model.safetensors: the same bytes are not there under another name any more; it is sent again"
    ]
    assert (far.there / "starts/model.safetensors").read_bytes() == model.read_bytes()
    assert left_behind(far.there) == []


def test_of_two_files_that_are_the_same_one_is_sent(far: Far) -> None:
    for name in ("epoch_100.pt", "final.pt", "best/again.pt"):
        write_big(far.here.root / "data" / name)
    before = far.proxy.sent
    with far.jobs() as jobs:
        plan = plan_push(jobs, ["data"])
        assert (plan.to_send, plan.to_copy) == (BIG, 2 * BIG)
        assert sorted(landed(pushed(jobs, "data"))) == ["data/best/again.pt", "data/epoch_100.pt", "data/final.pt"]
    assert BIG < far.proxy.sent - before < BIG + TALK_BYTES
    assert same_tree(far.here.root / "data", far.there / "data")


# The agent's own


def row_of(path: str, content: bytes) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    return {"path": path, "size": len(content), "sha256": digest, "kind": "data", "mode": 0o644, "by": ""}


def test_a_file_is_checked_as_far_as_it_has_come_and_lands_when_asked_once_more(tmp_path: Path) -> None:
    content = random.Random(3).randbytes(100 * KIB)
    row = row_of("data/a.bin", content)
    writer = Part(tmp_path / "data/a.bin", str(row["sha256"]), len(content))
    writer.open()
    asked = {"workspace": str(tmp_path), "file": row, "patience_s": 0}
    for end in (30 * KIB, 70 * KIB):
        writer.write(0, content[:end])
        writer.done(0, end)
        said = land(asked)
        assert (said["is_landed"], said["checked"]) == (False, end)
    writer.write(70 * KIB, content[70 * KIB :])
    writer.done(70 * KIB, len(content))
    assert land(asked)["is_landed"]
    assert (tmp_path / "data/a.bin").read_bytes() == content
    assert land(asked)["is_landed"], "the answer may be lost, and is asked for again"
    assert not land({**asked, "file": row_of("data/b.bin", content)})["is_landed"]
    assert copy({**asked, "file": row})["is_landed"]
    writer.close()


def test_half_a_file_of_another_content_is_not_taken_for_it(tmp_path: Path) -> None:
    one, other = (random.Random(seed).randbytes(10 * KIB) for seed in (1, 2))
    theirs = Part(tmp_path / "a.bin", hashlib.sha256(other).hexdigest(), len(other))
    theirs.write(0, other)
    theirs.done(0, len(other))
    theirs.close()
    said = land({"workspace": str(tmp_path), "file": row_of("a.bin", one)})
    assert said == {"is_landed": False, "why": "it is not there", "checked": 0}
    assert theirs.path.read_bytes() == other


def test_a_manifest_that_lists_what_is_not_there_offers_no_copy(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints/final"
    folder.mkdir(parents=True)
    content = random.Random(1).randbytes(BIG)
    row = row_of("data/a.bin", content)
    entry = {"size_bytes": BIG, "sha256": row["sha256"]}
    (folder / "manifest.json").write_text(json.dumps({"files": {"gone.bin": entry, "../../up.bin": entry}}))
    (tmp_path / "up.bin").write_bytes(content)
    said = want({"workspace": str(tmp_path), "kind": "data", "files": [row], "by": {}})
    assert [one["has_twin"] for one in said["needed"]] == [False]
