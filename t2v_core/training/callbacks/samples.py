"""Videos made while training, to look at: held-out captions, the same noise at every checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from t2v_core.assemble import is_flow_map, load_pipeline
from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.data.video.frames import write_video
from t2v_core.data.video.timing import bounded
from t2v_core.diffusion.denoising import Progress
from t2v_core.disk.files import write_json
from t2v_core.errors import NotEnoughMemory, NotFinite
from t2v_core.events import SampleEvent
from t2v_core.job import Job
from t2v_core.presets import MAP_STEPS
from t2v_core.specs import MAX_SEED
from t2v_core.training.callbacks.callback import Callback
from t2v_core.training.callbacks.drawing import Drawing
from t2v_core.training.run import TrainingRun
from t2v_core.workspace import Workspace

if TYPE_CHECKING:
    from t2v_core.training.trainer import Trainer

STEPS, GUIDANCE = 20, 2.0


class Samples(Callback):
    """Makes them from every checkpoint, where the run asks for any."""

    def on_checkpoint(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        """Write the samples of a checkpoint. Raises Stopped when asked to end meanwhile."""
        if trainer.spec.samples:
            write_samples(trainer.run, checkpoint, trainer.job, check_stop=trainer.check_stop_alone)


def write_samples(run: TrainingRun, checkpoint: Checkpoint, job: Job, *, check_stop: Callable[[], None]) -> None:
    """Write `spec.samples` videos to outputs/samples/, each run and checkpoint in a folder of its own.

    What a video lacks to be drawn ends no training: it is said, and the rest is left out.
    """
    rows = (run.held_out or list(run.plan.clips))[: run.spec.samples]
    folder = samples_folder(job.workspace, checkpoint.path)
    with _drawing(run, checkpoint, lambda _done, _total: check_stop()) as drawing:
        for number, row in enumerate(rows):
            check_stop()
            try:
                frames = drawing.draw(row, run.spec.seed + number)
            except NotFinite as error:  # training has its own eye on its weights
                job.events.warning(f"no sample of {checkpoint.path.name}: {error.message}", hint=error.hint)
                return
            except (torch.OutOfMemoryError, NotEnoughMemory):
                job.events.warning(
                    f"no sample of {checkpoint.path.name}: the GPU's memory holds no more beside the training",
                    hint="t2v train --resume --samples 0 draws none",
                )
                return
            path, prompt = folder / f"{number}.mp4", run.store.texts(row)[0]
            write_video(path, frames.numpy(), fps=bounded(run.fps))
            settings = settings_of(path, prompt, run, checkpoint, frames, number)
            settings["spec"] |= {"steps": drawing.steps, "guidance_scale": drawing.guidance}
            write_json(path.with_suffix(".json"), settings | {"job": job.directory.name})
            job.events.emit(SampleEvent(str(job.workspace.relative(path)), prompt=prompt, step=checkpoint.step))


def _drawing(run: TrainingRun, checkpoint: Checkpoint, progress: Progress) -> AbstractContextManager[Drawing]:
    if run.spec.model is None:
        return _own_drawing(run, checkpoint, progress)
    from t2v_core.training.callbacks.open_samples import open_drawing  # diffusers' families, which ours need not

    return open_drawing(run, checkpoint, progress)


@contextmanager
def _own_drawing(run: TrainingRun, checkpoint: Checkpoint, progress: Progress) -> Iterator[Drawing]:
    """The checkpoint is read back on the CPU first and the pipeline goes away afterwards.

    So training's own memory never holds both for longer than the samples take.
    """
    pipeline = load_pipeline(checkpoint, device=run.spec.device, precision=run.spec.precision)
    steps, guidance = (MAP_STEPS, 1.0) if is_flow_map(checkpoint) else (STEPS, GUIDANCE)

    def draw(row: int, seed: int) -> Tensor:
        prompt = run.store.texts(row)[0]
        output = pipeline(prompt, num_inference_steps=steps, guidance_scale=guidance, seed=seed, progress=progress)
        return output.frames[0]

    yield Drawing(draw, steps, guidance)


def samples_folder(workspace: Workspace, checkpoint: Path) -> Path:
    """Return the folder of a checkpoint's samples.

    It is `outputs/samples/CHECKPOINT`; for a run that is not in `checkpoints/`,
    `outputs/samples/ITS/FOLDER/CHECKPOINT`.

    Checkpoints of two runs have the same names, so the run's folder tells their samples apart.
    """
    folder = Path(os.path.normpath(checkpoint.parent))
    if folder == workspace.checkpoints:
        return workspace.outputs / "samples" / checkpoint.name
    own = workspace.relative(folder)
    return workspace.outputs / "samples" / own.relative_to(own.anchor) / checkpoint.name


def settings_of(
    path: Path, prompt: str, run: TrainingRun, checkpoint: Checkpoint, frames: Tensor, number: int
) -> dict[str, Any]:
    """Return what stands beside a sample.

    It is in the words of `t2v generate`, which makes the sample again from the same checkpoint.

    frames: (frames, height, width, 3)
    """
    spec = {
        "prompt": prompt, "seed": (run.spec.seed + number) % (MAX_SEED + 1),
        "checkpoint": str(checkpoint.path),
    }  # fmt: skip
    video = {"file": path.name, "frames": len(frames), "size": list(frames.shape[1:3]), "fps": run.fps}
    made_by = {"path": str(checkpoint.path), "step": checkpoint.step, "preset": run.spec.preset}
    return {"verb": "generate", "spec": spec, "video": video, "checkpoint": made_by}
