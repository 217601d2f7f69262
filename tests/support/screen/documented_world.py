"""Where the commands of the documents are run: a workspace here, and the same one on a VM of the bench.

Data is small, encoders have random weights, and t2v.toml asks for little work; each command is run as it is written.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from bench.cloud.guest_agent import lose_power

from support.engine.ended_jobs import name_two_runs
from support.engine.forked_command import ForkedCommand
from support.engine.open_models import save_open_model
from support.engine.tiny_models import save_clip, save_vae
from support.engine.warm_engine import run_warm
from support.house.left_behind import processes_of
from support.machines.gce_here import NAME
from support.machines.vm_here import VmHere, vm_here
from support.previous.old_folder import make_old_folder
from support.previous.old_system import old_adamw, old_model, save_old_checkpoint
from support.screen.tmux_here import t2v_tui, terminal
from t2v_core.data.video.decode import read_all_frames
from t2v_core.data.video.frames import write_video
from t2v_core.workspace import Workspace
from t2v_tui.library.trash import put_away

DATA = Path("data/msr-vtt")
PATIENCE_S = 280.0
ENCODERS = 'vae = "models/vae"\ntext_encoder = "models/clip"\n'
ENCODERS_SPEC = {"vae": "models/vae", "text_encoder": "models/clip"}
SETTINGS = f"""
device = "cpu"
[shapes]
clips = 12
test_clips = 2
[preprocess]
{ENCODERS}frames = 16
size = 64
[import-latents]
{ENCODERS}
[train]
preset = "tiny"
epochs = 300
batch_size = 2
samples = 0
scorer = "embedded"
[verify-resume]
steps = 8
[estimate]
probe_seconds = 3
[generate]
steps = 2
[sheet]
steps = 2
[refine]
steps = 10
[refine.epoch100]
{ENCODERS}checkpoint = "checkpoints/checkpoint_epoch_100.pt"
prompt = "dog running on the grass"
strength = 0.3
[evaluate]
scorer = "embedded"
steps = 1
"""
# The files of the previous system do not say which encoders they are for.
SETTINGS_OLD = (
    SETTINGS.replace("[generate]\n", f"[generate]\n{ENCODERS}frames = 4\n")
    .replace("[refine]\n", f"[refine]\n{ENCODERS}")
    .replace("[evaluate]\n", f"[evaluate]\n{ENCODERS}")
)
SIZE = "frames = 5\nheight = 32\nwidth = 32\n"
SETTINGS_OPEN = (
    SETTINGS.replace("[generate]\n", f"[generate]\n{SIZE}")
    .replace("probe_seconds = 3\n", SIZE)
    .replace("frames = 16\nsize = 64\n", SIZE)
    .replace("[evaluate]\n", f"[evaluate]\n{SIZE}")
)
# Files of adapters that the documents name, made by a step of training.
ADAPTERS = ("style.safetensors", "other.safetensors")
VIDEOS = ("input.mp4", "input_video.mp4", "noisy_video.mp4", "noisy.mp4", "dog.mp4", "outputs/draft.mp4")
GIFS = ("square.gif", "noisy.gif")


def made(root: Path, verb: str, **spec: Any) -> None:
    ended = run_warm(root, verb, **spec)
    assert ended.code == 0, ended.events


def make_new(root: Path) -> None:
    """A workspace with a preprocessed data set and videos, and nothing trained."""
    save_vae(root / "models/vae")
    save_clip(root / "models/clip", max_length=77)
    for data in ("data/msr-vtt", "data/shapes"):
        made(root, "shapes", data=data, clips=12, test_clips=2, frames=64, size=64)  # 16 of them, 4 apart
        made(root, "preprocess", data=data, frames=16, size=64, device="cpu", **ENCODERS_SPEC)
    clip = next((root / DATA / "videos").glob("*.mp4"))
    for name in VIDEOS:
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(clip, root / name)
    for name in GIFS:
        write_video(root / name, read_all_frames(clip).frames, fps=8)
    (root / "t2v.toml").write_text(SETTINGS)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True, timeout=240)
    (root / "train.py").write_text("print('mine')\n")
    (root / "prompts.txt").write_text("# two of them\na dog runs\na man talks\n")


def make_trained(root: Path) -> None:
    """With a run of two epochs."""
    made(root, "train", preset="tiny", epochs=2, batch_size=2, samples=0, device="cpu")
    newest = max((root / "checkpoints").glob("checkpoint_epoch_*"))
    shutil.copytree(newest, newest.with_name("checkpoint_epoch_50"))
    put_away(Workspace(root), [f"checkpoints/{newest.name}"], time.time())
    base = "checkpoints/checkpoint_epoch_50"
    beside = {"base": base, "lora": True, "max_steps": 1, "batch_size": 2, "samples": 0}
    made(root, "train", **beside, checkpoints="checkpoints/red", device="cpu")
    adapter = (root / "checkpoints/red/checkpoint_step_1").rename(root / "checkpoints/red/checkpoint_epoch_100")
    (adapter / "manifest.json").unlink()  # its file can be drawn with, and a run may begin in that folder


def make_old(root: Path) -> None:
    """With what the previous system leaves: its checkpoints, here as they compute, its latents and its scripts."""
    shutil.rmtree(root / DATA / "latents")  # not ours yet: importing them is one of the commands
    make_old_folder(root / "old")
    for name in ("latents", "text_embeddings"):
        shutil.copytree(root / "old" / DATA / name, root / DATA / name, dirs_exist_ok=True)
    model = old_model(dim=64, heads=1, pairs=1, side=8, text_dim=16)
    for epoch in (95, 100):
        save_old_checkpoint(root / f"checkpoints/checkpoint_epoch_{epoch}.pt", model, old_adamw(model), epoch)
    torch.save(model.state_dict(), root / "checkpoints/final_model.pt")
    shutil.copy(root / "checkpoints/checkpoint_epoch_100.pt", root / "OLD.pt")
    shutil.rmtree(root / "old")
    (root / "t2v.toml").write_text(SETTINGS_OLD)


def make_open(root: Path) -> None:
    """With an open model, random and tiny, a data set made for it, adapters, and settings for a video of its size."""
    save_open_model("wan", root / "models/wan")
    shutil.copytree(root / DATA, root / "data/mine", ignore=shutil.ignore_patterns("latents", "text_embeddings"))
    asked = {"data": "data/mine", "model": "models/wan", "device": "cpu"}
    made(root, "preprocess", **asked, frames=5, height=32, width=32)
    made(root, "train", **asked, lora=True, max_steps=1, checkpoints="made")
    for name in ADAPTERS:
        shutil.copy(root / "made/checkpoint_step_1/ema.safetensors", root / name)
    shutil.rmtree(root / "made")
    (root / "t2v.toml").write_text(SETTINGS_OPEN)


MAKERS: dict[str, Callable[[Path], None]] = {
    "new": make_new, "trained": make_trained, "old": make_old, "compared": name_two_runs, "open": make_open,
}  # fmt: skip


def leave(child: ForkedCommand) -> None:
    """As Ctrl-C does it, and again where that would take long: the second one ends the engine at once."""
    for patience_s in (10.0, PATIENCE_S):
        child.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience_s)
            return


@dataclass
class World:
    """Templates of workspaces, and a VM with one of them on either side, made anew for each command.

    job: what was run on the VM before, and stands for the job that a document names
    """

    vm: VmHere
    templates: Path
    job: str = ""

    def prepare(self, kind: str, *, is_up: bool, has_job: bool) -> None:
        """Put a workspace of that kind on either side; a VM that is up, or off, with nothing or a job on it."""
        self.end()
        self.vm.gce.reset()
        self.vm.add("RUNNING" if is_up else "TERMINATED")
        for side in (self.vm.here.root, self.vm.there):
            shutil.rmtree(side)
            shutil.copytree(self.templates / kind, side)
        (self.vm.there / "t2v.toml").unlink()  # of whoever works here
        old = self.vm.gce.home / "text2video"
        old.unlink(missing_ok=True)
        old.symlink_to(self.vm.here.root)
        (secret := self.vm.gce.home / ".t2v-web").write_text("me:secret\n")
        secret.chmod(0o600)
        settings = self.vm.here.settings_file
        asked = settings.read_text()
        self.vm.write_settings()
        settings.write_text(asked + settings.read_text())
        if has_job:
            self.begin_job("data", "shapes", "--data", "data/other", "--clips", "4", "--test-clips", "1")

    def begin_job(self, *words: str) -> None:
        done = self.vm.ran(*words, "--host", NAME, "--detach")
        assert done.returncode == 0, done.stderr
        self.job = done.stdout.strip()

    def end(self) -> None:
        """Nothing that a command left running is there any more, on the VM or here."""
        self.vm.sshd.kill()
        lose_power(self.vm.sshd.home)
        while left := processes_of(self.vm.here.root) | processes_of(self.vm.there):
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def run(self, words: list[str], *, in_folder: str = ".", **environment: str) -> tuple[int, str]:
        """A command to its own end; its exit code and what it said."""
        code = self.start(words, in_folder, environment).wait(PATIENCE_S)
        return code, self.said.read_text()

    def begin(self, words: list[str], has_begun: Callable[[World, str], bool], **environment: str) -> None:
        """A command that would go on for long, until that much is seen of it."""
        child = self.start(words, ".", environment)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not has_begun(self, said := self.said.read_text()):
                assert child.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.05)
        finally:
            leave(child)

    @property
    def said(self) -> Path:
        """What the last command said, on stdout and stderr."""
        return self.templates / "said"

    def start(self, words: list[str], in_folder: str, environment: dict[str, str]) -> ForkedCommand:
        (folder := self.vm.here.root / in_folder).mkdir(exist_ok=True)
        self.said.write_bytes(b"")
        return ForkedCommand(words, folder, self.environment | environment, (str(self.said), str(self.said)))

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "SSH_", "CLOUDSDK_"))}
        ours = {"XDG_CONFIG_HOME": str(self.vm.gce.home / ".config"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        (space := self.templates / "t").mkdir(exist_ok=True)  # what is killed leaves its temporary files
        return kept | self.vm.gce.environment | ours | {"TMPDIR": str(space)}

    def in_terminal(self, words: list[str]) -> None:
        """The app in a real terminal, until it shows its tabs; `q` leaves it."""
        with terminal(t2v_tui(*words), cwd=self.vm.here.root, env=self.environment) as shown:
            shown.wait_for("Train", "Jobs")
            shown.press("q")
            shown.wait_for("ended with 0|y/n|Quit|leave")

    def says(self, sign: str) -> bool:
        """A job here or there has said so much."""
        files = [path for root in (self.vm.here.root, self.vm.there) for path in root.glob("jobs/*/events.jsonl")]
        return any(sign in path.read_text() for path in files)


@contextmanager
def documented_world(folder: Path) -> Iterator[World]:
    (folder / "vm").mkdir()
    with vm_here(folder / "vm") as vm:
        world = World(vm, folder / "templates")
        for kind, make in MAKERS.items():
            before = world.templates / "new"
            root = world.templates / kind
            if kind != "new":
                shutil.copytree(before, root)
            make(root)
            if kind != "compared":
                shutil.rmtree(root / "jobs", ignore_errors=True)
        try:
            yield world
        finally:
            world.end()
