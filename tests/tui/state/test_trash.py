"""What is deleted here lies in the trash for a day, comes back whole, and goes when its time is over."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from support.engine.results_world import add_checkpoint, add_video, results
from support.hosts.far_host import far_host
from support.hosts.far_services import FarServices
from support.screen.in_terminal import eventually, on_screen

from t2v_core.disk.files import incompleteness
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.cli.main import main
from t2v_tui.library.trash import KEPT_S, bring_back, deleted, empty, put_away, trash_of
from t2v_tui.screens.checkpoints import CheckpointsScreen
from t2v_tui.screens.panels.dialogs import Confirm
from t2v_tui.workers.services import Services

VIDEO = "outputs/refined.mp4"


def test_a_video_comes_back_with_what_stands_beside_it(tmp_path: Path) -> None:
    workspace = results(tmp_path)
    before = (tmp_path / VIDEO).read_bytes()
    one = put_away(workspace, [VIDEO, "outputs/refined.json", "outputs/none.json"], time.time())
    assert one.paths == (VIDEO, "outputs/refined.json")
    assert not (tmp_path / VIDEO).exists()
    assert deleted(workspace) == (one,)
    bring_back(workspace, one)
    assert (tmp_path / VIDEO).read_bytes() == before
    assert (tmp_path / "outputs/refined.json").exists()
    assert list(trash_of(workspace).iterdir()) == []


def test_nothing_that_is_there_again_is_written_over(tmp_path: Path) -> None:
    workspace = results(tmp_path)
    one = put_away(workspace, ["checkpoints/checkpoint_epoch_5"], time.time())
    add_checkpoint(tmp_path, 5, loss=0.9)
    with pytest.raises(InvalidRequest, match="there is another checkpoints/checkpoint_epoch_5 here now"):
        bring_back(workspace, one)
    assert deleted(workspace) == (one,)


@pytest.mark.parametrize("path", ["t2v.toml", "checkpoints", "checkpoints/../data/x", "/etc/passwd", ""])
def test_only_results_are_put_away(tmp_path: Path, path: str) -> None:
    with pytest.raises(InvalidRequest):
        put_away(results(tmp_path), [path], time.time())


def test_a_delete_that_was_killed_half_way_loses_nothing(tmp_path: Path) -> None:
    workspace = results(tmp_path)
    one = put_away(workspace, [VIDEO, "outputs/refined.json"], time.time())
    (one.folder / "outputs/refined.json").rename(tmp_path / "outputs/refined.json")  # as it is after the first move
    (again,) = deleted(workspace)
    assert again.paths == (VIDEO,)
    bring_back(workspace, again)
    assert (tmp_path / VIDEO).exists()


@on_screen
async def test_the_next_start_after_a_day_frees_the_space_and_not_before(tmp_path: Path) -> None:
    workspace = results(tmp_path)
    now_t = time.time()
    old = put_away(workspace, ["checkpoints/checkpoint_epoch_5"], now_t - KEPT_S - 60)
    new = put_away(workspace, ["checkpoints/checkpoint_epoch_10"], now_t - KEPT_S + 600)
    services = Services(workspace)
    app = CockpitApp(workspace, services=services, first="checkpoints")
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            await eventually(pilot, lambda: not old.folder.exists())
            assert deleted(workspace) == (new,)
    finally:
        services.close()


def test_from_a_shell_it_is_listed_brought_back_and_emptied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = results(tmp_path)
    (tmp_path / "t2v.toml").touch()
    now_t = time.time()
    put_away(workspace, ["checkpoints/checkpoint_epoch_5"], now_t - 7200)
    put_away(workspace, ["checkpoints/checkpoint_epoch_10"], now_t - 60)
    here = ["--workspace", str(tmp_path)]
    assert main([*here, "--json", "trash"]) == 0
    assert [row["paths"] for row in json.loads(capsys.readouterr().out)] == [
        ["checkpoints/checkpoint_epoch_10"], ["checkpoints/checkpoint_epoch_5"],
    ]  # fmt: skip
    assert main([*here, "trash", "checkpoint_epoch_5", "--back"]) == 0
    assert capsys.readouterr().out == "checkpoints/checkpoint_epoch_5\n"
    assert incompleteness(workspace.checkpoints / "checkpoint_epoch_5") is None
    assert main([*here, "trash", "checkpoint_epoch_5", "--back"]) == 2
    assert "there is: checkpoint_epoch_10" in capsys.readouterr().err
    assert main([*here, "trash", "checkpoints/checkpoint_epoch_5"]) == 0
    assert capsys.readouterr().out == "checkpoints/checkpoint_epoch_5\n"
    assert not (workspace.checkpoints / "checkpoint_epoch_5").exists()
    for wrong in (["/etc/hostname"], ["jobs/../t2v.toml"], ["outputs"], ["checkpoints/none"], ["a", "b", "--back"]):
        assert main([*here, "trash", *wrong]) == 2
    assert main([*here, "trash", "checkpoint_epoch_5", "--back"]) == 0
    assert main([*here, "trash", "--empty"]) == 0
    assert "121 kB freed" in capsys.readouterr().err
    assert empty(Workspace(tmp_path), before_t=now_t + 1) == 0


@on_screen
async def test_on_a_host_a_delete_is_one_and_the_question_says_so(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        add_checkpoint(far.there, 25, loss=0.1)
        add_video(far.there, "a.mp4", "a red square")
        services = FarServices(far.here, far)
        app = CockpitApp(far.here, services=services, first="checkpoints")
        try:
            async with app.run_test(size=(80, 24)) as pilot:
                await eventually(pilot, lambda: "vm" in app.state.hosts)
                app.choose_host("vm")
                screen = app.screen
                assert isinstance(screen, CheckpointsScreen)
                screen.read_anew()
                await eventually(pilot, lambda: bool(screen.pairs) and screen.chosen is not None)
                await pilot.press("X")
                await eventually(pilot, lambda: isinstance(app.screen, Confirm))
                assert isinstance(app.screen, Confirm)
                assert app.screen.question.lines[1:] == (
                    "This is the ONLY COPY.", "vm has no trash: it cannot be brought back.",
                )  # fmt: skip
                await pilot.press("y")
                await eventually(pilot, lambda: not (far.there / "checkpoints/checkpoint_epoch_25").exists())
                assert not (far.there / ".t2v/trash").exists()
        finally:
            services.close()
