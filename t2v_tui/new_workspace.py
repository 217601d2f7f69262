"""A workspace to begin with: its folders and a commented t2v.toml. For `t2v init` and the terminal UI."""

from __future__ import annotations

from pathlib import Path

from remote.workspace_id import identity
from t2v_core.disk.files import describe_os_error, staged_file
from t2v_core.disk.private import make_private
from t2v_core.workspace import Workspace

_HEAD = """\
# Settings of this t2v workspace. Flags and T2V_* variables go before them; paths are relative to this file.
# A key at the top holds for every command that has such a setting; a section below holds for one command.
# `t2v COMMAND --help` lists what each command can be told: --batch-size there is batch_size here.

"""

REAL = (
    _HEAD
    + """\
data = "data/msr-vtt"                           # videos/ and annotations/ inside
vae = "stabilityai/sd-vae-ft-mse"               # hub id, or a local folder
text_encoder = "openai/clip-vit-base-patch32"   # hub id, or a local folder
# device = "cuda"                               # auto, cpu, cuda, mps
# precision = "bf16"                            # auto, fp32, bf16, fp16
# checkpoints = "checkpoints"

[preprocess]
# frames = 16
# size = 256

[train]
preset = "base"                                 # seed, base, tiny, unet3d or unet3d-tiny
# epochs = 100
# batch_size = 2

[generate]
# steps = 20
# guidance_scale = 2.0
"""
)

SHAPES = (
    _HEAD
    + """\
# The built-in world, with the encoders that come with t2v: nothing to download.
data = "data/shapes"
vae = "embedded"
text_encoder = "embedded"
# device = "cpu"                                # auto, cpu, cuda, mps

[preprocess]
frames = 8
size = 64

[train]
preset = "tiny"                                 # a million weights: minutes on a CPU
# epochs = 40

[generate]
# steps = 20
# guidance_scale = 2.0
"""
)


def make_workspace(workspace: Workspace, *, shapes: bool) -> bool:
    """Make what is missing; return False when there was a t2v.toml, which stays as it is. Raises EngineError."""
    try:
        is_new = not workspace.settings_file.exists()
        if is_new:
            with staged_file(workspace.settings_file, mode=0o600) as partial:
                partial.write_text(SHAPES if shapes else REAL)
        for folder in (workspace.root / "data", workspace.checkpoints, workspace.outputs):
            folder.mkdir(parents=True, exist_ok=True)
        make_private(workspace.jobs)
        identity(workspace)
    except OSError as error:
        raise describe_os_error(error, Path(error.filename or workspace.root)) from error
    return is_new
