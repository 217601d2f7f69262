"""What a file or folder is, by cheap signs: its name, its first bytes, the names in it. Pure: nothing is opened.

A new kind is a line in a table; a kind that can say more of itself gets a reader in `listing.DETAILS`.
"""

from __future__ import annotations

import re
from collections.abc import Collection

HEAD_BYTES = 160

OLD_CHECKPOINT = "checkpoint of the previous system"
OLD_WEIGHTS = "weights of the previous system"
OLD_LATENTS = "latents of the previous system"
OLD_TEXT = "text embeddings of the previous system"
CHECKPOINT, PARTIAL_CHECKPOINT = "t2v checkpoint", "t2v checkpoint, not complete"
THEIR_PYTHON, OUR_PYTHON = "Python environment (not ours)", "Python environment of t2v"
VIDEO, SCRIPT = "video", "script"
TORCH, NOT_TORCH, EMPTY = "torch file", "not a torch file: damaged or cut short", "empty file"

OLD_NAME = re.compile(r"checkpoint_epoch_\d+\.pt")
OUR_NAME = re.compile(r"checkpoint_(epoch|step)_\d+")
TORCH_NAMES = (".pt", ".pth", ".ckpt")
BY_FOLDER = {"latents": OLD_LATENTS, "text_embeddings": OLD_TEXT}
BY_SUFFIX = {
    ".mp4": VIDEO, ".m4v": VIDEO, ".mov": VIDEO, ".mkv": VIDEO, ".webm": VIDEO, ".avi": VIDEO, ".mpg": VIDEO,
    ".mpeg": VIDEO, ".wmv": VIDEO, ".asf": VIDEO, ".flv": VIDEO, ".f4v": VIDEO, ".mts": VIDEO, ".m2ts": VIDEO,
    ".vob": VIDEO, ".3gp": VIDEO, ".3g2": VIDEO, ".ogv": VIDEO, ".divx": VIDEO, ".mxf": VIDEO, ".gif": VIDEO,
    ".webp": "picture",
    ".png": "picture", ".jpg": "picture", ".svg": "picture", ".py": SCRIPT, ".sh": SCRIPT, ".ipynb": "notebook",
    ".safetensors": "weights", ".json": "JSON", ".jsonl": "JSON lines", ".csv": "table", ".md": "text", ".txt": "text",
    ".log": "log", ".toml": "settings", ".yaml": "settings", ".yml": "settings", ".zip": "archive", ".tar": "archive",
    ".gz": "archive", ".npy": "numpy array", ".npz": "numpy arrays", ".part": "unfinished transfer",
}  # fmt: skip
BY_NAME = {"t2v.toml": "t2v settings", "requirements.txt": "list of packages", "manifest.json": "t2v manifest"}
FOLDERS = {
    ".t2v": "t2v's own", "jobs": "jobs of t2v", "outputs": "outputs", "videos": "clips", "annotations": "captions",
    "data": "data sets", "checkpoints": "checkpoints", "latents": "latents", "text_embeddings": "text embeddings",
    "__pycache__": "Python's cache",
}  # fmt: skip


def wants_head(name: str) -> bool:
    """Tell whether the first bytes of a file of that name say more than the name does."""
    return name.lower().endswith(TORCH_NAMES) or "." not in name


def kind_of_file(name: str, size: int, head: bytes | None, folder: str) -> str:
    """Return what a file is, in words.

    head: its first HEAD_BYTES; None when they were not read. folder: the name of the one that it lies in
    """
    lower = name.lower()
    if size == 0:
        return EMPTY
    if lower.endswith(TORCH_NAMES):
        if head is not None and not _is_torch(head):
            return NOT_TORCH
        return _torch_kind(name, folder)
    if lower in BY_NAME:
        return BY_NAME[lower]
    if head is not None and head.startswith(b"#!"):
        return SCRIPT
    return next((kind for suffix, kind in BY_SUFFIX.items() if lower.endswith(suffix)), "file")


def _torch_kind(name: str, folder: str) -> str:
    if OLD_NAME.fullmatch(name):
        return OLD_CHECKPOINT
    if name == "final_model.pt":
        return OLD_WEIGHTS
    return BY_FOLDER.get(folder, TORCH)


def _is_torch(head: bytes) -> bool:
    """A zip whose first entry is `NAME/data.pkl`, as torch.save writes it since 1.6; before, a bare pickle.

    Source: PKWARE APPNOTE 4.3.7, local file header: the length of the name at byte 26, the name from byte 30.
    """
    if head.startswith(b"PK\x03\x04") and len(head) >= 30:
        length = int.from_bytes(head[26:28], "little")
        return b"/" in head[30 : 30 + length]
    return head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"


def kind_of_folder(name: str, names: Collection[str], *, is_complete: bool | None) -> str:
    """Return what a folder is, in words.

    names: of what lies in it, or the first hundreds; is_complete: by its manifest, None when it needs none
    """
    if "pyvenv.cfg" in names:
        is_ours = "t2v-made.json" in names or "t2v-installed.json" in names
        return OUR_PYTHON if is_ours else THEIR_PYTHON
    if OUR_NAME.fullmatch(name):
        return CHECKPOINT if is_complete else PARTIAL_CHECKPOINT
    if any(OLD_NAME.fullmatch(one) for one in names):
        return "checkpoints, also of the previous system" if _has_ours(names) else "checkpoints of the previous system"
    if name in BY_FOLDER and any(one.endswith(".pt") for one in names):
        return BY_FOLDER[name]
    if ".git" in names:
        return "git repository"
    return FOLDERS.get(name, "folder")


def _has_ours(names: Collection[str]) -> bool:
    return any(OUR_NAME.fullmatch(one) for one in names)
