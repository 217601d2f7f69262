"""`t2v init`: a workspace to begin with."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from t2v_core.files import staged_file
from t2v_core.workspace import Workspace
from t2v_tui.cli.main import Common

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


def init(
    ctx: typer.Context,
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Folder of the workspace. [default: --workspace, or this one]")
    ] = None,
    shapes: Annotated[
        bool, typer.Option("--shapes", help="Set up for the built-in world: small, no downloads, runs on a CPU.")
    ] = False,
) -> int:
    """Make a workspace: data/, checkpoints/, outputs/, jobs/ and a commented t2v.toml.

    What is already there stays as it is, so running it again is safe.

    \b
    Examples:
      t2v init                    here, for your own clips or MSR-VTT
      t2v init toy --shapes       in toy/, for the built-in world

    The workspace's path goes to stdout.
    """
    common: Common = ctx.obj
    asked = directory or common.workspace or Path(os.environ.get("T2V_WORKSPACE") or ".")
    workspace = Workspace(asked.expanduser().resolve())
    is_new = make_workspace(workspace, shapes=shapes)
    say(f"{'wrote' if is_new else 'kept'} {workspace.settings_file}")
    is_for_shapes = 'data = "data/shapes"' in workspace.settings_file.read_text()
    for line in _next_commands(workspace, shapes=is_for_shapes):
        say(line)
    print(workspace.root)
    return 0


def make_workspace(workspace: Workspace, *, shapes: bool) -> bool:
    """Make what is missing; return False when there was a t2v.toml, which stays as it is."""
    is_new = not workspace.settings_file.exists()
    if is_new:
        with staged_file(workspace.settings_file) as partial:
            partial.write_text(SHAPES if shapes else REAL)
    for folder in (workspace.root / "data", workspace.checkpoints, workspace.outputs, workspace.jobs):
        folder.mkdir(parents=True, exist_ok=True)
    return is_new


def _next_commands(workspace: Workspace, *, shapes: bool) -> list[str]:
    is_here = workspace.root == Path.cwd()
    lines = [] if is_here else [f"  cd {shlex.quote(str(workspace.root))}"]
    if shapes:
        lines.append("  t2v data shapes")
    else:
        say("put clips into data/msr-vtt/videos, captions (train_9k.json, test_1k.json) into data/msr-vtt/annotations")
    prompt = "a red circle moving right" if shapes else "a dog running in the grass"
    return ["next:", *lines, "  t2v preprocess", "  t2v train", f'  t2v generate "{prompt}"']


def say(text: str) -> None:
    print(text, file=sys.stderr)
