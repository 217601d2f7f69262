"""The loss on clips that training never sees, at the end of each epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from t2v_core.data.store.batches import generator_for, load_batch
from t2v_core.events import ScoreEvent
from t2v_core.training.callbacks.callback import Callback
from t2v_core.training.sharding import is_sharded

if TYPE_CHECKING:
    from t2v_core.training.trainer import Trainer

QUANTILES = 4


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Let nothing be dropped out while inside."""
    model.eval()
    try:
        yield
    finally:
        model.train()


class HeldOutLoss(Callback):
    """Measures the averaged weights at fixed timesteps with fixed noise, so that every epoch is asked the same."""

    def on_step_end(self, trainer: Trainer) -> None:
        """Measure at the end of an epoch; a checkpoint within one must not be ranked by the loss of an earlier one."""
        trainer.run.held_out_loss = self.measure(trainer) if trainer.run.is_at_epoch_end else None

    @torch.no_grad()
    def measure(self, trainer: Trainer) -> float | None:
        """Return the loss; None without held-out clips, in the other processes, and when it is not finite.

        Timesteps weigh the same whatever training's weights are, so that runs of one objective can be compared.
        """
        run = trainer.run
        # Of a model that is divided among the processes none can compute alone.
        if not run.held_out or not (trainer.accelerator.is_main_process or is_sharded(run.plain_model)):
            return None
        loss = self._mean_error(trainer)
        if not math.isfinite(loss):  # it would rank as the best of all checkpoints
            trainer.job.events.warning(
                f"the held-out loss is not finite at step {run.step}", hint="look at the held-out clips"
            )
            return None
        trainer.job.events.emit(ScoreEvent("held_out_loss", round(loss, 6), run.step))
        if trainer.accelerator.is_main_process:
            run.tracker.step(run.step, {"held_out_loss": loss})
        return loss

    def _mean_error(self, trainer: Trainer) -> float:
        run, spec = trainer.run, trainer.spec
        size, total = spec.batch_size, 0.0
        model = run.plain_model  # the wrapped one would wait for the other processes
        with run.ema.swapped_in(model), at_rest(model):
            for begin, rows in _batches(run.store.by_shape(run.held_out), size):
                trainer.check_stop_alone()
                batch = load_batch(run.store, rows, spec.seed, 0)
                quantiles = run.objective_at(batch.latents.shape[1:]).quantile_timesteps(QUANTILES)
                for number, timestep in enumerate(quantiles):
                    generator = generator_for(spec.seed, "held-out", begin, number)
                    noise = torch.randn(batch.latents.shape, generator=generator)
                    at = timestep.expand(len(batch.latents))
                    error = trainer.error(model, batch.latents, noise, at, run.fit(batch.prompts))
                    total += float(error) * len(batch.latents)
        return total / (len(run.held_out) * QUANTILES)


def _batches(buckets: Iterable[list[int]], size: int) -> Iterator[tuple[int, list[int]]]:
    """Batches of clips of one shape, each with how many came before it."""
    before = 0
    for rows in buckets:
        for begin in range(0, len(rows), size):
            yield before + begin, rows[begin : begin + size]
        before += len(rows)
