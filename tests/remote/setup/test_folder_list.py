"""A folder as its user knows it: kinds by cheap signs, totals within their time, and every oddity said."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support.hosts.agent_here import agent
from support.hosts.far_host import far_host
from support.previous.old_folder import EPOCHS, fingerprint, make_old_folder
from support.screen.in_terminal import eventually, on_screen

from remote.agent.listing.listing import LIST_LIMIT, list_folder, old_data
from remote.hosts.host import LocalHost
from remote.jobs.client import HostJobs
from remote.replies.questions import LIST, OLD_DATA
from remote.setup.old_data import command, old_data_words
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.library.folder_view import in_order, listing_of, told_lines
from t2v_tui.screens.panels.folder import FolderPanel
from t2v_tui.settings import Tui
from t2v_tui.widgets.lists import ListTable
from t2v_tui.workers.services import Services

# The interpreter may lie where no other user comes: it is given up to another one when it has read all that it needs.
LIST_AS_ANOTHER = """
import json, os, sys
from remote.agent.listing.listing import list_folder
os.setuid(12345)
print(json.dumps(list_folder({"workspace": sys.argv[1], "patience_s": 20.0})))
"""


def kinds(folder: Path, path: str = ".", field: str = "kind") -> dict[str, str]:
    said = list_folder({"workspace": str(folder), "path": path, "patience_s": 20.0})
    return {one["name"]: one[field] for one in said["entries"]}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_old_folder(tmp_path_factory.mktemp("old") / "text2video")


def test_everything_of_the_old_folder_is_called_by_its_name(old: Path) -> None:
    top = kinds(old)
    assert top["venv"] == "Python environment (not ours)"
    assert top["train.py"] == "script"
    assert top["input_video.mp4"] == "video"
    assert top["checkpoints"] == "checkpoints of the previous system"
    assert kinds(old, "checkpoints") == {
        **{f"checkpoint_epoch_{epoch}.pt": "checkpoint of the previous system" for epoch in EPOCHS},
        "final_model.pt": "weights of the previous system",
    }
    assert set(kinds(old, "data/msr-vtt/latents").values()) == {"latents of the previous system"}
    assert set(kinds(old, "data/msr-vtt/text_embeddings").values()) == {"text embeddings of the previous system"}
    assert kinds(old, "data/msr-vtt")["latents"] == "latents of the previous system"


def test_a_file_under_two_names_counts_once(tmp_path: Path) -> None:
    """As an import writes weights and averages."""
    made = tmp_path / "checkpoints"
    made.mkdir()
    (made / "model.safetensors").write_bytes(bytes(1000))
    (made / "ema.safetensors").hardlink_to(made / "model.safetensors")
    (made / "optimizer.safetensors").write_bytes(bytes(1000))
    (row,) = list_folder({"workspace": str(tmp_path), "path": ".", "patience_s": 20.0})["entries"]
    assert (row["size_bytes"], row["files"]) == (2000, 3)


def test_old_checkpoints_say_their_epoch_and_loss_and_damaged_ones_what_is_wrong(old: Path, tmp_path: Path) -> None:
    said = kinds(old, "checkpoints", "detail")
    assert said == {
        **{f"checkpoint_epoch_{epoch}.pt": f"epoch {epoch}, loss {0.86 - 0.55 * epoch / 100:.4g}" for epoch in EPOCHS},
        "final_model.pt": "",
    }
    assert kinds(old, "checkpoints/checkpoint_epoch_100.pt", "detail") == {
        "checkpoint_epoch_100.pt": "epoch 100, loss 0.31"
    }
    whole = (old / "checkpoints/checkpoint_epoch_5.pt").read_bytes()
    (tmp_path / "checkpoint_epoch_4.pt").write_bytes(whole[:-300])
    (tmp_path / "checkpoint_epoch_5.pt").write_bytes(whole)
    torch.save({"a": 1}, tmp_path / "checkpoint_epoch_6.pt")
    assert kinds(tmp_path, field="detail") == {
        "checkpoint_epoch_4.pt": "by its name only: it is cut off or damaged: its end is missing",
        "checkpoint_epoch_5.pt": "epoch 5, loss 0.8325",
        "checkpoint_epoch_6.pt": "by its name only: it holds no model of the previous system",
    }


def test_details_that_cannot_be_had_are_said_and_the_list_is_whole(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a host that can begin no other program."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    expected = dict.fromkeys(kinds(old, "checkpoints"), "cannot be read: No such file or directory")
    for path in (old / "checkpoints").iterdir():  # what was said before is remembered
        path.touch()
    assert kinds(old, "checkpoints", "why") == expected


def test_a_checkpoint_by_name_only_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_epoch_1.pt").write_text("<html>404</html>")
    (tmp_path / "checkpoint_epoch_2.pt").touch()
    torch.save({"a": 1}, tmp_path / "checkpoint_epoch_3.pt", _use_new_zipfile_serialization=False)
    torch.save({"a": 1}, tmp_path / "x.pt")
    assert kinds(tmp_path) == {
        "checkpoint_epoch_1.pt": "not a torch file: damaged or cut short",
        "checkpoint_epoch_2.pt": "empty file",
        "checkpoint_epoch_3.pt": "checkpoint of the previous system",
        "x.pt": "torch file",
    }


def test_links_sockets_hostile_names_and_what_is_gone_are_each_said(tmp_path: Path) -> None:
    (tmp_path / "away").symlink_to("/etc")
    (tmp_path / "nowhere").symlink_to("/nonexistent")
    os.mkfifo(tmp_path / "pipe.pt")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s"))
    (tmp_path / os.fsdecode(b"caf\xe9")).write_text("x")
    (tmp_path / "a\x1b[31m\nb").write_text("x")
    with agent() as there:
        said = there.call("list", workspace=str(tmp_path))
    lines = list(told_lines(LIST.read(said, "here"), time.time()))
    assert len(lines) == len(said["entries"]) == 6
    assert not any("\x1b" in line or "\n" in line for line in lines)
    text = "\n".join(lines)
    for words in ("link → /etc", "link to nothing → /nonexistent", "pipe, socket or device", "caf\\udce9"):
        assert words in text
    text.encode()


def test_a_folder_that_cannot_be_looked_into_says_so_and_the_others_are_listed(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("taking a folder away from a user takes root")
    (tmp_path / "shut").mkdir(mode=0o700)
    (tmp_path / "open").mkdir()
    (tmp_path / "open/inner").mkdir(mode=0o700)
    (tmp_path / "open/x.txt").write_text("12345")
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    done = subprocess.run(
        [sys.executable, "-c", LIST_AS_ANOTHER, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    rows = {one["name"]: one for one in said["entries"]}
    assert rows["shut"]["why"] == "cannot be read: Permission denied"
    assert rows["open"]["why"] == "part of it cannot be read: Permission denied"
    assert (rows["open"]["size_bytes"], rows["open"]["is_counted"]) == (5, False)


def test_beyond_its_limit_a_list_says_how_many_there_are(tmp_path: Path) -> None:
    for number in range(LIST_LIMIT + 5):
        (tmp_path / str(number)).touch()
    said = list_folder({"workspace": str(tmp_path)})
    assert (len(said["entries"]), said["is_whole"], said["count"]) == (LIST_LIMIT, False, LIST_LIMIT + 5)


def test_a_total_that_time_did_not_allow_is_a_lower_bound_and_small_folders_are_whole(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    for number in range(3000):
        (tmp_path / "large" / str(number)).write_text("12345")
    said = list_folder({"workspace": str(tmp_path), "patience_s": 0.0})
    assert said["entries"][0]["is_counted"] is False
    assert "≥" in next(told_lines(LIST.read(said, "here"), time.time()))
    said = list_folder({"workspace": str(tmp_path), "patience_s": 60.0})
    assert (said["entries"][0]["size_bytes"], said["entries"][0]["files"]) == (15_000, 3000)
    assert said["entries"][0]["is_counted"] is True


def test_the_host_has_as_much_patience_as_it_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    for number in range(1500):
        (tmp_path / "large" / str(number)).touch()
    workspace = Workspace(tmp_path)
    with HostJobs(LocalHost(workspace), workspace) as jobs:
        assert [listing_of(jobs, str(tmp_path), s).entries[0].is_counted for s in (0.0, 60.0)] == [False, True]


def test_old_data_is_counted_and_comes_with_the_command_that_takes_it(old: Path) -> None:
    found = OLD_DATA.read(old_data({"workspace": str(old), "data": "data/msr-vtt", "patience_s": 20.0}), "here").found
    assert found.latents is not None
    in_3_days = found.latents.newest_t + 3 * 86_400
    assert old_data_words(found, in_3_days).startswith("3 latents (791 kB) and 3 text embed")
    assert old_data_words(found, in_3_days).endswith("of the previous system, 3 days old")
    assert command("my data", "vm") == "t2v data import-latents 'my data' --data 'my data' --host vm"
    assert old_data({"workspace": str(old), "data": "data/none"})["found"] == {}


def test_numbers_in_names_are_counted() -> None:
    names = ["e_10", "e_9", "e_1.pt", "a", "²", "10", "9"]
    assert sorted(names, key=in_order) == ["9", "10", "a", "e_1.pt", "e_9", "e_10", "²"]


def test_ls_on_a_host_and_here_as_lines_and_as_json_and_each_wrong_path_is_one_sentence(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        (far.there / "checkpoints").mkdir()
        weights = {name: torch.zeros(1) for name in ("pos_embed", "blocks.0.norm1.weight")}
        for epoch in range(1, 121):
            content = {"epoch": epoch, "model_state_dict": weights, "loss": 1 / epoch}
            torch.save(content, far.there / f"checkpoints/checkpoint_epoch_{epoch}.pt")
        lines = far.ran("ls", "checkpoints", "--host", "vm", "--patience", "20").stdout.splitlines()
        assert [f"epoch {epoch}, loss {1 / epoch:.4g}" in line for epoch, line in enumerate(lines, 1)] == [True] * 120
        assert [f"checkpoint_epoch_{epoch}.pt " in line for epoch, line in enumerate(lines, 1)] == [True] * 120
        said = json.loads(far.ran("ls", "--host", "vm", "--json").stdout)
        assert [one["kind"] for one in said["entries"]] == ["checkpoints of the previous system"]
        assert "settings" in far.ran("ls").stdout
        dry = far.ran("pull", "checkpoints", "--host", "vm", "--dry-run")
        assert "0 to fetch" in dry.stderr
        assert "120 checkpoints of the previous system" in dry.stderr
        assert "t2v pull checkpoint_epoch_120.pt" in dry.stderr
        for path, words in (("gone", f"there is no {far.there}/gone"), ("checkpoints/checkpoint_epoch_1.pt/x", "file")):
            done = far.ran("ls", path, "--host", "vm")
            assert (done.returncode, done.stdout) == (2, "")
            assert words in done.stderr
            assert "Traceback" not in done.stderr


@on_screen
async def test_in_the_terminal_ui_a_key_shows_the_folder_and_enter_goes_in(old: Path) -> None:
    workspace = Workspace(old)
    app = CockpitApp(workspace, services=None, settings=Tui(), now=time.time)
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: bool(app.screen.query("#headline")))
        app.services = Services(workspace)
        await pilot.press("F")
        await eventually(pilot, lambda: isinstance(app.screen, FolderPanel))
        table = app.screen.query_one(ListTable)
        await eventually(pilot, lambda: len(table.keys) > 10)
        rows = [" ".join(map(str, table.cells_at(number))) for number in range(len(table.keys))]
        assert any("venv/ Python environment (not ours)" in row for row in rows)
        table.move_to(next(number for number, row in enumerate(rows) if "checkpoints/" in row))
        await pilot.press("enter")
        await eventually(
            pilot, lambda: "checkpoint of the previous system, epoch 1, loss 0.8545" in str(table.cells_at(0))
        )
        await pilot.press("backspace")
        await eventually(pilot, lambda: len(table.keys) == len(rows))
        await pilot.press("escape")
        await eventually(pilot, lambda: not isinstance(app.screen, FolderPanel))
    app.services.close()


def test_a_new_checkpoint_beside_an_old_one_of_its_name_is_told_apart_and_removed_alone(tmp_path: Path) -> None:
    make_old_folder(tmp_path / "w")
    ours = tmp_path / "w/checkpoints/checkpoint_epoch_5"
    ours.mkdir()
    (ours / "model.safetensors").write_bytes(b"1234")
    before = fingerprint(tmp_path / "w/venv", but=())
    assert kinds(tmp_path / "w", "checkpoints")["checkpoint_epoch_5"] == "t2v checkpoint, not complete"
    manifest = {"files": {"model.safetensors": {"size_bytes": 4, "sha256": "0" * 64}}}
    (ours / "manifest.json").write_text(json.dumps(manifest))
    assert kinds(tmp_path / "w", "checkpoints")["checkpoint_epoch_5"] == "t2v checkpoint"
    assert kinds(tmp_path / "w")["checkpoints"] == "checkpoints, also of the previous system"
    with agent() as one:
        one.call("remove", workspace=str(tmp_path / "w"), paths=["checkpoints/checkpoint_epoch_5"])
    assert not ours.exists()
    assert kinds(tmp_path / "w", "checkpoints")["checkpoint_epoch_5.pt"] == "checkpoint of the previous system"
    assert fingerprint(tmp_path / "w/venv", but=()) == before
