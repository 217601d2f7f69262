"""The picture of docs/how-to/train.md: two real trainings on the built-in world, their report, and a real browser.

PYTHONPATH=tests python docs/make_report_picture.py     writes docs/report.png; takes some minutes
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from support.screen.browser import chromium, environment

DOCS = Path(__file__).parent
COLOURS = 128
SETTINGS = """
device = "cpu"
data = "data/shapes"
vae = "embedded"
text_encoder = "embedded"
[train]
preset = "tiny"
batch_size = 4
gradient_accumulation = 1
warmup_steps = 0
samples = 2
held_out_clips = 8
checkpoint_every = 1
keep_last = 9
"""
RUNS = {"baseline": "2e-4", "bolder": "1e-3"}


def t2v(root: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "t2v_tui.cli.main", *words], cwd=root, env=environment(), check=True)


def make_runs(root: Path) -> None:
    (root / "t2v.toml").write_text(SETTINGS)
    t2v(root, "data", "shapes", "--clips", "96", "--test-clips", "12")
    t2v(root, "preprocess", "--frames", "8", "--size", "64")
    t2v(root, "data", "check", "--frames", "8")
    for name, rate in RUNS.items():
        folder = f"checkpoints/{name}"
        t2v(root, "train", "--base", "embedded", "--learning-rate", rate, "--epochs", "3", "--checkpoints", folder)
        job = max(path.name for path in (root / "jobs").glob("*-train-*"))
        t2v(root, "runs", "name", job, name)
        checkpoint = f"{folder}/checkpoint_epoch_3"
        t2v(root, "evaluate", "--checkpoint", checkpoint, "--prompts", "8", "--seeds", "1", "--steps", "10")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        root = Path(folder)
        make_runs(root)
        t2v(root, "report", *RUNS, "--to", "both.html")
        page = browser.new_page(viewport={"width": 1280, "height": 1550})
        page.goto((root / "both.html").as_uri())
        page.wait_for_function("() => [...document.querySelectorAll('video')].every(one => one.readyState > 3)")
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(COLOURS)
        picture.save(DOCS / "report.png", optimize=True)


if __name__ == "__main__":
    main()
