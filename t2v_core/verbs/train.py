"""`t2v train`: train a model, or go on training it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from t2v_core.checkpoints.checkpoints import latest_checkpoint
from t2v_core.checkpoints.first_host import folder_of_run, forget_copy
from t2v_core.events.results import Trained
from t2v_core.job import Job
from t2v_core.processes.alone import CHECKPOINTS_LOCK, alone
from t2v_core.processes.member import is_on_several_machines, is_started_again
from t2v_core.processes.process_group import is_first_process
from t2v_core.specs import TrainSpec
from t2v_core.training.base.own import suited_to_own
from t2v_core.training.base.sense import require_sense
from t2v_core.training.callbacks.order import training_callbacks
from t2v_core.training.distill import Distiller
from t2v_core.training.distillation.teacher import suited_to_distill
from t2v_core.training.resume import latest_undamaged, restore
from t2v_core.training.setup import start_run
from t2v_core.training.trainer import Trainer


def train(spec: TrainSpec, job: Job) -> Trained:
    """Train, or go on training, and return where the last checkpoint lies.

    Raises InvalidRequest when data, preset or checkpoint do not fit together or another run writes into the folder,
    WorkFailed on a loss that is not finite, Stopped (after saving a checkpoint) when asked to end.
    """
    folder = job.workspace.resolve(spec.checkpoints)
    with alone(folder, CHECKPOINTS_LOCK, job) if is_first_process() else nullcontext():
        place, resumes = _where_from(spec, folder, job)
        spec = spec.model_copy(update={"resume": resumes} | ({} if place == folder else {"checkpoints": place}))
        if not spec.resume:
            spec = _suited(spec, job)
        run = restore(spec, job) if spec.resume else start_run(spec, job)
        if is_on_several_machines():
            run.accelerator.wait_for_everyone()
            forget_copy(place, job)
        trainer = Trainer if run.teacher is None else Distiller
        return trainer(run, job, training_callbacks()).train()


def _where_from(spec: TrainSpec, folder: Path, job: Job) -> tuple[Path, bool]:
    """Return the folder with the checkpoint that the run goes on from, and whether there is one."""

    def goes_on() -> bool:
        return spec.resume or (is_started_again() and latest_checkpoint(folder) is not None)

    if not is_on_several_machines():
        return folder, goes_on()
    return folder_of_run(folder, job, lambda: latest_undamaged(folder, job) if goes_on() else None)


def _suited(spec: TrainSpec, job: Job) -> TrainSpec:
    """Return the spec as the trained model that it starts from needs it. Raises InvalidRequest."""
    require_sense(spec)
    if spec.distill is not None:
        return suited_to_distill(spec, job)
    if spec.model is not None:
        from t2v_core.verbs.open.training import suited  # diffusers' families, which ours need not

        return suited(spec, job)
    return spec if spec.base is None else suited_to_own(spec, job)
