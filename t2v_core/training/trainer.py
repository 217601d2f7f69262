"""The training loop: it knows an objective, a plan of batches and callbacks, which do everything beside the steps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.data.store.batches import Batch, drop_captions, generator_for, load_batch
from t2v_core.errors import Stopped, WorkFailed
from t2v_core.events.results import Trained
from t2v_core.job import Job
from t2v_core.models.conditioning import Conditioning, null_prompt
from t2v_core.processes.in_order import in_order
from t2v_core.training.callbacks.callback import Callback
from t2v_core.training.loss import prediction_error
from t2v_core.training.pace.own_work import OwnWork
from t2v_core.training.run import TrainingRun
from t2v_core.training.sharding import whole


class Trainer:
    """Optimiser steps, and the moments at which callbacks act; without callbacks it trains and does nothing else.

    loss, grad_norm: of the last step, over all its forward passes and processes; NaN before the first
    batches, own_work: of the last step, those of this process
    """

    def __init__(self, run: TrainingRun, job: Job, callbacks: Sequence[Callback] = ()) -> None:
        self.run, self.job, self.spec, self.callbacks = run, job, run.spec, callbacks
        self.accelerator: Accelerator = run.accelerator
        self.null = null_prompt(run.plain_model)
        self.loss = self.grad_norm = math.nan
        self.batches: list[Batch] = []
        self.own_work = OwnWork(self.accelerator.device)

    def train(self) -> Trained:
        """Train to the last step; returns the last checkpoint, the steps and the losses.

        Raises Stopped when asked to end, and what a step or a callback raises.
        """
        run = self.run
        for callback in self.callbacks:
            callback.on_start(self)
        self.job.events.stage("train", run.describe())
        if run.checkpoint is not None and run.step >= run.total_steps:
            return self._nothing_left_to_do(run.checkpoint)
        run.tracker.begin(run.spec.model_dump(mode="json"))
        try:
            self._all_steps()
        except Stopped as stopped:
            raise self._told_to_callbacks(stopped) from None
        except Exception:
            for callback in self.callbacks:
                callback.on_failure(self)
            raise
        finally:
            run.tracker.close()
        return Trained(
            checkpoint=str(run.checkpoint_path()), steps=run.step, loss=self.loss, held_out_loss=run.held_out_loss
        )

    def _all_steps(self) -> None:
        with self._batches() as batches:
            for micro_batches in self._waited_for(batches):
                for callback in self.callbacks:
                    callback.on_step_start(self)
                self._step(micro_batches)
                self.run.step += 1
                for callback in self.callbacks:
                    callback.on_step_end(self)
        for callback in self.callbacks:
            callback.on_end(self)

    def hand_over(self, checkpoint: Checkpoint) -> None:
        """Give every callback a checkpoint that has become complete; whichever wrote it calls this."""
        for callback in self.callbacks:
            callback.on_checkpoint(self, checkpoint)

    def check_stop_alone(self) -> None:
        """Raise Stopped in the middle of what one process does while the others wait for it.

        Of several processes none does: all answer the request together, at the next step.
        """
        if self.accelerator.num_processes == 1:
            self.job.check_stop()

    def _told_to_callbacks(self, stopped: Stopped) -> Stopped:
        for callback in self.callbacks:
            stopped = callback.on_stop(self, stopped)
        return stopped

    def _nothing_left_to_do(self, checkpoint: Checkpoint) -> Trained:
        """A resumed run that is already as long as it was asked to be keeps its checkpoint as it is."""
        self.job.events.warning(
            f"the run is finished already: {checkpoint.path.name} is at step {self.run.step} of {self.run.total_steps}",
            hint=f"to train further: --resume --{'max-steps' if self.spec.max_steps else 'epochs'} N",
        )
        return Trained(
            checkpoint=str(checkpoint.path), steps=self.run.step, held_out_loss=checkpoint.held_out_loss
        )  # fmt: skip

    def _batches(self) -> AbstractContextManager[Iterator[list[Batch]]]:
        """The forward passes of each remaining step; the next step's are read while this one computes."""
        run = self.run

        def read(step: int) -> list[Batch]:
            epoch = run.plan.epoch_of(step)
            if run.ahead is not None:
                run.ahead.at(step)
            numbers = run.passes_of(step)
            return [self._read(run.plan.rows(step, number), epoch) for number in numbers]

        return in_order(read, range(run.step, run.total_steps), threads=1, ahead=1, name="batches")

    def _read(self, rows: Sequence[int], epoch: int) -> Batch:
        return load_batch(self.run.store, rows, self.spec.seed, epoch, captions=self.spec.captions_per_clip)

    def _waited_for(self, batches: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
        for _ in range(self.run.step, self.run.total_steps):
            waiting_since = time.perf_counter()
            of_step = next(batches)
            self.run.clock.waited(time.perf_counter() - waiting_since)
            yield of_step

    def _step(self, micro_batches: list[Batch]) -> None:
        """One optimiser step. The loss stays on the device until all its forward passes are done."""
        run, began, self.batches = self.run, time.perf_counter(), micro_batches
        for group in run.optimizer.param_groups:
            group["lr"] = run.learning_rate(run.step)
        losses = []
        self.own_work.begin()
        # Of one pass of `batch_size` clips; passes may have fewer, and every clip weighs the same.
        passes = run.plan.clips_in(run.step) / self.spec.batch_size
        # Gradients are averaged over the processes, which may have passes of different number.
        share = passes / self.accelerator.num_processes
        for number, batch in zip(run.passes, micro_batches, strict=True):
            with run.gradients_shared(only_if=number == run.passes[-1]):
                loss = self._loss(batch, number) * (run.plan.counted(run.step, number) / self.spec.batch_size)
                self.own_work.end()
                self.accelerator.backward(loss / share)
            losses.append(loss.detach())
        self.loss = float(self.accelerator.reduce(torch.stack(losses).sum(), "sum")) / passes
        norm = self.accelerator.clip_grad_norm_(run.model.parameters(), self.spec.max_grad_norm)
        self.grad_norm = float(whole(norm))
        self._require_finite()
        run.optimizer.step()
        run.optimizer.zero_grad()
        for average in (run.ema, run.tricks.power_averages):
            if average is not None:
                average.update(run.plain_model, run.step)
        run.clock.stepped(time.perf_counter() - began)

    def error(
        self, model: nn.Module, latents: Tensor, noise: Tensor, timesteps: Tensor, prompts: Conditioning
    ) -> Tensor:
        """Return the mean squared error of predictions at (batch,) timesteps, whatever training's weights are."""
        return prediction_error(self.run, model, latents, noise, timesteps, prompts)

    def _loss(self, batch: Batch, number: int) -> Tensor:
        """Of one forward pass of the step. What is drawn depends on its number, not on which process makes it."""
        generator = generator_for(self.spec.seed, "noise", self.run.step, number, 0)
        count = len(batch.latents)
        noise = torch.randn(batch.latents.shape, generator=generator)
        objective = self.run.objective_at(batch.latents.shape[1:])
        timesteps = objective.draw_timesteps(count, generator)
        dropped = torch.rand(count, generator=generator) < self.spec.caption_dropout
        prompts = drop_captions(self.run.fit(batch.prompts), self.null, dropped)
        weights = objective.weights(timesteps)
        self._seed_dropout(number)
        sync, route = self.run.tricks.layer_sync, self.run.tricks.token_route
        if route is not None:
            tokens = generator_for(self.spec.seed, "tokens", self.run.step, number, 0)
            route.draw(count, tokens, self.accelerator.device)
        error = prediction_error(
            self.run, self.run.model, batch.latents, noise, timesteps, prompts, weights, self.spec.contrast
        )
        return error if sync is None else error + sync.loss()

    def _seed_dropout(self, number: int) -> None:
        """The one thing that draws from torch's own generators: what a run has drawn before must not matter."""
        if self.run.adapter is not None and self.run.adapter.settings.dropout:
            parts = (self.spec.seed, "dropout", self.run.step, number, 0)
            torch.manual_seed(generator_for(*parts).initial_seed())

    def clips(self) -> list[str]:
        """Return the ids of the clips of the last step, sorted; every process calls it, at the same moment."""
        names = self._clips_here()
        if self.accelerator.num_processes > 1:
            names = gather_object(names)
        return sorted(set(names))

    def _clips_here(self) -> list[str]:
        """Those of this process, in any order."""
        return [name for batch in self.batches for name in batch.video_ids]

    def _require_finite(self) -> None:
        """Stop before the optimiser spoils the weights. With fp16 the scaler skips steps of infinite gradients."""
        if math.isfinite(self.loss) and (math.isfinite(self.grad_norm) or self.accelerator.scaler is not None):
            return
        ids = ", ".join(self.clips())
        what = "loss" if not math.isfinite(self.loss) else "gradient"
        raise WorkFailed(
            f"the {what} is not finite at step {self.run.step + 1}, on clips {ids}",
            hint="the weights are as they were before this step and the checkpoints are untouched; look at the clips, "
            "then lower --learning-rate or use --precision fp32, and continue with --resume",
        )
