"""Several processes preprocess one data set: the same files as one process makes, whatever happens to them."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.engine.engine import TORCHRUN, Ended, events_of, in_workspace, job_here
from support.engine.forked_command import FORKS
from support.engine.tiny_models import save_clip, save_vae
from support.engine.warm_engine import Child

from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.errors import EngineError, InvalidRequest, Stopped, WorkFailed
from t2v_core.processes.process_group import ProcessGroup, joined
from t2v_core.processes.shared_store import OwnStore
from t2v_core.specs import PreprocessSpec, ShapesSpec
from t2v_core.verbs.preprocess import preprocess
from t2v_core.workspace import Workspace, create_job_directory

CLIPS, TEST_CLIPS = 26, 5
BAD = {3: b"", 7: b"<html>not found</html>", 27: b"no video either"}
SPEC = {
    "data": "data", "vae": "vae", "text_encoder": "clip", "frames": 4, "shard_clips": 3, "batch_frames": 8,
    "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with clips, some of them broken, and encoders; nothing preprocessed."""
    root = tmp_path_factory.mktemp("raw")
    save_vae(root / "vae")
    save_clip(root / "clip")
    make_set(ShapesSpec(data=Path("data"), clips=CLIPS, test_clips=TEST_CLIPS, frames=4, size=32), job_here(root))
    for number, content in BAD.items():
        (root / f"data/videos/video{number}.mp4").write_bytes(content)
    return root


@pytest.fixture(scope="module")
def done(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, preprocessed by one process without interruption."""
    root = Path(shutil.copytree(raw, tmp_path_factory.mktemp("done") / "workspace"))
    in_workspace(preprocess, PreprocessSpec.model_validate(SPEC), job_here(root))
    return root


@pytest.fixture
def workspace(raw: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(raw, tmp_path / "workspace"))


def made(root: Path) -> dict[str, bytes]:
    """Everything preprocessing wrote."""
    folders = (root / "data/latents", root / "data/text_embeddings")
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in [*files, root / "data/quarantine.csv"]}


def whole_shards(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (root / "data").rglob("shard-*")}


def _enter_rank(rank: int, size: int, port: int, directory: str) -> None:
    from support.engine.warm_engine import enter

    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    enter("preprocess", directory)


def begin(workspace: Path, size: int, **spec: Any) -> list[Child]:
    """The processes of one run, with the environment that `torchrun` gives them."""
    directory = create_job_directory(Workspace(workspace), "preprocess")
    (directory / "spec.json").write_text(json.dumps(SPEC | spec))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = [FORKS.Process(target=_enter_rank, args=(rank, size, port, str(directory))) for rank in range(size)]
    for child in children:
        child.start()
    return [Child(child, directory) for child in children]


def end(ranks: list[Child]) -> tuple[list[int], Ended]:
    ended = [rank.end() for rank in ranks]
    return [one.code for one in ended], ended[0]


def is_progress(event: dict[str, Any]) -> bool:
    return bool(event["kind"] == "progress" and event["unit"] == "clips")


def test_several_processes_make_what_one_makes_byte_for_byte(workspace: Path, done: Path) -> None:
    codes, ended = end(begin(workspace, 3))
    assert codes == [0, 0, 0]
    assert made(workspace) == made(done)
    assert ended.done["clips"] == CLIPS + TEST_CLIPS - len(BAD)
    assert ended.done["quarantined"] == len(ended.of("warning")) == len(BAD)


def test_one_of_them_speaks_for_all(workspace: Path) -> None:
    _, ended = end(begin(workspace, 2))
    stages = [event["name"] for event in ended.of("stage")]
    assert stages[-4:] == ["latents train", "latents test", "text train", "text test"]
    assert len(stages) == len(set(stages))
    assert len(ended.of("done")) == 1
    clips = [(event["done"], event["total"]) for event in ended.of("progress") if event["unit"] == "clips"]
    assert clips == sorted(clips, key=lambda pair: (-pair[1], pair[0]))
    assert {(CLIPS, CLIPS), (TEST_CLIPS, TEST_CLIPS)} <= set(clips)


def test_killed_at_random_moments_nothing_is_lost_and_no_whole_shard_made_again(workspace: Path, done: Path) -> None:
    """Any of them, or all; those that are left are told to end, as a launcher does."""
    seed = time.time_ns() % 10**6
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(2):
        before = whole_shards(workspace)
        ranks = begin(workspace, chance.choice([2, 3]))
        ranks[0].wait_for(lambda event: event.get("name") == "latents train")
        ranks[0].process.join(chance.uniform(0.0, 0.4))
        killed = chance.sample(ranks, chance.randint(1, len(ranks)))
        for rank in killed:
            rank.process.kill()
        for rank in ranks:
            if rank not in killed:
                rank.process.terminate()
            rank.process.join(120)
            assert rank.process.exitcode is not None
        assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    before = whole_shards(workspace)
    codes, _ = end(begin(workspace, 2))
    assert codes == [0, 0]
    assert made(workspace) == made(done)
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


def test_when_the_first_is_killed_the_others_do_not_hang(workspace: Path, done: Path) -> None:
    first, second = begin(workspace, 2)
    first.wait_for(is_progress)
    first.process.kill()
    assert second.end().code == 1
    assert "is gone" in second.log
    in_workspace(preprocess, PreprocessSpec.model_validate(SPEC), job_here(workspace))
    assert made(workspace) == made(done)


@pytest.mark.parametrize("how", ["file", "sigterm", "ctrl-c"])
def test_all_stop_when_one_is_asked_to_and_one_goes_on_later(workspace: Path, done: Path, how: str) -> None:
    ranks = begin(workspace, 2)
    ranks[0].wait_for(is_progress)
    if how == "file":
        (ranks[0].directory / "stop").touch()
    else:
        ranks[1].signal(signal.SIGTERM if how == "sigterm" else signal.SIGINT)
    codes, ended = end(ranks)
    assert codes == [130, 130] if how == "ctrl-c" else [4, 4], ranks[0].log
    assert len(ended.of("error")) == 1
    before = whole_shards(workspace)
    assert len(before) < 11
    in_workspace(preprocess, PreprocessSpec.model_validate(SPEC), job_here(workspace))
    assert made(workspace) == made(done)
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


def test_a_second_run_is_refused_whole(workspace: Path) -> None:
    with (workspace / "data/.preprocess.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        codes, ended = end(begin(workspace, 2))
    assert codes == [2, 2]
    assert "is writing into" in ended.error["message"]
    assert not (workspace / "data/latents").exists()


def test_while_several_work_one_more_is_refused(workspace: Path) -> None:
    ranks = begin(workspace, 2)
    ranks[0].wait_for(is_progress)
    with pytest.raises(InvalidRequest, match="is writing into"):
        in_workspace(preprocess, PreprocessSpec.model_validate(SPEC), job_here(workspace))
    assert end(ranks)[0] == [0, 0]


# What they say to each other


@pytest.fixture
def pair(tmp_path: Path) -> tuple[ProcessGroup, ProcessGroup]:
    store = OwnStore()
    first, second = (ProcessGroup(job_here(tmp_path), store, rank=rank, size=2) for rank in range(2))
    return first, second


def test_the_failure_of_one_is_what_the_first_reports_even_when_its_launcher_tells_it_to_stop(
    pair: tuple[ProcessGroup, ProcessGroup],
) -> None:
    first, second = pair
    second.end(WorkFailed("the disk is full", hint="free some space"))
    (first.job.directory / "stop").touch()
    with pytest.raises(WorkFailed, match="the disk is full") as caught:
        first.check_stop()
    assert caught.value.hint == "free some space"


def test_what_is_not_one_of_our_errors_ends_the_others_too(pair: tuple[ProcessGroup, ProcessGroup]) -> None:
    pair[1].end(ZeroDivisionError("division by zero"))
    with pytest.raises(EngineError, match="ZeroDivisionError: division by zero"):
        pair[0].wait_until(lambda: False)


def test_those_who_say_nothing_are_not_waited_for_for_ever(pair: tuple[ProcessGroup, ProcessGroup]) -> None:
    with pytest.raises(WorkFailed, match=r"have done nothing for 0\.2 s"):
        pair[0].wait_until(lambda: False, timeout_s=0.2)


def test_those_who_get_on_are_waited_for(pair: tuple[ProcessGroup, ProcessGroup]) -> None:
    first, second = pair
    beat = threading.Event()

    def work() -> None:
        for _ in range(10):
            second.count("clips", 1)
            beat.wait(0.1)

    worker = threading.Thread(target=work)
    worker.start()
    first.wait_until(lambda: first.count("clips") == 10, timeout_s=0.5)
    worker.join()


def test_messages_arrive_once_and_in_order(pair: tuple[ProcessGroup, ProcessGroup]) -> None:
    first, second = pair
    second.tell("clips", {"n": 1})
    first.tell("clips", {"n": 2})
    assert [message["n"] for message in first.hear("clips")] == [1, 2]
    second.tell("clips", {"n": 3})
    assert [message["n"] for message in first.hear("clips")] == [3]


def test_a_piece_is_taken_once(pair: tuple[ProcessGroup, ProcessGroup]) -> None:
    assert [pair[0].take("a"), pair[1].take("a"), pair[1].take("b"), pair[0].take("a")] == [0, 1, 0, 2]


def test_without_a_launcher_a_process_is_alone_and_may_be_stopped(tmp_path: Path) -> None:
    job = job_here(tmp_path)
    (job.directory / "stop").touch()
    with joined(job) as group:
        assert (group.is_first, group.size, group.device("auto")) == (True, 1, "auto")
        with pytest.raises(Stopped):
            group.check_stop()


@pytest.mark.slow
def test_torchrun_preprocesses_and_ends_all_when_one_is_killed(workspace: Path, done: Path) -> None:
    directory = create_job_directory(Workspace(workspace), "preprocess")
    (directory / "spec.json").write_text(json.dumps(SPEC))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([*TORCHRUN, "preprocess", str(directory)], env=environment, stderr=subprocess.PIPE)
    while not any(is_progress(event) for event in events_of(directory)):
        assert child.poll() is None
        time.sleep(0.01)
    workers = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    assert child.wait(60) == 1
    done_again = subprocess.run([*TORCHRUN, "preprocess", str(directory)], env=environment, timeout=200, check=False)
    assert done_again.returncode == 0
    assert made(workspace) == made(done)
