"""A pull: complete and verified, or not there; and nothing is sent twice."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from support.hosts.far_host import Far
from support.hosts.transfers import (
    GREETING_BYTES,
    KIB,
    SMALL,
    STREAMS,
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

from remote.errors import Refused
from remote.transfer.plan.pull_plan import ItemStatus, plan_pull
from remote.transfer.progress import Phase, Rate
from remote.transfer.pull import Pulling
from remote.transfer.streams import LOOK_S, Growth, first_streams
from remote.transfer.turn import Turn
from t2v_core.disk.files import incompleteness
from t2v_core.errors import InvalidRequest

server, far = server_of_module, cleared_far


def test_complete_checkpoints_and_videos_come_home_byte_for_byte_and_half_ones_do_not(far: Far) -> None:
    for step in (1, 2):
        write_checkpoint(far.there, step)
    half = write_checkpoint(far.there, 3)
    (half / "manifest.json").unlink()
    torn = write_checkpoint(far.there, 4)
    (torn / "model.safetensors").write_bytes(b"short")
    write_videos(far.there, 40)
    (far.there / "outputs/.partial-12-v.mp4").write_bytes(b"half")
    with far.jobs() as jobs:
        plan = plan_pull(jobs, ["checkpoints", "videos"])
        rows = pulled(jobs, "checkpoints", "videos")
    assert [path for path, _ in plan.passed_over] == [
        "checkpoints/checkpoint_step_3",
        "checkpoints/checkpoint_step_4",
    ]
    assert "no manifest.json" in plan.passed_over[0][1]
    assert "has 5 bytes instead of" in plan.passed_over[1][1]
    assert len(landed(rows)) == 42
    for step in (1, 2):
        name = f"checkpoints/checkpoint_step_{step}"
        assert same_tree(far.there / name, far.here.root / name)
        assert incompleteness(far.here.root / name, checksums=True) is None
    (far.there / "outputs/.partial-12-v.mp4").unlink()
    assert same_tree(far.there / "outputs", far.here.root / "outputs")
    assert left_behind(far.here.root) == []
    assert rows[-1].phase is Phase.ENDED
    assert rows[-1].done_bytes == rows[-1].total_bytes == plan.to_send


def test_a_second_pull_sends_nothing_and_takes_one_round_trip(far: Far) -> None:
    for step in range(20):
        write_checkpoint(far.there, step, size=KIB)
    write_videos(far.there, 20)
    with far.jobs() as jobs:
        pulled(jobs, "checkpoints", "videos")
        before = far.proxy.passed
        plan = plan_pull(jobs, ["checkpoints", "videos"])
        assert plan.to_send == 0
        assert {item.standing for item in plan.items} == {ItemStatus.HERE}
        assert pulled(jobs, "checkpoints", "videos")[-1].done_bytes == 0
        assert far.proxy.passed - before < 1000  # two answers of a line, in SSH's packets


def test_bytes_that_are_here_under_another_name_are_not_sent_again(far: Far) -> None:
    """A checkpoint renamed, and one that is there twice; a copy here that has rotted is no help."""
    big, twice = 1100 * KIB, far.there / "checkpoints/best/checkpoint_step_2"
    shutil.copytree(write_checkpoint(far.there, 2, size=big), twice)
    with far.jobs() as jobs:
        before = far.proxy.passed
        rows = pulled(jobs, "checkpoints")
        assert len(landed(rows)) == 2
        assert big < rows[-1].done_bytes == rows[-1].total_bytes < 1.5 * big
        assert far.proxy.passed - before < 2 * big
        shutil.move(twice, far.there / "checkpoints/final")
        plan = plan_pull(jobs, ["checkpoints/final"])
        assert (plan.copied, plan.to_send < big / 2) == (big, True)
        for name in ("checkpoint_step_2", "best/checkpoint_step_2"):
            rotten = far.here.root / f"checkpoints/{name}/model.safetensors"
            rotten.write_bytes(bytes(rotten.stat().st_size))
        assert landed(pulled(jobs, "checkpoints/final")) == ["checkpoints/final"]
    assert same_tree(far.there / "checkpoints/final", far.here.root / "checkpoints/final")
    assert left_behind(far.here.root) == []


def test_only_the_newest_checkpoint_by_its_step_whatever_the_clocks_say(far: Far) -> None:
    for step, mtime in ((900, 4e9), (1000, 1e9), (99, 2e9)):
        path = write_checkpoint(far.there, step, size=KIB)
        for file in path.iterdir():
            os.utime(file, (mtime, mtime))
        os.utime(path, (mtime, mtime))
    with far.jobs() as jobs:
        assert landed(pulled(jobs, "checkpoints", is_latest=True)) == ["checkpoints/checkpoint_step_1000"]


@pytest.mark.parametrize("mtime", [0.0, 4e9], ids=["1970", "2096"])
def test_a_clock_that_is_wrong_there_changes_nothing(far: Far, mtime: float) -> None:
    write_videos(far.there, 3)
    for file in (far.there / "outputs").iterdir():
        os.utime(file, (mtime, mtime))
    with far.jobs() as jobs:
        assert len(landed(pulled(jobs, "videos"))) == 3
        assert (far.here.root / "outputs/v0.mp4").stat().st_mtime == mtime
        assert plan_pull(jobs, ["videos"]).to_send == 0


def test_what_changed_there_comes_again_and_replaces_only_what_came_from_there(far: Far) -> None:
    write_videos(far.there, 3)
    with far.jobs() as jobs:
        pulled(jobs, "videos")
        (far.there / "outputs/v1.mp4").write_bytes(b"made anew")
        (far.here.root / "outputs/v2.mp4").write_bytes(b"edited here")
        (far.there / "outputs/v2.mp4").write_bytes(b"made anew, too")
        assert landed(pulled(jobs, "videos")) == ["outputs/v1.mp4"]
        assert (far.here.root / "outputs/v1.mp4").read_bytes() == b"made anew"
        assert (far.here.root / "outputs/v2.mp4").read_bytes() == b"edited here"
        standing = {item.path.name: item.standing for item in plan_pull(jobs, ["videos"]).items}
        assert standing["v2.mp4"] is ItemStatus.OTHER
        assert landed(pulled(jobs, "videos", is_replacing=True)) == ["outputs/v2.mp4"]
        assert (far.here.root / "outputs/v2.mp4").read_bytes() == b"made anew, too"


def test_a_checkpoint_of_our_own_by_the_same_name_is_left_alone(far: Far) -> None:
    write_checkpoint(far.there, 5, seed=1)
    ours = write_checkpoint(far.here.root, 5, seed=2)
    before = (ours / "model.safetensors").read_bytes()
    with far.jobs() as jobs:
        plan = plan_pull(jobs, ["checkpoints"])
        assert [item.standing for item in plan.items] == [ItemStatus.OTHER]
        assert landed(pulled(jobs, "checkpoints")) == []
        assert (ours / "model.safetensors").read_bytes() == before
        pulled(jobs, "checkpoints", is_replacing=True)
    assert same_tree(far.there / "checkpoints", far.here.root / "checkpoints")


def test_a_file_that_is_here_by_other_means_is_known_by_its_sum_and_not_sent(far: Far) -> None:
    write_videos(far.there, 4)
    write_videos(far.here.root, 4)
    with far.jobs() as jobs:
        plan = plan_pull(jobs, ["videos"])
        assert [item.standing for item in plan.items] == [ItemStatus.HERE] * 4


def test_what_is_not_there_is_a_sentence(far: Far) -> None:
    with far.jobs() as jobs:
        with pytest.raises(Refused, match="there is no checkpoints in vm:"):
            plan_pull(jobs, ["checkpoints"])
        for word in ("../up", "/etc/passwd", "~/x"):
            with pytest.raises(InvalidRequest, match="is not a path in the workspace there"):
                plan_pull(jobs, [word])


def test_a_folder_that_is_a_link_to_a_larger_disk_is_read_and_links_in_it_are_not(far: Far, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    write_videos(tmp_path / "disk", 2)
    (far.there / "outputs").symlink_to(tmp_path / "disk/outputs")
    (tmp_path / "secret").write_text("secret")
    (far.there / "outputs/away.mp4").symlink_to(tmp_path / "secret")
    os.mkfifo(far.there / "outputs/pipe.mp4")
    with far.jobs() as jobs:
        plan = plan_pull(jobs, ["videos"])
        assert plan.passed_over == (
            ("outputs/away.mp4", "it is a link"),
            ("outputs/pipe.mp4", "it is a fifo"),
        )
        assert sorted(landed(pulled(jobs, "videos"))) == ["outputs/v0.mp4", "outputs/v1.mp4"]


def test_transfers_of_one_workspace_queue_and_say_for_whom(far: Far) -> None:
    write_videos(far.there, 2)
    turn = Turn(far.here, "t2v pull from elsewhere")
    assert turn.take() == ""
    said = []
    with far.jobs() as jobs:
        for row in Pulling(jobs, plan_pull(jobs, ["videos"]), sizes=SMALL):
            said.append(row)
            if row.phase is Phase.WAITING:
                assert not (far.here.root / "outputs").exists()
                turn.give()
    waiting = [row.note for row in said if row.phase is Phase.WAITING]
    assert waiting[0].startswith(f"waits for t2v pull from elsewhere (process {os.getpid()}, since ")
    assert len(landed(said)) == 2


def test_streams_are_added_as_long_as_each_makes_the_whole_quicker() -> None:
    growth, now, done = Growth(most=10), 0.0, 0
    growth._looked_t = 0.0
    asked = []
    for streams, rate in ((4, 900), (4, 30), (6, 900), (6, 45), (9, 900), (9, 46), (9, 90)):  # buffers are filled first
        now, done = now + LOOK_S, done + int(rate * LOOK_S)
        asked.append(growth.wants(streams, done, now))
    assert asked == [0, 2, 0, 3, 0, 0, 0]
    assert [first_streams(size) for size in (0, 10**7, 5 * 10**7, 10**10)] == [1, 2, 8, 8]


def test_the_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate(window_s=4)
    assert rate.per_s() is None
    for second in range(10):
        rate.report(100 * min(second, 5), now=second)
    assert rate.per_s() == 0 or rate.per_s() is None
    rate.report(900, now=10)
    assert rate.per_s() == pytest.approx(100)


def test_an_idle_guard_sees_that_bytes_move(far: Far) -> None:
    write_checkpoint(far.there, 1)
    far.proxy.rules.delay_s = 0.02
    busy = far.sshd.home / ".cache/t2v/busy"
    seen: list[str] = []
    with far.jobs() as jobs:
        pulled(jobs, "checkpoints", look=lambda _: seen.extend(path.name for path in busy.glob("*")))
    assert all(name.isdigit() for name in seen)
    assert seen


def test_a_cut_link_is_looked_for_again_and_little_is_sent_twice(far: Far) -> None:
    write_checkpoint(far.there, 1, size=2000 * KIB)
    draw, cuts = random.Random(7), 6
    far.proxy.rules.delay_s = 0.01
    size = sum(file.stat().st_size for file in (far.there / "checkpoints").rglob("*") if file.is_file())
    with far.jobs() as jobs:
        plan = plan_pull(jobs, ["checkpoints"])
        before, done, at = far.proxy.passed, 0, draw.randrange(200 * KIB)
        rows = []
        for row in Pulling(jobs, plan, sizes=SMALL, most_streams=STREAMS):
            rows.append(row)
            if done < cuts and row.done_bytes > at:
                far.proxy.cut()
                done, at = done + 1, row.done_bytes + draw.randrange(300 * KIB)
    assert same_tree(far.there / "checkpoints", far.here.root / "checkpoints")
    assert done > 1
    # At most one range each time; a handshake and the agent's greeting are some kilobytes for each connection.
    again = far.proxy.passed - before - size
    assert again < done * SMALL.range_bytes + (done + 1) * (1 + STREAMS) * GREETING_BYTES, notes(rows)
