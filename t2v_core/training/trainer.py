"""The training loop: it knows an objective, a plan of batches, checkpoints and an event writer."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.data.store.batches import Batch, drop_captions, generator_for, load_batch
from t2v_core.errors import Stopped, WorkFailed
from t2v_core.job import Job
from t2v_core.models.conditioning import Conditioning, null_prompt
from t2v_core.training.preflight import tell_before_training
from t2v_core.training.requests import answer_requests
from t2v_core.training.run import TrainingRun
from t2v_core.training.samples import write_samples

HELD_OUT_QUANTILES = 4


class Trainer:
    """Optimiser steps, and at the end of epochs held-out loss, checkpoint and samples."""

    def __init__(self, run: TrainingRun, job: Job) -> None:
        self.run, self.job, self.spec = run, job, run.spec
        self.accelerator: Accelerator = run.accelerator
        self.null = null_prompt(run.plain_model)
        self.held_out_loss: float | None = None
        self.last_loss = math.nan
        self.save_reason = ""

    def train(self) -> dict[str, Any]:
        """Train to the last step; returns the last checkpoint, the steps and the losses.

        Raises Stopped when asked to end; after the first step a checkpoint is saved before.
        """
        run = self.run
        if self.accelerator.is_main_process:
            tell_before_training(run, self.job)
        self.job.events.stage("train", run.describe())
        if run.checkpoint is not None and run.step >= run.total_steps:
            return self._nothing_left_to_do(run.checkpoint)
        try:
            self._all_steps()
        except Stopped as stopped:
            raise self._saved_before_stopping(stopped) from None
        except Exception:
            self._announce_saved(wait=True)  # what was being written is whole, whatever came after it
            raise
        finally:
            run.tracker.close()
        return {
            "checkpoint": run.checkpoint_path(),
            "steps": run.step,
            "loss": self.last_loss,
            "held_out_loss": self.held_out_loss,
        }

    def _all_steps(self) -> None:
        run = self.run
        for micro_batches in self._batches():
            is_asked_to_save = answer_requests(self.job, self.accelerator)
            self._sample(self._announce_saved(wait=False))
            if is_asked_to_save:
                self._save_on_request()
            self._step(micro_batches)
            run.step += 1
            self.held_out_loss = None  # a checkpoint within an epoch must not be ranked by the loss of an earlier one
            if run.step % run.plan.steps_per_epoch == 0 or run.step == run.total_steps:
                self.held_out_loss = self._held_out()
            if self._checkpoint_is_due():
                self._sample(self._announce_saved(wait=True))
                self._save("due")
        self._sample(self._announce_saved(wait=True))

    def _nothing_left_to_do(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """A resumed run that is already as long as it was asked to be keeps its checkpoint as it is."""
        self.job.events.warning(
            f"the run is finished already: {checkpoint.path.name} is at step {self.run.step} of {self.run.total_steps}",
            hint=f"to train on, ask for more: --resume --{'max-steps' if self.spec.max_steps else 'epochs'} N",
        )
        return {
            "checkpoint": checkpoint.path, "steps": self.run.step, "held_out_loss": checkpoint.held_out_loss,
        }  # fmt: skip

    def _check_stop_alone(self) -> None:
        """Where one process works while the others wait at the next step, which answers the request then."""
        if self.accelerator.num_processes == 1:
            self.job.check_stop()

    def _checkpoint_is_due(self) -> bool:
        epochs, place = divmod(self.run.step, self.run.plan.steps_per_epoch)
        return self.run.step == self.run.total_steps or (place == 0 and epochs % self.spec.checkpoint_every == 0)

    def _saved_before_stopping(self, stopped: Stopped) -> Stopped:
        self._announce_saved(wait=True)
        if self.run.step == 0:
            return Stopped(f"{stopped.message} before the first step", exit_code=stopped.exit_code)
        if self.run.checkpoint is None or self.run.checkpoint.step != self.run.step:
            self._save("stopped")
            self._announce_saved(wait=True)
        return Stopped(
            f"{stopped.message} after step {self.run.step} of {self.run.total_steps}; "
            f"saved {self.job.workspace.relative(self.run.checkpoint_path())}",
            hint="go on with: t2v train --resume",
            exit_code=stopped.exit_code,
        )

    def _batches(self) -> Iterator[list[Batch]]:
        """The forward passes of each remaining step; the next step's are read while this one computes."""
        run = self.run

        def read(step: int) -> list[Batch]:
            rank, epoch = self.accelerator.process_index, run.plan.epoch_of(step)
            return [
                load_batch(run.store, run.plan.rows(step, micro, rank), self.spec.seed, epoch)
                for micro in range(self.spec.gradient_accumulation)
            ]

        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(read, run.step)
            for step in range(run.step, run.total_steps):
                waiting_since = time.perf_counter()
                batches = ahead.result()
                run.clock.waited(time.perf_counter() - waiting_since)
                if step + 1 < run.total_steps:
                    ahead = reader.submit(read, step + 1)
                yield batches

    def _step(self, micro_batches: list[Batch]) -> None:
        """One optimiser step. The loss stays on the device until all its forward passes are done."""
        run, began = self.run, time.perf_counter()
        for group in run.optimizer.param_groups:
            group["lr"] = run.learning_rate(run.step)
        losses = []
        for micro, batch in enumerate(micro_batches):
            is_last = micro + 1 == len(micro_batches)
            with nullcontext() if is_last else self.accelerator.no_sync(run.model):
                loss = self._loss(batch, micro)
                self.accelerator.backward(loss / len(micro_batches))
            losses.append(loss.detach())
        self.last_loss = float(self.accelerator.reduce(torch.stack(losses).mean(), "mean"))
        norm = float(self.accelerator.clip_grad_norm_(run.model.parameters(), self.spec.max_grad_norm))
        self._require_finite(norm, micro_batches)
        run.optimizer.step()
        run.optimizer.zero_grad()
        run.ema.update(self.accelerator.unwrap_model(run.model), run.step)
        run.clock.stepped(time.perf_counter() - began)
        self._report_step(norm)

    def _loss(self, batch: Batch, micro_step: int) -> Tensor:
        rank = self.accelerator.process_index
        generator = generator_for(self.spec.seed, "noise", self.run.step, micro_step, rank)
        count = len(batch.latents)
        noise = torch.randn(batch.latents.shape, generator=generator)
        timesteps = self.run.objective.draw_timesteps(count, generator)
        dropped = torch.rand(count, generator=generator) < self.spec.caption_dropout
        prompts = drop_captions(self.run.fit(batch.prompts), self.null, dropped)
        return self._error(
            self.run.model, batch.latents, noise, timesteps, prompts, self.run.objective.weights(timesteps)
        )

    def _error(
        self,
        model: Any,
        latents: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        prompts: Conditioning,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Mean squared error of the model's prediction, each clip's times its weight; all else comes in on the CPU."""
        run, device = self.run, self.accelerator.device
        latents, noise, timesteps = latents.to(device), noise.to(device), timesteps.to(device)
        prompts = prompts.to(device, torch.float32)
        noisy = run.objective.sampler.add_noise(latents, noise, timesteps)
        prediction = model(noisy, timesteps, prompts.tokens, prompts.mask, prompts.pooled)
        errors = (prediction.float() - run.objective.target(latents, noise, timesteps)).square()
        return errors.mean() if weights is None else (errors.flatten(1).mean(1) * weights.to(device)).mean()

    def _require_finite(self, norm: float, batches: list[Batch]) -> None:
        """Stop before the optimiser spoils the weights. With fp16 the scaler skips steps of infinite gradients."""
        if math.isfinite(self.last_loss) and (math.isfinite(norm) or self.accelerator.scaler is not None):
            return
        names = [name for batch in batches for name in batch.video_ids]
        if self.accelerator.num_processes > 1:
            names = gather_object(names)
        ids = ", ".join(sorted(set(names)))
        what = "loss" if not math.isfinite(self.last_loss) else "gradient"
        raise WorkFailed(
            f"the {what} is not finite at step {self.run.step + 1}, on clips {ids}",
            hint="the weights are as they were before this step and the checkpoints are untouched; look at the clips, "
            "then lower --learning-rate or use --precision fp32, and go on with --resume",
        )

    def _report_step(self, norm: float) -> None:
        run = self.run
        fields = {
            "step": run.step + 1,
            "total": run.total_steps,
            "epoch": run.plan.epoch_of(run.step) + 1,
            "loss": round(self.last_loss, 6),
            "learning_rate": run.learning_rate(run.step),
            "grad_norm": round(norm, 4),
            **run.clock.rates(run.plan.clips_per_step),
        }
        if self.accelerator.is_main_process:
            self.job.events.emit("step", **fields)
            run.tracker.step(run.step + 1, fields)

    @torch.no_grad()
    def _held_out(self) -> float | None:
        """Mean error of the averaged weights on clips kept out of training, at fixed timesteps with fixed noise.

        Timesteps weigh the same whatever training's weights are, so that runs of one objective can be compared.
        """
        run = self.run
        if not run.held_out or not self.accelerator.is_main_process:
            return None
        size, total, quantiles = self.spec.batch_size, 0.0, run.objective.quantile_timesteps(HELD_OUT_QUANTILES)
        model = run.plain_model  # the wrapped one would wait for the other processes
        with run.ema.swapped_in(model):
            for begin in range(0, len(run.held_out), size):
                self._check_stop_alone()
                batch = load_batch(run.store, run.held_out[begin : begin + size], self.spec.seed, 0)
                for number, timestep in enumerate(quantiles):
                    generator = generator_for(self.spec.seed, "held-out", begin, number)
                    noise = torch.randn(batch.latents.shape, generator=generator)
                    at = timestep.expand(len(batch.latents))
                    error = self._error(model, batch.latents, noise, at, run.fit(batch.prompts))
                    total += float(error) * len(batch.latents)
        loss = total / (len(run.held_out) * len(quantiles))
        if not math.isfinite(loss):  # it would rank as the best of all checkpoints
            self.job.events.warning(
                f"the held-out loss is not finite at step {run.step}", hint="look at the held-out clips"
            )
            return None
        self.job.events.emit("score", name="held_out_loss", value=round(loss, 6), step=run.step)
        run.tracker.step(run.step, {"held_out_loss": loss})
        return loss

    def _save_on_request(self) -> None:
        """A checkpoint of the last step, unless there is one; the request is taken away when it is complete."""
        if self.run.step == 0:
            return
        self._sample(self._announce_saved(wait=True))
        if self.run.checkpoint is None or self.run.checkpoint.step != self.run.step:
            self._save("asked")
            self._sample(self._announce_saved(wait=True))
        if self.accelerator.is_main_process:
            self.job.has_saved()

    def _save(self, reason: str) -> None:
        """Begin to write a checkpoint; training goes on meanwhile."""
        self.run.save(self.held_out_loss)
        self.save_reason = reason

    def _announce_saved(self, *, wait: bool) -> Checkpoint | None:
        """The checkpoint that was being written, once it is complete; whoever reads the event may use it."""
        checkpoint = self.run.saved(wait=wait)
        if checkpoint is not None:
            path = self.job.workspace.relative(checkpoint.path)
            epoch, step = checkpoint.info["epoch"], checkpoint.step
            self.job.events.emit("checkpoint", path=path, epoch=epoch, step=step, reason=self.save_reason)
        return checkpoint

    def _sample(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is not None and self.spec.samples:
            write_samples(self.run, checkpoint, self.job, check_stop=self._check_stop_alone)
