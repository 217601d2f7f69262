"""Two runs at once lose nothing of each other: names are taken when files land, and folders of runs have one writer."""

from __future__ import annotations

import fcntl
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from support.engine.engine import in_workspace, job_here
from support.engine.small_checkpoint import save_small_checkpoint
from support.engine.training_set import asked
from support.hosts.door import through_the_door

from remote.hosts.known_hosts import KnownHosts
from t2v_core.checkpoints.checkpoints import list_checkpoints
from t2v_core.data.video.beside import find_settings, names_beside, settings_by_name, video_named, write_settings
from t2v_core.disk.files import read_json, write_json
from t2v_core.errors import InvalidRequest
from t2v_core.events.results import VideoMade
from t2v_core.job import Job
from t2v_core.processes.alone import CHECKPOINTS_LOCK, DATASET_LOCK, alone
from t2v_core.specs import GenerateSpec, TrainSpec
from t2v_core.training.callbacks.samples import samples_folder
from t2v_core.verbs.generate import generate
from t2v_core.verbs.target import Target
from t2v_core.verbs.train import train
from t2v_core.workspace import Workspace

QUICK = {"steps": 2, "device": "cpu", "seed": 7, "frames": 2}


@dataclass
class Meanwhile(Job):
    """A job during which something else happens, once, between two of its steps."""

    happens: Callable[[], None] = field(default=lambda: None)

    def check_stop(self) -> None:
        happens, self.happens = self.happens, lambda: None
        happens()
        super().check_stop()


def during(root: Path, happens: Callable[[], None]) -> Job:
    job = job_here(root)
    return Meanwhile(job.directory, job.workspace, job.events, happens=happens)


def test_two_generates_of_one_prompt_and_seed_are_two_videos(tmp_path: Path) -> None:
    save_small_checkpoint(tmp_path)
    others: list[VideoMade] = []

    def another() -> None:
        spec = GenerateSpec.model_validate(QUICK | {"prompt": "twin", "guidance_scale": 9.0})
        others.append(generate(spec, job_here(tmp_path)))

    mine = generate(GenerateSpec.model_validate(QUICK | {"prompt": "twin"}), during(tmp_path, another))

    assert [Path(one.video).name for one in (*others, mine)] == ["twin-7.mp4", "twin-7-2.mp4"]
    said = [json.loads(Path(one.settings).read_text()) for one in (*others, mine)]
    assert [(one["video"]["file"], one["spec"]["guidance_scale"]) for one in said] == [
        ("twin-7.mp4", 9.0), ("twin-7-2.mp4", 2.0),
    ]  # fmt: skip
    assert not [path for path in (tmp_path / "outputs").iterdir() if path.name.startswith(".")]


def test_a_gif_beside_an_mp4_leaves_the_mp4_its_json(tmp_path: Path) -> None:
    save_small_checkpoint(tmp_path)
    mp4, gif, again = (
        through_the_door(tmp_path, "generate", **QUICK, prompt=prompt, output=output).done
        for prompt, output in (("a red circle", "clip.mp4"), ("a blue square", "clip.gif"), ("green", "clip.mp4"))
    )
    assert [Path(one["settings"]).name for one in (mp4, gif, again)] == ["clip.json", "clip.gif.json", "clip.json"]
    said = {name: json.loads((tmp_path / name).read_text()) for name in ("clip.json", "clip.gif.json")}
    assert {name: one["spec"]["prompt"] for name, one in said.items()} == {
        "clip.json": "green", "clip.gif.json": "a blue square",
    }  # fmt: skip


MINE = json.dumps({"mine": "notes of a year"})
OTHERS = {"nothing": None, "the user's": MINE, "another video's": json.dumps({"video": {"file": "clip.webp"}}),
          "no JSON": "\x00{", "own": json.dumps({"video": {"file": "clip.mp4"}, "old": 1})}  # fmt: skip


@pytest.mark.parametrize(("short", "full"), list(itertools.product(OTHERS, OTHERS)))
def test_no_json_that_is_anothers_is_written_over(tmp_path: Path, short: str, full: str) -> None:
    video, there = tmp_path / "clip.mp4", {}
    for name, kind in zip(names_beside("clip.mp4"), (short, full), strict=True):
        if (text := OTHERS[kind]) is not None:
            (tmp_path / name).write_text(text)
            there[name] = (kind, text)
    said = {"verb": "generate", "video": {"file": "clip.mp4"}}
    is_refused = not {short, full} & {"nothing", "own"}

    if is_refused:
        with pytest.raises(InvalidRequest, match="not this video's"):
            Target(video).checked()
        with pytest.raises(InvalidRequest, match="not this video's"):
            write_settings(video, said)
    else:
        Target(video).checked()
        written = write_settings(video, said)
        video.touch()
        assert json.loads(written.read_text()) == said
        assert find_settings(video) in (written, tmp_path / "clip.mp4.json")
    for name, (kind, text) in there.items():
        assert kind == "own" or (tmp_path / name).read_text() == text


def test_a_new_name_is_one_that_neither_a_video_nor_a_json_has(tmp_path: Path) -> None:
    for name in ("a.mp4", "a-2.json", "a-3.mp4.json", "a-5.mp4"):
        (tmp_path / name).write_text(MINE)
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    names = [Target(tmp_path / "a.mp4", is_new=True).write(frames, fps=8)[0].name for _ in range(2)]
    assert names == ["a-4.mp4", "a-6.mp4"]
    assert (tmp_path / "a-5.mp4").read_text() == MINE


def test_add_noise_and_refine_keep_what_is_there_when_asked(tmp_path: Path) -> None:
    Target(tmp_path / "in.mp4").write(np.zeros((2, 16, 16, 3), np.uint8), fps=8)
    (tmp_path / "out.mp4").write_text("mine")
    done = through_the_door(tmp_path, "add-noise", input="in.mp4", output="out.mp4", keep_existing=True).done
    assert Path(done["video"]).name == "out-2.mp4"
    assert (tmp_path / "out.mp4").read_text() == "mine"
    assert video_named(json.loads((tmp_path / "out-2.json").read_text())) == "out-2.mp4"


def test_by_names_alone_a_json_that_may_be_anothers_is_nobodys() -> None:
    names = ["o/a.mp4", "o/a.gif", "o/a.json", "o/b.mp4", "o/b.json", "o/c.mp4", "o/c.json", "o/c.mp4.json", "d.mp4"]
    assert settings_by_name(names) == {"o/b.mp4": "o/b.json", "o/c.mp4": "o/c.mp4.json"}


def test_samples_of_runs_with_folders_of_their_own_have_folders_of_their_own(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folders = ["checkpoints", "checkpoints/a", "runs/a", "runs/../b", "/elsewhere/a"]
    placed = [samples_folder(workspace, workspace.resolve(Path(one)) / "checkpoint_epoch_1") for one in folders]
    named = [str(path.relative_to(workspace.outputs / "samples").parent) for path in placed]
    assert named == [".", "checkpoints/a", "runs/a", "b", "elsewhere/a"]


def test_a_training_is_refused_while_another_writes_into_its_folder(tmp_path: Path) -> None:
    refusals: list[InvalidRequest] = []

    def another() -> None:
        with pytest.raises(InvalidRequest) as refused:
            train(TrainSpec.model_validate(asked(epochs=1, seed=2)), job_here(tmp_path, "train"))
        refusals.append(refused.value)
        with pytest.raises(InvalidRequest, match="is writing into"):
            train(TrainSpec.model_validate(asked(epochs=1, resume=True)), job_here(tmp_path, "train"))

    job = during(tmp_path, another)
    in_workspace(train, TrainSpec.model_validate(asked(epochs=1, seed=1)), job)

    assert job.directory.name in refusals[0].message
    assert refusals[0].hint == f"wait for that job, or end it: t2v stop {job.directory.name}"
    (checkpoint,) = list_checkpoints(tmp_path / "checkpoints")
    assert checkpoint.info["spec"]["seed"] == 1
    assert not (tmp_path / "checkpoints" / CHECKPOINTS_LOCK).exists()


@contextmanager
def held(path: Path) -> Iterator[None]:
    """The lock of another run, as an earlier version left it: without a name in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize(
    ("verb", "lock", "spec"),
    [
        ("train", f"checkpoints/{CHECKPOINTS_LOCK}", {"preset": "tiny"}),
        ("train", f"checkpoints/{CHECKPOINTS_LOCK}", {"preset": "tiny", "resume": True}),
        ("import-checkpoint", f"checkpoints/{CHECKPOINTS_LOCK}", {"old": "old.pt", "of_epoch": 1}),
        ("shapes", f"data/shapes/{DATASET_LOCK}", {"clips": 2, "test_clips": 2}),
    ],
)
def test_whoever_writes_into_the_folder_of_another_run_is_refused(
    tmp_path: Path, verb: str, lock: str, spec: dict[str, Any]
) -> None:
    with held(tmp_path / lock):
        ended = through_the_door(tmp_path, verb, **spec)
    assert ended.sentence == f"another run is writing into {(tmp_path / lock).parent}"
    assert ended.error["hint"] == "wait for it, or end it"


def test_a_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    program = (
        "import sys, time; from pathlib import Path; from support.engine.engine import job_here\n"
        "from t2v_core.processes.alone import alone\n"
        "with alone(Path(sys.argv[1]), '.train.lock', job_here(Path(sys.argv[1]).parent)):\n"
        "    print('held', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"held\n"
        with (
            pytest.raises(InvalidRequest, match="is writing into"),
            alone(folder, CHECKPOINTS_LOCK, job_here(tmp_path)),
        ):
            raise AssertionError("two hold one lock")
        child.kill()
        child.wait()
    with alone(folder, CHECKPOINTS_LOCK, job_here(tmp_path)):
        assert (folder / CHECKPOINTS_LOCK).exists()


def test_a_refused_run_leaves_no_empty_folder(tmp_path: Path) -> None:
    ended = through_the_door(tmp_path, "train", preset="tiny", data="nowhere")
    assert ended.code == 2
    assert not (tmp_path / "checkpoints").exists()


def at_once(works: int, do: Callable[[int], object]) -> None:
    """In as many threads, as near to the same moment as can be. Raises what one of them raised."""
    begin = Barrier(works)

    def one(number: int) -> None:
        begin.wait(60)
        do(number)

    with ThreadPoolExecutor(works) as pool:
        list(pool.map(one, range(works)))


def test_threads_that_write_one_file_at_once_leave_it_whole_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for _ in range(10):
        at_once(8, lambda number: write_json(path, {"of": [number] * 1000}))
        [one] = set(read_json(path)["of"])
        assert one in range(8)
    assert list(tmp_path.iterdir()) == [path]


def test_hosts_that_are_pinned_at_once_are_all_known(tmp_path: Path) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    known = KnownHosts(tmp_path / "config/known_hosts")
    at_once(8, lambda number: KnownHosts(known.path).pin(f"host-{number}", [key]))
    assert [known.pinned(f"host-{number}") for number in range(8)] == [[key]] * 8
    assert list(known.path.parent.iterdir()) == [known.path]
