"""The previous system's checkpoints are listed for what they are, here and on a host, and nothing in them is run."""

from __future__ import annotations

import json
import os
import pickle
import shlex
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from support.engine.results_world import NOW, add_checkpoint, state_of
from support.engine.tiny_models import save_clip, save_vae
from support.hosts.far_host import Far
from support.hosts.transfers import cleared_far, landed, pulled, server_of_module, write_checkpoint
from support.previous.old_folder import fingerprint, make_old_folder
from support.previous.old_system import old_adamw, old_model, save_old_checkpoint, train_a_little
from support.screen.in_terminal import eventually, on_screen

from remote.agent.listing.old_listing import listed
from remote.hosts.host import LocalHost
from remote.jobs.client import HostJobs
from remote.launch.preflight import inspect_host
from remote.replies.questions import REMOVE
from remote.setup.release import current_release
from remote.transfer.plan.pull_plan import plan_pull
from t2v_core.checkpoints.old_checkpoints import open_old_checkpoint
from t2v_core.data.legacy.import_text import padded_null_prompt
from t2v_core.data.legacy.old_tensors import LATENT_SHAPE, TEXT_SHAPE
from t2v_core.diagnosis.check import State
from t2v_core.diagnosis.checkpoints import examine_old_checkpoints
from t2v_core.disk.files import incompleteness
from t2v_core.models.encoders import load_prompt_encoder
from t2v_core.specs import make_spec
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.library.inventory import There
from t2v_tui.library.local import checkpoints_here
from t2v_tui.library.on_host import checkpoints_there
from t2v_tui.library.removing import question_of_checkpoints
from t2v_tui.library.trash import bring_back, deleted, put_away
from t2v_tui.library.views import CheckpointPair, side_by_side
from t2v_tui.screens.bases.library_screen import LibraryScreen
from t2v_tui.screens.checkpoints import CheckpointsScreen
from t2v_tui.workers.launch_worker import HoldsARun, require_free

server, far = server_of_module, cleared_far


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """checkpoint_epoch_5.pt, checkpoint_epoch_10.pt and final_model.pt."""
    folder = tmp_path_factory.mktemp("pts")
    model = old_model(dim=64, heads=1, pairs=1, side=4)
    optimizer = old_adamw(model)
    train_a_little(model, optimizer, 1)
    for epoch in (5, 10):
        save_old_checkpoint(folder / f"checkpoint_epoch_{epoch}.pt", model, optimizer, epoch, loss=1 / epoch)
    save_old_checkpoint(folder / "final_model.pt", model, None, 10)
    return folder


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(made, tmp_path / "checkpoints")
    return Workspace(tmp_path)


def test_what_is_said_without_torch_is_what_torch_reads(made: Path) -> None:
    rows = {row["path"]: row for row in listed(made)}
    assert rows.keys() == {"checkpoint_epoch_5.pt", "checkpoint_epoch_10.pt", "final_model.pt"}
    for name, row in rows.items():
        read = open_old_checkpoint(made / name)
        assert (row["epoch"], row["loss"], row["why"]) == (read.epoch, read.loss, "")
        assert (row["model"], row["has_adam"]) == (read.info["spec"]["preset"], read.adam is not None)
        assert row["size_bytes"] == read.size_bytes


def test_a_file_of_any_name_is_one_by_what_is_in_it_and_others_are_none(workspace: Workspace) -> None:
    folder = workspace.checkpoints
    (folder / "checkpoint_epoch_5.pt").rename(folder / "best.pt")
    torch.save({"weight": torch.zeros(3)}, folder / "other.pt")
    assert {row["path"]: row["epoch"] for row in listed(folder)} == {
        "best.pt": 5, "checkpoint_epoch_10.pt": 10, "final_model.pt": None,
    }  # fmt: skip


def rewritten(path: Path, pickled: bytes) -> None:
    """An archive with another pickle, and checksums that fit."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)


class _Runs:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.mark),))


def a_program(path: Path) -> None:
    rewritten(path, pickle.dumps({"epoch": _Runs(path.with_name("ran"))}, protocol=2))


def a_memory_bomb(path: Path) -> None:
    """An index of the unpickler's memo for which it would reserve 16 GB and fill it."""
    rewritten(path, b"\x80\x02Nr\xff\xff\xff\x3f.")


def a_deep_nest(path: Path) -> None:
    rewritten(path, b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b".")


def a_huge_pickle(path: Path) -> None:
    rewritten(path, b"\x80\x02" + b"N0" * (5 << 20) + b"N.")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[600:640] = bytes(40)
    path.write_bytes(data)


def foreign(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def a_text(path: Path) -> None:
    path.write_text("later")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (a_program, "beside tensors it wants posix.mkdir"),
        (a_memory_bomb, "it is crafted to"),
        (a_deep_nest, "it holds no model"),
        (a_huge_pickle, "it is not a file that torch.save wrote"),
        (cut_off, "it is cut off"),
        (damaged, "it is damaged"),
        (foreign, "it holds no model of the previous system"),
        (a_text, "it is not a file that torch.save wrote"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_holds_up_no_other(
    workspace: Workspace, spoil: object, why: str
) -> None:
    assert callable(spoil)
    spoil(workspace.checkpoints / "checkpoint_epoch_5.pt")
    views = {view.name: view for view in checkpoints_here(workspace)}
    assert why in views["checkpoint_epoch_5.pt"].why
    assert views["checkpoint_epoch_10.pt"].is_complete
    assert views["final_model.pt"].is_complete
    assert not (workspace.checkpoints / "ran").exists()


def test_a_file_is_read_again_only_when_it_is_another_one(workspace: Workspace) -> None:
    path = workspace.checkpoints / "checkpoint_epoch_5.pt"
    first = listed(workspace.checkpoints)
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert listed(workspace.checkpoints) == first
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert listed(workspace.checkpoints) != first


def test_here_and_there_say_the_same(workspace: Workspace) -> None:
    add_checkpoint(workspace.root, 12, loss=0.2)
    here = checkpoints_here(workspace)
    with HostJobs(LocalHost(workspace), workspace) as jobs:
        there = checkpoints_there(jobs)
    assert [view for view in here if view.is_old] == [view for view in there if view.is_old]
    pairs = side_by_side(here, there, {}, ())
    assert [pair.name for pair in pairs] == [
        "checkpoint_epoch_12", "checkpoint_epoch_10.pt", "checkpoint_epoch_5.pt", "final_model.pt",
    ]  # fmt: skip
    assert all(pair.is_same for pair in pairs)


def test_two_files_of_one_name_and_size_are_not_the_same_when_they_say_otherwise(workspace: Workspace) -> None:
    here = next(view for view in checkpoints_here(workspace) if view.epoch == 5)
    path = workspace.checkpoints / "checkpoint_epoch_5.pt"
    torch.save(torch.load(path, weights_only=True) | {"loss": 0.75}, path)
    there = next(view for view in checkpoints_here(workspace) if view.name == here.name)
    assert here.files == there.files
    assert not CheckpointPair(here.name, here, there).is_same


# Deleting


def test_it_is_deleted_with_a_question_that_says_what_it_is_and_comes_back(workspace: Workspace) -> None:
    view = next(one for one in checkpoints_here(workspace) if one.epoch == 10)
    question = question_of_checkpoints([(CheckpointPair(view.name, view), view)], "local")
    assert "epoch 10 of the previous system" in question.lines[0]
    assert question.lines[1] == "This is the ONLY COPY."
    before = (workspace.root / view.path).read_bytes()
    put_away(workspace, [view.path], NOW)
    assert view.name not in {one.name for one in checkpoints_here(workspace)}
    bring_back(workspace, deleted(workspace)[0])
    assert (workspace.root / view.path).read_bytes() == before


def test_a_host_removes_one_and_leaves_the_others(workspace: Workspace) -> None:
    with HostJobs(LocalHost(workspace), workspace) as jobs:
        jobs.ask(REMOVE, paths=["checkpoints/checkpoint_epoch_5.pt"])
        assert [view.name for view in checkpoints_there(jobs)] == ["checkpoint_epoch_10.pt", "final_model.pt"]


@on_screen
async def test_the_checkpoints_screen_shows_what_each_is(workspace: Workspace) -> None:
    app = CockpitApp(workspace, services=None, state=state_of(workspace), now=lambda: NOW, first="checkpoints")
    async with app.run_test(size=(140, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, CheckpointsScreen)
        screen.post_message(LibraryScreen.ThereRead(There("vm", checkpoints_here(workspace), is_read=True)))
        await eventually(pilot, lambda: len(screen.pairs) == 3 and screen.known_there().is_read and screen.here.is_read)
        facts = screen._facts(screen.pairs[0]).plain
        assert facts.startswith("previous system, seed · epoch 10 · training loss 0.1000 · ")
        assert "✓ here and on the host, the same files" in facts


# Pulling


def on_the_host(far: Far, made: Path) -> None:
    shutil.copytree(made, far.there / "checkpoints", dirs_exist_ok=True)


def test_a_pull_of_checkpoints_leaves_a_hundred_old_ones_there_and_says_how_to_have_one(far: Far, made: Path) -> None:
    on_the_host(far, made)
    write_checkpoint(far.there, 1)
    with far.jobs() as jobs:
        plan = plan_pull(jobs, ["checkpoints"])
        rows = pulled(jobs, "checkpoints")
    assert landed(rows) == ["checkpoints/checkpoint_step_1"]
    assert "3 checkpoints of the previous system" in plan.passed_over[0][1]
    assert "t2v pull checkpoint_epoch_10.pt" in plan.passed_over[0][1]


@pytest.mark.parametrize("words", [["checkpoint_epoch_5.pt"], ["checkpoints", "checkpoint_epoch_5.pt"],
                                   ["checkpoints/checkpoint_epoch_5.pt"]])  # fmt: skip
def test_one_comes_home_by_its_name(far: Far, made: Path, words: list[str]) -> None:
    on_the_host(far, made)
    with far.jobs() as jobs:
        assert landed(pulled(jobs, *words)) == ["checkpoints/checkpoint_epoch_5.pt"]
    name = "checkpoints/checkpoint_epoch_5.pt"
    assert (far.here.root / name).read_bytes() == (far.there / name).read_bytes()


def test_the_latest_is_ours_and_theirs_only_where_there_is_no_other(far: Far, made: Path) -> None:
    on_the_host(far, made)
    with far.jobs() as jobs:
        plan = plan_pull(jobs, ["checkpoints"], is_latest=True)
        assert [str(item.path) for item in plan.needed] == ["checkpoints/checkpoint_epoch_10.pt"]
        write_checkpoint(far.there, 1)
        plan = plan_pull(jobs, ["checkpoints"], is_latest=True)
        assert [str(item.path) for item in plan.needed] == ["checkpoints/checkpoint_step_1"]


# What else looks at a folder of them


def test_the_doctor_counts_them_and_says_which_cannot_be_used(workspace: Workspace) -> None:
    cut_off(workspace.checkpoints / "checkpoint_epoch_10.pt")
    whole, broken = examine_old_checkpoints(workspace.checkpoints, "t2v import-checkpoint checkpoints --last 1")
    assert whole.state is State.GOOD
    assert "2 of the previous system, the newest checkpoint_epoch_5.pt" in whole.sentence
    assert "t2v import-checkpoint checkpoints --last 1 makes one to train on from" in whole.sentence
    assert broken.state is State.ODD
    assert "checkpoint_epoch_10.pt cannot be used: it is cut off" in broken.sentence


def test_a_training_can_begin_in_a_folder_that_holds_only_old_ones(workspace: Workspace) -> None:
    spec = make_spec("train", {"preset": "seed"})
    require_free(spec, workspace)
    add_checkpoint(workspace.root, 12)
    with pytest.raises(HoldsARun):
        require_free(spec, workspace)


# Importing, there


def test_a_host_imports_its_own_and_nothing_comes_here(far: Far, made: Path) -> None:
    on_the_host(far, made)
    far.write_settings()
    done = far.ran("import-checkpoint", "checkpoints", "checkpoints/ours", "--last", "1", "--host", "vm")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"vm:{far.there}/checkpoints/ours/checkpoint_epoch_10"
    assert incompleteness(far.there / "checkpoints/ours/checkpoint_epoch_10", checksums=True) is None
    assert not (far.here.root / "checkpoints").exists()


def test_a_host_imports_its_own_latents_and_goes_on_when_asked_again(far: Far) -> None:
    save_vae(far.there / "vae")
    save_clip(far.there / "clip", max_length=77, width=512)
    start_row = padded_null_prompt(load_prompt_encoder(str(far.there / "clip"))).tokens[0]
    for folder, shape in (("latents", LATENT_SHAPE), ("text_embeddings", TEXT_SHAPE)):
        (far.there / "data/msr-vtt" / folder).mkdir(parents=True)
        for number in range(5):
            values = torch.randn(shape)
            if folder != "latents":
                values[0, 0] = start_row
            torch.save(values, far.there / "data/msr-vtt" / folder / f"video{number}.pt")
    far.write_settings()
    encoders = ["--vae", "./vae", "--text-encoder", "./clip", "--device", "cpu"]
    words = ["--json", "data", "import-latents", "data/msr-vtt", *encoders, "--host", "vm"]
    first, second = far.ran(*words), far.ran(*words)
    assert first.returncode == 0, first.stderr
    assert (json.loads(first.stdout)["clips"], json.loads(first.stdout)["skipped"]) == (5, 0)
    assert json.loads(second.stdout)["skipped"] == 5
    assert len(list((far.there / "data/msr-vtt/latents").glob("*.pt"))) == 5


@pytest.mark.slow
def test_the_command_that_the_doctor_names_for_old_latents_is_the_one_that_takes_them(far: Far) -> None:
    """On the old folder as it lies: the store is made beside the old files, and then nothing is named any more."""
    make_old_folder(far.there)
    save_vae(far.there / "vae")
    save_clip(far.there / "clip", max_length=77, width=512)
    before = fingerprint(far.there)
    far.write_settings()
    with (far.here.root / "t2v.toml").open("a") as file:
        file.write('[import-latents]\nvae = "./vae"\ntext_encoder = "./clip"\ndevice = "cpu"\n')
    line = "t2v data import-latents data/msr-vtt --data data/msr-vtt --host vm"
    for said in (far.ran("doctor", "--host", "vm").stdout, far.ran("train", "--host", "vm", "--detach").stderr):
        assert line in said
    _, *words = shlex.split(line)
    done = far.ran("--json", *words)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["clips"], json.loads(done.stdout)["quarantined"]) == (3, 0)
    after = fingerprint(far.there)
    assert {name: after.get(name, ())[2:] for name in before} == {name: row[2:] for name, row in before.items()}
    assert line not in far.ran("doctor", "--host", "vm").stdout
    with far.jobs() as jobs:
        assert inspect_host(jobs, "train", make_spec("train", {}), current_release(), begins=False).missing == ()
