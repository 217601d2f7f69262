"""The whole story: one key trains on a bare VM that is off, a video comes home, and the VM switches itself off.

Real: the app in a terminal, the Compute Engine client, OpenSSH, a Debian with its own systemd, pip, the engine, the
guard. The cloud is the bench's; the packages that the engine needs come from this machine's environment, by a line in
the one small package that is installed there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.engine.engine import job_here
from support.hosts.small_release import only_packages_of, small_checkout, write_engine
from support.house.needs import needs
from support.machines.gce_here import NAME
from support.machines.machine_vm import ALIAS, USER, MachineVm, machine_vm
from support.screen.tmux_here import t2v_tui, terminal

from remote.hosts.known_hosts import KnownHosts
from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.specs import PreprocessSpec, ShapesSpec
from t2v_core.verbs.preprocess import preprocess

DATA, WHEELS = "data/small", "/srv/wheels"
TRAINING = f"""
data = "{DATA}"
device = "cpu"
[train]
preset = "tiny"
epochs = 6
batch_size = 2
checkpoint_every = 1
samples = 0
"""


@dataclass
class Story:
    """checkout: whose t2v is typed, and brought there"""

    vm: MachineVm
    checkout: Path

    def ran(self, *words: str) -> str:
        return self.vm.ran(*words, checkout=self.checkout).stdout

    def said(self, *words: str) -> dict[str, Any]:
        return self.vm.said(*words, checkout=self.checkout)

    def checkpoints(self, root: Path) -> set[str]:
        return {path.parent.name for path in root.glob("checkpoints/checkpoint_*/manifest.json")}


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    needs("python3.11", "tmux")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "checkout").mkdir()
    with machine_vm(tmp_path / "vm", "usd_per_hour = 3.67") as vm:
        write_engine(vm.machine.path(WHEELS))
        only_packages_of(Path(WHEELS), vm.home)
        make_data(vm.here.root)
        vm.give(vm.here.root / DATA, DATA)
        settings = vm.here.settings_file
        settings.write_text(TRAINING + settings.read_text())
        yield Story(vm, small_checkout(tmp_path / "checkout"))


def make_data(root: Path) -> None:
    make_set(ShapesSpec(data=Path(DATA), clips=24, test_clips=2, frames=4, size=32), job_here(root))
    values = {"vae": "embedded", "text_encoder": "embedded", "frames": 4, "size": 32, "device": "cpu"}
    preprocess(PreprocessSpec.model_validate({"data": DATA, **values}), job_here(root))


def bytes_of(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


@pytest.mark.slow
def test_one_key_on_a_bare_vm_that_is_off_becomes_a_video_at_home_and_then_it_stops_by_itself(story: Story) -> None:
    vm = story.vm
    job = press_one_key(story)
    assert vm.instance.status == "RUNNING"
    assert KnownHosts(vm.gce.home / ".config/t2v/known_hosts").pinned(ALIAS) == [vm.machine.public_host_key]
    engine = vm.machine.inside("pgrep", "-u", USER, "-af", "t2v_core").split()[1]
    assert engine == f"/home/{USER}/text2video/.t2v/venv/bin/python"

    # A checkpoint comes home while it trains: it is held in the middle for that long.
    came = story.said("pull", "checkpoints", "--latest")
    assert came["refused"] == []
    assert len(story.checkpoints(vm.here.root)) == 1
    assert not (job / "exit.json").exists()
    (job / "pause").unlink()

    # Its end is seen, and its log is here, byte for byte.
    story.ran("logs", job.name, "--follow")
    spool = vm.here.root / ".t2v/spool" / NAME / job.name
    for name in ("log", "events.jsonl"):  # of a log without a word nothing comes
        assert bytes_of(spool / name) == bytes_of(job / name)
    assert bytes_of(spool / "events.jsonl") != b""
    story.said("pull", "checkpoints")
    assert story.checkpoints(vm.there) <= story.checkpoints(vm.here.root)

    # What it learned shows in a video, made there, at home.
    story.ran("generate", "a red circle moving right", "--steps", "2", "-o", "outputs/circle.mp4")
    story.ran("pull", "videos")
    video = (vm.here.root / "outputs/circle.mp4").read_bytes()
    assert b"ftyp" in video[:16]

    # Nobody works there any more: its guard switches it off, and nobody here has asked for it.
    vm.is_left_alone()
    vm.until(lambda: story.said("vm", "status")["status"] == "TERMINATED")
    assert vm.gce.emulator.seen("POST .*/stop") == []

    # Up again, there is nothing left to fetch.
    story.ran("vm", "start")
    again = story.said("pull", "checkpoints")
    assert (again["bytes"], again["refused"]) == (0, [])


def press_one_key(story: Story) -> Path:
    """And a yes to what it costs: the VM starts, is made ready, and trains; the app is left then. Returns the job."""
    vm = story.vm
    found: list[Path] = []

    def trains() -> bool:
        assert "✗" not in app.text(), app.text()
        found.extend([job] if (job := vm.job("train")) else [])
        return len(story.checkpoints(vm.there)) > 0

    environment = vm.environment(story.checkout)
    with terminal(t2v_tui("--workspace", str(vm.here.root)), cwd=vm.here.root, env=environment) as app:
        app.wait_for(f"○ {NAME} stopped")
        app.press("h")
        app.wait_for("Which host does the work")
        app.press("Down", "Enter")
        app.wait_for(rf"○ STOPPED {NAME} .* confirmed \d+ s ago")
        app.wait_until_gone("Which host does the work")
        app.press("t")
        app.wait_for(rf"y starts {NAME}, which then costs \$3\.67/h")
        app.press("y")
        app.wait_until(trains, timeout_s=240)
        (found[0] / "pause").touch()
        app.wait_for(rf"● RUNNING {NAME} .*\$3\.67/h")
        app.press("q")
        screen = app.wait_for("ended with 0")
        assert re.search(rf"t2v vm stop --host {NAME}", " ".join(screen.split())), screen  # it goes on, and costs
    return found[0]
