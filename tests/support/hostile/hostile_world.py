"""A workspace with everything in it that t2v makes and reads, small; and what has changed of it."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from support.engine.forked_command import FORKS
from support.hostile.hostile_files import take_away
from t2v_core.workspace import Workspace

SETTINGS = """\
device = "cpu"
data = "data/shapes"
vae = "embedded"
text_encoder = "embedded"
[shapes]
data = "data/new"
clips = 2
test_clips = 2
frames = 4
size = 32
[preprocess]
frames = 4
size = 32
[check]
workers = 1
[import-latents]
data = "data/imported"
vae = "models/vae"
text_encoder = "models/clip"
[train]
preset = "tiny"
checkpoints = "new"
max_steps = 1
batch_size = 2
held_out_clips = 1
samples = 0
[estimate]
probe = false
[verify-resume]
steps = 8
[generate]
steps = 1
[refine]
steps = 2
strength = 1.0
[evaluate]
prompts = 2
seeds = 1
steps = 1
[refine.named]
prompt = "a red circle"
[host.closed]
address = "127.0.0.1"
port = 9
[host.odd]
address = "127.0.0.1"
port = 9
[host.vm]
provider = "gcloud"
project = "proj"
zone = "us-central1-a"
"""


def with_setting(section: str, key: str, value: str) -> str:
    """The settings with one of them otherwise, whatever its value does to them."""
    text = SETTINGS if f"[{section}]\n" in SETTINGS else f"{SETTINGS}[{section}]\n"
    head, own, rest = text.partition(f"[{section}]\n")
    lines = rest.splitlines(keepends=True)
    end = next((at for at, line in enumerate(lines) if line.startswith("[")), len(lines))
    kept = [line for line in lines[:end] if not line.startswith(f"{key} =")]
    return "".join([head, own, f"{key} = {value}\n", *kept, *lines[end:]])


def make_world(root: Path, home: Path) -> None:
    """In a process that has the engine: clips, latents, checkpoints of both systems, videos, a job, a trash."""
    (home / ".ssh").mkdir(parents=True)
    root.mkdir()
    (root / "t2v.toml").write_text(SETTINGS)
    (root / "notes.txt").write_text("mine\n")
    import torch

    from support.engine.ended_jobs import name_two_runs
    from support.engine.engine import job_here
    from support.engine.small_checkpoint import save_small_checkpoint
    from support.engine.tiny_models import save_clip, save_vae
    from support.previous.old_system import old_adamw, old_model, save_old_checkpoint
    from t2v_core.data.shapes.shapes_set import make_set
    from t2v_core.specs import ShapesSpec
    from t2v_tui.library.trash import put_away

    job = job_here(root, "shapes")
    make_set(ShapesSpec(data=root / "data/shapes", clips=6, test_clips=2, frames=4, size=32), job)
    job.events.close()
    shutil.rmtree(job.directory)
    for step in (12, 13, 14):
        save_small_checkpoint(root, step=step)
    put_away(Workspace(root), ["checkpoints/checkpoint_step_14"], time.time())
    clip = sorted((root / "data/shapes/videos").glob("*.mp4"))[0]
    shutil.copy(clip, root / "in.mp4")
    save_vae(root / "models/vae")
    save_clip(root / "models/clip", max_length=77)
    model = old_model(dim=64, heads=1, pairs=1, side=8, text_dim=16)
    save_old_checkpoint(root / "old.pt", model, old_adamw(model), 3)
    for name, shape in (("latents", (16, 4, 32, 32)), ("text_embeddings", (1, 77, 512))):
        (root / "old" / name).mkdir(parents=True)
        torch.save(torch.zeros(shape), root / "old" / name / f"{clip.stem}.pt")
    (root / "old/annotations").mkdir()
    (root / "old/annotations/train_9k.json").write_text(json.dumps([{"video_id": clip.stem, "caption": "a"}]))
    name_two_runs(root)


@dataclass
class World:
    """root: the workspace; template: the same as it was made; home: of whoever works there"""

    base: Path
    known: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.base / "work"

    @property
    def home(self) -> Path:
        return self.base / "home"

    @property
    def template(self) -> Path:
        return self.base / "template"

    def make(self) -> None:
        process = FORKS.Process(target=make_world, args=(self.root, self.home))
        process.start()
        process.join(120)
        assert process.exitcode == 0

    def remember(self) -> None:
        """What is there now is how it has to be."""
        shutil.copytree(self.root, self.template, symlinks=True)
        self.known = looked_at(self.root)

    @property
    def places(self) -> list[str]:
        """Every file and folder that a person or a broken disk could put something else into."""
        return sorted(self.known)

    def lost(self) -> list[str]:
        """What is not as it was: gone, or with other bytes."""
        now = looked_at(self.root)
        return [path for path, seen in self.known.items() if now.get(path) != seen and not self._is_same(path)]

    def _is_same(self, path: str) -> bool:
        one, other = self.root / path, self.template / path
        if other.is_dir():
            return one.is_dir()
        if one.is_symlink() or not one.is_file() or one.stat().st_size != other.stat().st_size:
            return False
        return os.access(one, os.R_OK) and one.read_bytes() == other.read_bytes()

    def restore(self) -> None:
        """As it was made."""
        for path in sorted(looked_at(self.root).keys() - self.known.keys(), reverse=True):
            take_away(self.root / path)
        for path in sorted(self.lost()):
            if (self.template / path).is_dir():
                take_away(self.root / path)
                (self.root / path).mkdir()
                continue
            take_away(self.root / path)
            shutil.copy2(self.template / path, self.root / path)
        self.known = looked_at(self.root)


def looked_at(root: Path) -> dict[str, tuple[int, ...]]:
    """What changes with every write, by path; a folder is there or not."""
    found: dict[str, tuple[int, ...]] = {}
    for folder, folders, files in os.walk(root):
        for name in folders:
            at = Path(folder) / name
            found[str(at.relative_to(root))] = (0,) if not at.is_symlink() else (1,)
        for name in files:
            at = Path(folder) / name
            status = at.lstat()
            found[str(at.relative_to(root))] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode)
    return found
