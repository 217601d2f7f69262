"""What lies in the workspaces, here and on a host, side by side: checkpoints and videos. Plain values, no reading."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from remote.replies.files import OldCheckpoint
from t2v_core.disk.plain_text import prompts_in

VIDEO_SUFFIXES = (".mp4", ".gif", ".webp")
SHIPPED = "embedded/denoiser"
SHIPPED_NAME = "embedded"
# It draws in 4 passes.
SHIPPED_FAST = "embedded/fast"
FAST_NAME = "embedded-fast"
PREVIOUS = "previous system"
# What is asked again for another seed; the rest is where the video went.
AGAIN = (
    "prompt", "steps", "guidance_scale", "guidance_rescale", "sampler", "weights", "frames", "fps", "checkpoint",
    "vae", "text_encoder", "lora", "model", "height", "width", "negative_prompt", "offload", "vae_tiling", "quantize",
    "prompts", "seeds", "guidance_scales",
)  # fmt: skip


@dataclass(frozen=True)
class CheckpointView:
    """One checkpoint in one place.

    why:   it is not complete; empty when it is
    loss:  held-out loss; of the previous system's the training loss
    files: (name, bytes), which two copies of one checkpoint share
    is_old: a `.pt` of the previous system
    """

    name: str
    size_bytes: int
    why: str = ""
    step: int | None = None
    epoch: int | None = None
    loss: float | None = None
    preset: str = ""
    changed_t: float = 0.0
    files: tuple[tuple[str, int], ...] = ()
    is_old: bool = False

    @property
    def is_complete(self) -> bool:
        """Return True when `why` says nothing against it."""
        return not self.why

    @property
    def path(self) -> str:
        """Return the path relative to the workspace."""
        return f"checkpoints/{self.name}"


@dataclass(frozen=True)
class CheckpointPair:
    """One checkpoint, wherever it is.

    scores:  (name, value), the newest of each
    samples: videos made from it, here and on the host, relative to the workspace
    """

    name: str
    here: CheckpointView | None = None
    there: CheckpointView | None = None
    scores: tuple[tuple[str, float], ...] = ()
    samples: tuple[str, ...] = ()

    @property
    def any(self) -> CheckpointView:
        """Return the better known one."""
        both = [view for view in (self.here, self.there) if view is not None]
        return max(both, key=lambda view: (view.is_complete, view.step is not None))

    @property
    def is_same(self) -> bool:
        """Return True when both are complete and hold the same files."""
        return (
            self.here is not None
            and self.there is not None
            and self.here.is_complete
            and self.there.is_complete
            and self.here.files == self.there.files
            # All of the previous system's have the same size.
            and (not self.here.is_old or (self.here.epoch, self.here.loss) == (self.there.epoch, self.there.loss))
        )

    def is_only_copy(self, *, here: bool) -> bool:
        """Tell whether it is a complete one, of which no other complete one is known."""
        one, other = (self.here, self.there) if here else (self.there, self.here)
        return one is not None and one.is_complete and not (other is not None and self.is_same)


@dataclass(frozen=True)
class VideoView:
    """One video.

    path:     relative to its workspace
    settings: the spec that made it, as its .json says; empty when there is none
    is_favourite: somebody said so in this workspace
    beside:   that .json, relative to the workspace; empty when there is none, or when it may be another video's
    """

    path: str
    size_bytes: int
    changed_t: float
    is_here: bool = True
    is_there: bool = False
    verb: str = ""
    prompt: str = ""
    checkpoint: str = ""
    step: int | None = None
    frames: int | None = None
    fps: float | None = None
    size: tuple[int, int] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    beside: str = ""
    is_favourite: bool = False

    @property
    def name(self) -> str:
        """Return the file's name."""
        return PurePosixPath(self.path).name

    @property
    def title(self) -> str:
        """Return the prompt, or where it lies."""
        return self.prompt or self.path.removeprefix("outputs/")


def side_by_side(
    here: Sequence[CheckpointView],
    there: Sequence[CheckpointView],
    scores: Mapping[str, Mapping[str, float]],
    videos: Sequence[VideoView],
) -> tuple[CheckpointPair, ...]:
    """Pair the checkpoints of both places by name, the newest first."""
    ours, theirs = ({view.name: view for view in views} for views in (here, there))
    samples: dict[str, list[str]] = {}
    for video in videos:
        samples.setdefault(video.checkpoint, []).append(video.path)
    pairs = [
        CheckpointPair(
            name, ours.get(name), theirs.get(name), tuple(scores.get(name, {}).items()), tuple(samples.get(name, ()))
        )
        for name in {**theirs, **ours}
    ]
    return tuple(sorted(pairs, key=newest_first))


def newest_first(pair: CheckpointPair) -> tuple[bool, float, str]:
    """Return what checkpoints are sorted by: ours by their steps, then the previous system's by their epochs."""
    view = pair.any
    if view.is_old:
        return (True, -(view.epoch or 0), pair.name)
    return (False, -math.inf if view.step is None else -view.step, pair.name)


def both_places(here: Sequence[VideoView], there: Sequence[VideoView]) -> tuple[VideoView, ...]:
    """Join the videos of both places by path, the newest first; one that is here is told by what is here."""
    theirs = {video.path: video for video in there}
    ours = [replace(video, is_there=video.path in theirs) for video in here]
    known = {video.path for video in here}
    others = [replace(video, is_here=False, is_there=True) for path, video in theirs.items() if path not in known]
    return tuple(sorted([*ours, *others], key=lambda video: (-video.changed_t, video.path)))


def info_of_checkpoint(view: CheckpointView, trainer: Mapping[str, Any]) -> CheckpointView:
    """Return the view with what its `trainer.json` says; what is not there or of another kind stays unknown."""
    spec = trainer.get("spec")
    step, epoch, loss = trainer.get("step"), trainer.get("epoch"), trainer.get("held_out_loss")
    return replace(
        view,
        step=step if isinstance(step, int) else None,
        epoch=epoch if isinstance(epoch, int) else None,
        loss=float(loss) if isinstance(loss, int | float) and math.isfinite(loss) else None,
        preset=_what_was_trained(spec) if isinstance(spec, dict) else "",
    )


def _what_was_trained(spec: Mapping[str, Any]) -> str:
    """A preset, or the name of an open model; `LoRA of` it, where an adapter was."""
    model = spec.get("model")
    name = PurePosixPath(model).name if isinstance(model, str) else str(spec.get("preset", ""))
    return f"LoRA of {name}" if spec.get("lora") is True else name


def old_checkpoint(entry: OldCheckpoint) -> CheckpointView:
    """Return the view of a `.pt` of the previous system, as the agent lists it."""
    path = PurePosixPath(entry.path)
    return CheckpointView(
        str(path),
        entry.size_bytes,
        entry.why,
        epoch=entry.epoch if isinstance(entry.epoch, int) else None,
        loss=entry.loss,
        preset=f"{PREVIOUS}, {entry.model}" if entry.model else PREVIOUS,
        changed_t=entry.mtime,
        files=((path.name, entry.size_bytes),),
        is_old=True,
    )


def info_of_video(view: VideoView, said: Mapping[str, Any]) -> VideoView:
    """Return the view with what the .json beside it says."""
    spec, video, checkpoint = (_table(said.get(name)) for name in ("spec", "video", "checkpoint"))
    size, step = video.get("size"), checkpoint.get("step")
    fps, frames = video.get("fps"), video.get("frames")
    return replace(
        view,
        verb=str(said.get("verb", "")),
        prompt=str(spec.get("prompt", "")) or prompts_in_words(spec.get("prompts")),
        checkpoint=PurePosixPath(checkpoint_asked(str(checkpoint.get("path", "")))).name or _open_model(said),
        step=step if isinstance(step, int) else None,
        frames=frames if isinstance(frames, int) else None,
        fps=float(fps) if isinstance(fps, int | float) else None,
        size=(size[1], size[0]) if isinstance(size, list) and [type(one) for one in size] == [int, int] else None,
        settings=spec,
    )


def prompts_in_words(prompts: object) -> str:
    """Return the first prompt of a sheet, and how many more there are; empty for what is no text."""
    lines = prompts_in(prompts) if isinstance(prompts, str) else []
    return f"{lines[0]} and {len(lines) - 1} more prompts" if lines[1:] else "".join(lines)


def _open_model(said: Mapping[str, Any]) -> str:
    """The name of the open model that made a video, without its owner or folder; empty for one of a checkpoint."""
    return PurePosixPath(str(_table(said.get("model")).get("id", ""))).name


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


CHECKPOINT = "checkpoint_"


def checkpoint_asked(path: str) -> str:
    """Return how a checkpoint is asked for in any workspace: `checkpoints/NAME`, or the name of one that is shipped.

    A run that has a folder of its own in `checkpoints/` keeps it: `checkpoints/RUN/NAME`.
    """
    if path.endswith(SHIPPED):
        return SHIPPED_NAME
    if path.endswith(SHIPPED_FAST):
        return FAST_NAME
    parts = PurePosixPath(path).parts
    if len(parts) >= 3 and parts[-3] == "checkpoints" != parts[-2]:
        return "/".join(parts[-3:])
    return f"checkpoints/{parts[-1]}" if "/" in path else path


def is_checkpoint(name: str) -> bool:
    """Tell whether it is one by the name of its folder; others may hold the checkpoints of one run."""
    return name.startswith(CHECKPOINT)


def shown_name(name: str) -> str:
    """Return the short form of a name: `checkpoint_epoch_20` as `epoch 20`.

    One of the previous system keeps its `.pt`, and its `final_model.pt` is `final`; in the folder of a run of its own,
    `20261125-1309/…`, it is `1309/ep 20`.
    """
    run, _, leaf = name.rpartition("/")
    words = leaf.removeprefix(CHECKPOINT).removesuffix("_model.pt").replace("_", " ")
    return f"{run.rpartition('-')[2]}/{words.replace('epoch', 'ep').replace('step', 'st')}" if run else words


def again(video: VideoView, seed: int) -> dict[str, Any]:
    """Return what to ask for the same video from other noise."""
    values = {name: video.settings[name] for name in AGAIN if video.settings.get(name) is not None}
    if "checkpoint" in values:
        values["checkpoint"] = checkpoint_asked(str(values["checkpoint"]))
    return values | {"seed": seed}
