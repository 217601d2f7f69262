"""The previous system's folder on a VM, small: scripts, a venv with packages of its own, checkpoints, data, outputs.

The layout and the forms of its files are those that its users come with; only the weights are few and the clips three.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import torch

from support.hosts.laid_pip import make_venv_with_pip, make_venv_without

SCRIPTS = (
    "models.py", "models_unet3d_film.py", "preprocess.py", "train.py", "inference.py", "app.py",
    "add_noise_to_video.py", "refine_video_custom.py", "refine_video_epoch100.py",
)  # fmt: skip
EPOCHS = (1, 2, 5, 10, 100)
CLIPS = ("video0", "video1", "video7010")
OWN_PACKAGE = "accelerate_of_mine"
OURS = (".t2v", "jobs")
LONG_AGO_T = 1_700_000_000


def make_old_folder(root: Path, *, with_pip: bool = False) -> Path:
    """Make it below `root`, which is made too. with_pip: its venv has pip"""
    root.mkdir(parents=True, exist_ok=True)
    for name in SCRIPTS:
        (root / name).write_text(f'"""{name} of the previous system."""\nimport torch\n')
    (root / "TERMINAL_COMMANDS.md").write_text("gcloud compute ssh a100-golden\n")
    for name in ("input_video.mp4", "noisy_video.mp4"):
        (root / name).write_bytes(b"\0\0\0\x18ftypmp42" + bytes(200))
    make_venv(root / "venv", with_pip=with_pip)
    _checkpoints(root / "checkpoints")
    _data(root / "data/msr-vtt")
    (root / "outputs").mkdir()
    (root / "outputs/a-dog-running.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(300))
    for path in [*root.rglob("*"), root]:
        if not path.is_symlink():
            os.utime(path, (LONG_AGO_T, LONG_AGO_T))
    return root


def make_venv(folder: Path, *, with_pip: bool) -> None:
    site = make_venv_with_pip(folder) if with_pip else make_venv_without(folder)
    (site / OWN_PACKAGE).mkdir()
    (site / OWN_PACKAGE / "__init__.py").write_text("answer = 'mine'\n")
    info = site / f"{OWN_PACKAGE}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {OWN_PACKAGE}\nVersion: 0.1\n")


def _checkpoints(folder: Path) -> None:
    """As train.py wrote them: {epoch, model_state_dict, optimizer_state_dict, loss}; at the end the bare weights."""
    folder.mkdir()
    weights = {name: torch.ones(8, 4) for name in ("pos_embed", "input_proj.weight", "blocks.0.norm1.weight")}
    parameter = torch.nn.Parameter(torch.ones(8, 4))
    optimizer = torch.optim.AdamW([parameter], lr=1e-4, weight_decay=0.01)
    parameter.sum().backward()
    optimizer.step()
    for epoch in EPOCHS:
        loss = 0.86 - 0.55 * epoch / 100
        said = {
            "epoch": epoch,
            "model_state_dict": weights,
            "optimizer_state_dict": optimizer.state_dict(),
            "loss": loss,
        }
        torch.save(said, folder / f"checkpoint_epoch_{epoch}.pt")
    torch.save(weights, folder / "final_model.pt")


def _data(folder: Path) -> None:
    for name in ("videos", "annotations", "latents", "text_embeddings"):
        (folder / name).mkdir(parents=True)
    for number, clip in enumerate(CLIPS):
        draw = torch.Generator().manual_seed(number)
        (folder / "videos" / f"{clip}.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
        torch.save(torch.randn(16, 4, 32, 32, generator=draw), folder / "latents" / f"{clip}.pt")
        torch.save(torch.randn(1, 77, 512, generator=draw), folder / "text_embeddings" / f"{clip}.pt")
    captions = [{"video_id": clip, "caption": [f"a dog in {clip}", "an animal"]} for clip in CLIPS]
    (folder / "annotations/train_9k.json").write_text(json.dumps(captions))


def fingerprint(root: Path, *, but: tuple[str, ...] = OURS) -> dict[str, tuple[int, int, str]]:
    """Mode, mtime (ns) and sha256 or target of everything below by its name, except what is t2v's.

    The mtime of `root` itself changes with the first name in it, and does not count.
    """
    found = {}
    for folder, folders, files in os.walk(root):
        at = Path(folder)
        if at == root:
            folders[:] = [name for name in folders if name not in but]
        for name in (*folders, *files):
            path = at / name
            status = path.lstat()
            content = str(path.readlink()) if path.is_symlink() else ""
            if path.is_file() and not path.is_symlink():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(root))] = (status.st_mode, status.st_mtime_ns, content)
    return found
