"""Samples of an open model while it trains: drawn by its own transformers, with prompts of the data set.

No text encoder is needed, and the VAE is there only as long as it decodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.diffusion.denoising import Progress
from t2v_core.diffusion.guidance import Guidance
from t2v_core.diffusion.open_pipeline import OpenPipeline
from t2v_core.models.conditioning import Conditioning
from t2v_core.models.open.denoiser import OpenDenoiser
from t2v_core.training.callbacks.drawing import Drawing
from t2v_core.training.run import TrainingRun
from t2v_core.training.trained import trained


@contextmanager
def open_drawing(run: TrainingRun, checkpoint: Checkpoint, progress: Progress) -> Iterator[Drawing]:
    """Let the run's model draw as a checkpoint of it does, in the size of the data and with its makers' settings.

    progress: called after each step; what it raises ends it
    """
    denoiser = run.plain_model
    assert isinstance(denoiser, OpenDenoiser)
    model, store = denoiser.model, run.store
    frames, _, rows, columns = store.shape
    time, side = model.ratios
    pipeline = OpenPipeline(model, (frames - 1) * time + 1, (rows * side, columns * side))
    pipeline.know("", model.padded(Conditioning.of([store.null_prompt])))
    usual = model.usual

    def draw(row: int, seed: int) -> Tensor:
        prompt = store.texts(row)[0]
        pipeline.know(prompt, model.padded(Conditioning.of([store.caption(row, 0)])))
        guidance = Guidance(usual.guidance)
        latents = pipeline.draw(
            [prompt], frames=frames, steps=usual.steps, guidance=guidance, seed=seed, progress=progress
        )
        return pipeline.decode(latents)[0]

    with _as_saved(run, checkpoint):
        try:
            yield Drawing(draw, usual.steps, usual.guidance)
        finally:
            model.parts.forget("vae")


@contextmanager
def _as_saved(run: TrainingRun, checkpoint: Checkpoint) -> Iterator[None]:
    """While inside, the model has the averages of a checkpoint, which may be some steps old; afterwards its own."""
    model = run.plain_model
    parameters = trained(model) if run.adapter is None else run.adapter.parameters()
    own = {name: parameter.detach().to("cpu", copy=True) for name, parameter in parameters.items()}
    _put(parameters, checkpoint.weights("ema"))
    model.eval()
    try:
        yield
    finally:
        _put(parameters, own)
        model.train()


@torch.no_grad()
def _put(parameters: dict[str, torch.nn.Parameter], values: dict[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
