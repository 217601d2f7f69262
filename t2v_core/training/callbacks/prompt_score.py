"""A CLIP score on fixed prompts wherever a checkpoint is due: with `--keep-best-by score` it decides which are kept."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from torch import Tensor

from t2v_core.assemble import OWN_FAMILY
from t2v_core.diffusion.pipeline import TextToVideoPipeline
from t2v_core.diffusion.samplers import FlowMapSampler
from t2v_core.diffusion.schedules import Sampler
from t2v_core.errors import InvalidRequest, NotFinite
from t2v_core.events import ScoreEvent
from t2v_core.models.encoders import load_prompt_encoder, load_vae
from t2v_core.models.scorer import ClipScorer, load_clip_scorer
from t2v_core.presets import MAP_STEPS
from t2v_core.scores.clip import clip_scales
from t2v_core.training.callbacks.callback import Callback
from t2v_core.training.callbacks.held_out_loss import at_rest
from t2v_core.training.callbacks.samples import GUIDANCE, STEPS
from t2v_core.training.callbacks.saving import is_due
from t2v_core.training.run import TrainingRun
from t2v_core.training.sharding import is_sharded

if TYPE_CHECKING:
    from t2v_core.training.trainer import Trainer

NAME = "clip_score"
# Prompts that are drawn together.
BATCH = 8


class PromptScore(Callback):
    """Draws a video of each prompt from the averaged weights, with the same noise every time, and scores it.

    Encoders and scorer are loaded for as long as that takes: training has their memory for itself in between.
    """

    def on_start(self, trainer: Trainer) -> None:
        """See that there is all it takes, before the first step. Raises InvalidRequest."""
        if not _scores(trainer):
            return
        base = trainer.run.base
        if base is not None and base.family != OWN_FAMILY:
            raise InvalidRequest(
                "checkpoints of an open model cannot be scored while it trains",
                hint="--keep-best-by held_out_loss; t2v generate draws with them afterwards",
            )
        load_scorer(trainer.run)

    def on_step_end(self, trainer: Trainer) -> None:
        """Score where a checkpoint is due; one within an epoch must not be ranked by the score of an earlier one."""
        trainer.run.score = self.measure(trainer) if _scores(trainer) and is_due(trainer) else None

    def measure(self, trainer: Trainer) -> dict[str, Any] | None:
        """Return the score with its stamp; None when what the weights draw is not finite."""
        run = trainer.run
        scorer = load_scorer(run)
        prompts = fixed_prompts(run)
        try:
            cosines = _cosines(trainer, scorer, prompts)
        except NotFinite as error:
            trainer.job.events.warning(f"no score at step {run.step}: {error.message}", hint=error.hint)
            return None
        score: dict[str, Any] = {"name": NAME, "value": clip_scales(cosines)["value"]}
        stamp = scorer.stamp | _stamp(run, prompts)
        trainer.job.events.emit(ScoreEvent(NAME, score["value"], run.step, extra=stamp))
        if trainer.accelerator.is_main_process:
            run.tracker.step(run.step, {NAME: score["value"]})
        return score | stamp


def _scores(trainer: Trainer) -> bool:
    """Of a model that is divided among the processes none can draw alone: all of them draw the same."""
    draws = trainer.accelerator.is_main_process or is_sharded(trainer.run.plain_model)
    return trainer.spec.keep_best_by == "score" and draws


def load_scorer(run: TrainingRun) -> ClipScorer:
    """Load the CLIP that scores. Raises InvalidRequest for a text tower without the one for pictures."""
    source = run.spec.scorer or run.store.text_manifest["encoder"]["source"]
    try:
        return load_clip_scorer(source, device=str(run.accelerator.device))
    except InvalidRequest as error:
        raise InvalidRequest(
            f"--keep-best-by score: {error.message}", hint="name a whole CLIP: --scorer, or use held_out_loss"
        ) from error


def fixed_prompts(run: TrainingRun) -> list[str]:
    """Return the first captions of clips that training never sees, the same at every checkpoint and after a resume."""
    rows = run.held_out or list(run.plan.clips)
    count = min(run.spec.score_prompts, len(rows))
    return [run.store.texts(rows[number * len(rows) // count])[0] for number in range(count)]


def _stamp(run: TrainingRun, prompts: list[str]) -> dict[str, Any]:
    """Scores of another stamp are not compared with it."""
    steps, guidance = _sampling(run)
    return {
        "prompts": len(prompts), "prompts_sha256": hashlib.sha256("\n".join(prompts).encode()).hexdigest()[:16],
        "steps": steps, "guidance_scale": guidance, "seed": run.spec.seed,
    }  # fmt: skip


def _sampling(run: TrainingRun) -> tuple[int, float]:
    return (MAP_STEPS, 1.0) if isinstance(run.objective.sampler, FlowMapSampler) else (STEPS, GUIDANCE)


def _cosines(trainer: Trainer, scorer: ClipScorer, prompts: list[str]) -> list[Tensor]:
    """(images,) of each prompt's video."""
    run = trainer.run
    steps, guidance = _sampling(run)
    captions = scorer.embed_captions(prompts)
    found: list[Tensor] = []
    model = run.plain_model  # the wrapped one would wait for the other processes
    with run.ema.swapped_in(model), at_rest(model):
        pipeline = _pipeline(run)
        for begin in range(0, len(prompts), BATCH):
            output = pipeline(
                prompts[begin : begin + BATCH], num_inference_steps=steps, guidance_scale=guidance,
                seed=run.spec.seed + begin, progress=lambda _done, _total: trainer.check_stop_alone(),
            )  # fmt: skip
            found += [
                scorer.embed_clip(frames) @ caption
                for frames, caption in zip(output.frames, captions[begin : begin + BATCH], strict=True)
            ]
            trainer.job.events.progress(len(found), len(prompts), "prompts")
    return found


def _pipeline(run: TrainingRun) -> TextToVideoPipeline:
    device = str(run.accelerator.device)
    text_made_with = run.store.text_manifest
    vae = load_vae(run.store.manifest["encoder"]["source"], device=device, precision=run.spec.precision)
    text = load_prompt_encoder(text_made_with["encoder"]["source"], device=device)
    pipeline = TextToVideoPipeline(vae.model, text.model, text.tokenizer, run.plain_model, _own(run.objective.sampler))
    pipeline.prompt_encoder.padded_to = text_made_with.get("padded_to")
    return pipeline


def _own(sampler: Sampler) -> Sampler:
    """One as training's, whose timesteps may be set."""
    return type(sampler)(**{name: value for name, value in sampler.config.items() if name[0] != "_"})
