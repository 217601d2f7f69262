"""Whatever happens on the way: a file is complete and verified, or it is not there."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hosts.agent_here import wait_until
from support.hosts.far_host import Far
from support.hosts.transfers import (
    GREETING_BYTES,
    KIB,
    SMALL,
    STREAMS,
    cleared_far,
    kill_sessions,
    landed,
    left_behind,
    notes,
    pulled,
    same_tree,
    server_of_module,
    write_checkpoint,
    write_videos,
)
from support.machines.small_disk import mounted

from remote.agent.transfer.parts import PART, Part, merged
from remote.errors import Corrupt, DiskFull, SourceChanged
from remote.transfer.plan.pull_plan import plan_pull
from remote.transfer.progress import TransferProgress
from remote.transfer.pull import Pulling
from t2v_core.workspace import Workspace

server, far = server_of_module, cleared_far


# A process that pulls, to be killed.
PULLS = """
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from support.hosts.far_host import NOWHERE
from support.hosts.transfers import SMALL, STREAMS
from remote.jobs.client import HostJobs
from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings
from remote.hosts.ssh import SSHHost
from remote.transfer.plan.pull_plan import plan_pull
from remote.transfer.pull import Pulling
from t2v_core.workspace import Workspace
settings = HostSettings.model_validate_json(sys.argv[3])
host = SSHHost("vm", settings, known_hosts=KnownHosts(Path(sys.argv[4])), config=NOWHERE)
with HostJobs(host, Workspace(Path(sys.argv[5]))) as jobs:
    print("ready", flush=True)
    for _ in Pulling(jobs, plan_pull(jobs, ["checkpoints", "videos"]), sizes=SMALL, most_streams=STREAMS):
        pass
"""


def whole_or_absent(far: Far) -> bool:
    """Nothing here differs from what is there, under its name."""
    for path in far.here.root.rglob("*"):
        inside = path.relative_to(far.here.root)
        is_unfinished = any(part.endswith((".part", ".journal")) for part in inside.parts)
        is_result = path.is_file() and not is_unfinished and inside.parts[0] != ".t2v"
        if is_result and path.read_bytes() != (far.there / inside).read_bytes():
            return False
    return True


def all_is_here(far: Far) -> bool:
    return all(same_tree(far.there / name, far.here.root / name) for name in ("checkpoints", "outputs"))


def size_of(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


@pytest.mark.slow
def test_left_or_cut_at_fifty_random_bytes_everything_arrives_and_nothing_else_is_ever_seen(far: Far) -> None:
    """Each time one of: this side leaves, the link is reset, the host's SSH sessions are killed."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw, faults = random.Random(seed), 0
    write_checkpoint(far.there, 1, size=9000 * KIB, seed=seed)  # on a busy machine much comes between two faults
    write_videos(far.there, 60, seed=seed)
    total, before = size_of(far.there), far.proxy.passed
    connections = 0
    while faults < 50:
        with far.jobs() as jobs:
            plan = plan_pull(jobs, ["checkpoints", "videos"])
            assert plan.needed, f"all was here after {faults} faults"
            pulling, at = Pulling(jobs, plan, sizes=SMALL, most_streams=STREAMS), draw.randrange(80 * KIB)
            connections += 1 + STREAMS
            for row in paced(pulling):
                if row.done_bytes >= at and faults < 50:
                    kind = draw.choice(["leave", "cut", "kill"])
                    faults, at = faults + 1, row.done_bytes + draw.randrange(80 * KIB)
                    if kind == "leave":
                        pulling.close()
                        break
                    connections += 1 + STREAMS
                    far.proxy.cut() if kind == "cut" else kill_sessions(far)
            assert whole_or_absent(far)
    with far.jobs() as jobs:
        pulled(jobs, "checkpoints", "videos")
    assert all_is_here(far)
    assert left_behind(far.here.root) == []
    again = far.proxy.passed - before - total
    assert again < faults * SMALL.range_bytes + connections * GREETING_BYTES


def paced(pulling: Pulling) -> Iterator[TransferProgress]:
    """As often as it can be asked, so that a fault comes at any byte."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("remote.transfer.pull.ROW_S", 0.0)
        patch.setattr("remote.transfer.pull.TICK_S", 0.001)
        yield from pulling


def test_a_process_killed_at_any_byte_leaves_what_the_next_one_goes_on_with(far: Far) -> None:
    write_checkpoint(far.there, 1, size=4000 * KIB)
    write_videos(far.there, 20)
    draw, total, before, kills = random.Random(3), size_of(far.there), far.proxy.passed, 4
    far.proxy.rules.delay_s = 0.01
    settings = far.host().settings.model_dump_json()
    argv = [
        sys.executable, "-c", PULLS, str(Path(__file__).parents[2]), str(Path(__file__).parents[3]), settings,
        str(far.known_hosts.path), str(far.here.root),
    ]  # fmt: skip
    for _ in range(kills):
        at = far.proxy.passed + draw.randrange(100 * KIB, 900 * KIB)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            wait_until(lambda at=at, child=child: far.proxy.passed >= at or child.poll() is not None)
            child.kill()
        assert whole_or_absent(far)
    far.proxy.rules.delay_s = 0.0
    with far.jobs() as jobs:
        pulled(jobs, "checkpoints", "videos")
    assert all_is_here(far)
    assert left_behind(far.here.root) == []
    again = far.proxy.passed - before - total
    # What lay in a killed process's sockets is lost with it; of a stream of these sizes that may be a range.
    assert again < (kills * SMALL.range_bytes + (kills + 1) * GREETING_BYTES) * (1 + STREAMS)


def test_what_a_killed_process_had_written_of_a_range_is_not_sent_again(far: Far) -> None:
    far.write_settings()
    write_checkpoint(far.there, 1, size=40_000 * KIB)
    far.proxy.rules.stall_after = far.proxy.passed + 24_000 * KIB
    part = far.here.root / "checkpoints/checkpoint_step_1.part/model.safetensors.part"
    with far.t2v("pull", "checkpoints") as child:
        wait_until(lambda: part.exists() and part.stat().st_blocks * 512 > 12_000 * KIB)
        child.kill()
    lines = part.with_name(f"{part.name}.journal").read_text().splitlines()[1:]
    arrived = sum(end - begin for begin, end in merged([(row[0], row[1]) for row in map(json.loads, lines)]))
    # The file has two ranges, and what came of each is noted every MiB.
    assert part.stat().st_blocks * 512 - arrived < 3 * 1024 * KIB
    far.proxy.rules.stall_after = None
    assert far.ran("pull", "checkpoints").returncode == 0
    assert same_tree(far.there / "checkpoints", far.here.root / "checkpoints")


def test_a_flipped_byte_on_the_wire_never_gets_into_a_file(far: Far) -> None:
    write_checkpoint(far.there, 1)
    draw = random.Random(5)
    with far.jobs() as jobs:
        plan = plan_pull(jobs, ["checkpoints"])
        for row in Pulling(jobs, plan, sizes=SMALL, most_streams=STREAMS):
            if far.proxy.rules.corrupt_at is None and row.done_bytes < row.total_bytes // 2:
                far.proxy.rules.corrupt_at = far.proxy.passed + draw.randrange(10 * KIB, 200 * KIB)
    assert same_tree(far.there / "checkpoints", far.here.root / "checkpoints")


def test_a_byte_flipped_on_the_disk_here_is_noticed_and_the_file_is_fetched_again(far: Far) -> None:
    write_checkpoint(far.there, 1)
    part = far.here.root / "checkpoints/checkpoint_step_1.part" / f"model.safetensors{PART}"
    left_at(far, 200 * KIB)
    with part.open("r+b") as file:
        file.seek(read_place(part))
        file.write(bytes([file.read(1)[0] ^ 1]))
    with far.jobs() as jobs:
        rows = pulled(jobs, "checkpoints")
    assert notes(rows) == ["checkpoints/checkpoint_step_1: it does not match its sha256; starting it over"]
    assert same_tree(far.there / "checkpoints", far.here.root / "checkpoints")


def left_at(far: Far, size: int) -> None:
    """A pull that somebody leaves after so many bytes."""
    far.proxy.rules.delay_s = 0.01
    with far.jobs() as jobs:
        pulling = Pulling(jobs, plan_pull(jobs, ["checkpoints"]), sizes=SMALL, most_streams=STREAMS)
        for row in paced(pulling):
            if row.done_bytes >= size:
                break
        pulling.close()
    far.proxy.rules.delay_s = 0.0


def read_place(part: Path) -> int:
    """A byte of a part that is said to be there."""
    return int(next(line for line in part.with_suffix(".part.journal").read_text().splitlines()[1:])[1:].split(",")[0])


def test_a_file_that_is_damaged_there_is_refused_in_the_end_and_the_rest_comes(far: Far) -> None:
    damaged = write_checkpoint(far.there, 1)
    write_checkpoint(far.there, 2)
    content = bytearray((damaged / "model.safetensors").read_bytes())
    content[100_000] ^= 1
    (damaged / "model.safetensors").write_bytes(content)
    with far.jobs() as jobs, pytest.raises(Corrupt, match="does not match its sha256, each of 3 times"):
        pulled(jobs, "checkpoints")
    assert [path.name for path in (far.here.root / "checkpoints").iterdir() if path.suffix != PART] == [
        "checkpoint_step_2"
    ]


def test_a_file_that_is_written_to_while_it_is_read_is_begun_again_with_a_word(far: Far) -> None:
    (far.there / "outputs").mkdir()
    film, draw = far.there / "outputs/film.mp4", random.Random(1)
    film.write_bytes(draw.randbytes(1500 * KIB))
    far.proxy.rules.delay_s = 0.02
    is_changed = False

    def change(row: TransferProgress) -> None:
        nonlocal is_changed
        if row.done_bytes > 100 * KIB and not is_changed:
            is_changed = True
            film.write_bytes(draw.randbytes(1500 * KIB))

    with far.jobs() as jobs:
        rows = pulled(jobs, "videos", look=change, streams=1)
    assert is_changed
    assert len(notes(rows)) == 1
    assert notes(rows)[0].startswith("outputs/film.mp4: it is another file now; starting it over")
    assert (far.here.root / "outputs/film.mp4").read_bytes() == film.read_bytes()


def test_a_file_that_is_written_to_all_the_time_is_given_up_and_not_here(far: Far) -> None:
    (far.there / "outputs").mkdir()
    film, over = far.there / "outputs/film.mp4", threading.Event()
    film.write_bytes(bytes(400 * KIB))
    write_videos(far.there, 3)
    far.proxy.rules.delay_s = 0.02

    def scribble() -> None:
        number = 0
        while not over.wait(0.005):
            number += 1
            with film.open("r+b") as file:
                file.seek(number % 400 * KIB)
                file.write(b"x")

    writer = threading.Thread(target=scribble)
    writer.start()
    try:
        with far.jobs() as jobs, pytest.raises(SourceChanged, match="each of 3 times"):
            pulled(jobs, "videos", streams=1)
    finally:
        over.set()
        writer.join()
    assert sorted(path.name for path in (far.here.root / "outputs").iterdir() if PART not in path.name) == [
        "v0.mp4",
        "v1.mp4",
        "v2.mp4",
    ]


def test_a_checkpoint_that_is_removed_there_meanwhile_is_a_word_and_leaves_nothing_here(far: Far) -> None:
    gone = write_checkpoint(far.there, 1, size=1500 * KIB)
    write_checkpoint(far.there, 2, size=10 * KIB)
    far.proxy.rules.delay_s = 0.02

    def remove(row: TransferProgress) -> None:
        if row.done_bytes > 100 * KIB and gone.exists():
            for file in gone.iterdir():
                file.unlink()
            gone.rmdir()

    with far.jobs() as jobs:
        rows = pulled(jobs, "checkpoints", look=remove, streams=1)
    assert notes(rows)[-1] == "checkpoints/checkpoint_step_1 was removed there meanwhile"
    assert landed(rows) == ["checkpoints/checkpoint_step_2"]
    assert [path.name for path in (far.here.root / "checkpoints").iterdir()] == ["checkpoint_step_2"]


def test_what_does_not_fit_is_refused_before_a_byte_is_sent(far: Far, tmp_path: Path) -> None:
    write_checkpoint(far.there, 1, size=6000 * KIB)
    with mounted(tmp_path / "small", "4m") as disk:
        far_here = Workspace(disk)
        with far.jobs() as jobs:
            jobs.workspace = far_here
            plan = plan_pull(jobs, ["checkpoints"])
            assert not plan.fits
            before = far.proxy.passed
            with pytest.raises(DiskFull, match=r"[67]\.\d MB would be pulled to .*/small, which has [34]\.\d MB free"):
                list(Pulling(jobs, plan))
            assert far.proxy.passed - before < KIB
        assert not (disk / "checkpoints").exists()


def test_a_disk_that_fills_up_midway_keeps_what_came_and_the_next_pull_goes_on(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(far.there, 1, size=2000 * KIB)
    monkeypatch.setattr("remote.transfer.plan.pull_plan.MARGIN_BYTES", 0)
    with mounted(tmp_path / "small", "4m") as disk, far.jobs() as jobs:
        jobs.workspace = Workspace(disk)
        plan = plan_pull(jobs, ["checkpoints"])
        (disk / "filler").write_bytes(bytes(3000 * KIB))
        with pytest.raises(DiskFull, match=r"the disk is full: only part of .* arrived"):
            list(Pulling(jobs, plan, sizes=SMALL, most_streams=STREAMS))
        assert not (disk / "checkpoints/checkpoint_step_1").exists()
        (disk / "filler").unlink()
        again = plan_pull(jobs, ["checkpoints"])
        assert 0 < again.to_send < plan.to_send - 100 * KIB
        pulled(jobs, "checkpoints")
        assert same_tree(far.there / "checkpoints", disk / "checkpoints")


@pytest.mark.parametrize("is_retired", [True, False])
def test_who_comes_too_late_to_give_a_file_its_name_leaves_what_another_has_landed(
    tmp_path: Path, is_retired: bool
) -> None:
    late, quick = (Part(tmp_path / "film.mp4", "one", 3) for _ in range(2))
    late.write(0, b"abc")
    late.done(0, 3)
    if is_retired:
        late.retire()
    quick.open()
    assert quick.land()
    assert not late.land()
    assert (tmp_path / "film.mp4").read_bytes() == b"abc"
    assert left_behind(tmp_path) == []
