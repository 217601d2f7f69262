"""`t2v demo`: the whole job on the built-in world, each step an ordinary job of an ordinary workspace."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from remote.jobs.foreground import JobHandle, run_here
from t2v_core.disk.files import incompleteness
from t2v_core.errors import InvalidRequest
from t2v_core.events import StepEvent, read_events
from t2v_core.format import duration
from t2v_core.specs import all_values, make_spec, read_spec
from t2v_core.workspace import Workspace, followed
from t2v_tui.cli.engine.curve import curve
from t2v_tui.cli.engine.run import follow, named_paths, prepare, tell_failure
from t2v_tui.cli.engine.scores import print_scores
from t2v_tui.cli.main import Common
from t2v_tui.cli.narrate import Narrator, narrator
from t2v_tui.demo_world import CLIPS, ENCODERS, PICTURES, TEST_CLIPS
from t2v_tui.new_workspace import make_workspace

# 897 steps of 16 clips. Convolutions over time with Muon and noisy timesteps teach colour and motion soonest: after a
# trial of 139 CPU s .82 and 1.00 obey them, with AdamW after 130 s .77 and .98. Shape takes longer.
# 64 held-out clips would take a seventh of the time.
EPOCHS = 23
CHECKPOINT_EVERY = 23
QUICKEST = {"preset": "unet3d-tiny", "optimizer": "muon", "timestep_logit_mean": 1.0, "held_out_clips": 16}
GUIDANCE = 3.0
SEED = 7
PROMPTS_SCORED, SEEDS_SCORED = 48, 2
STRENGTH = 0.3
PROMPT = "a red circle moving right"
FRESH, SHIPPED = "outputs/demo-fresh.mp4", "outputs/demo-shipped.mp4"
NOISY, REFINED = "outputs/demo-noisy.mp4", "outputs/demo-refined.mp4"
DATA = "data/shapes"


@dataclass(frozen=True)
class Step:
    """One verb of the demo; everything it needs is said here, so that no setting elsewhere changes it."""

    name: str
    verb: str
    values: Mapping[str, Any]

    def finished_in(self, workspace: Workspace) -> JobHandle | None:
        """Return the newest job that did just this and whose results still lie there."""
        wanted = _comparable(all_values(make_spec(self.verb, dict(self.values))))
        for directory in sorted(workspace.jobs.glob(f"*-{self.verb}-*"), reverse=True):
            job = JobHandle(directory, self.verb)
            done = job.result()
            if done is None or _comparable(_spec_of(job)) != wanted:
                continue
            # Training that went on since then has replaced the checkpoint that this job ended with.
            is_there = all(path.exists() for path in named_paths(done, workspace))
            if is_there or (self.verb == "train" and _has_checkpoint(workspace)):
                return job
        return None


TRAIN = {
    "data": DATA, "epochs": EPOCHS, "checkpoint_every": CHECKPOINT_EVERY, "samples": 0, "seed": SEED, **QUICKEST,
}  # fmt: skip
STEPS = (
    Step(
        "Make clips of moving shapes, with captions", "shapes", {"data": DATA, "clips": CLIPS, "test_clips": TEST_CLIPS}
    ),
    Step("Encode clips and captions", "preprocess", {"data": DATA, **ENCODERS, **PICTURES}),
    Step("Train a model from scratch", "train", TRAIN),
    Step(
        f"Generate “{PROMPT}” with it",
        "generate",
        {"prompt": PROMPT, "output": FRESH, "seed": SEED, "guidance_scale": GUIDANCE},
    ),
    Step(
        "The same with the model that comes with t2v, trained for longer",
        "generate",
        {"prompt": PROMPT, "output": SHIPPED, "seed": SEED, "checkpoint": "embedded"},
    ),
    Step("Add noise to that video", "add-noise", {"input": SHIPPED, "output": NOISY, "strength": STRENGTH}),
    Step(
        "Refine the noisy video towards the prompt",
        "refine",
        {"input": NOISY, "output": REFINED, "prompt": PROMPT, "strength": STRENGTH, "checkpoint": "embedded"},
    ),
    Step(
        "Score the fresh model on test captions",
        "evaluate",
        {"data": DATA, "prompts": PROMPTS_SCORED, "seeds": SEEDS_SCORED, "guidance_scale": GUIDANCE},
    ),
)


def demo(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the demo's workspace.")] = Path("demo"),
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the engine's log as well.")] = False,
) -> int:
    """The whole workflow on the built-in world: make a data set, train a model on it, generate, refine, score.

    It needs no download and no GPU. Each step is an ordinary job in DIR; a second run continues where the first ended.

    \b
    Examples:
      t2v demo                in ./demo
      t2v demo /tmp/try       somewhere else

    The videos' paths go to stdout.
    """
    common: Common = ctx.obj
    workspace = Workspace(followed(directory))
    make_workspace(workspace, shapes=True)
    teller = narrator()
    teller.say(f"workspace {workspace.root}")
    finished: list[tuple[Step, JobHandle]] = []
    is_fresh = False  # what comes after a step that was done anew is done anew too
    for number, step in enumerate(STEPS, 1):
        teller.say(f"\n{number} of {len(STEPS)}  {step.name}", "bold cyan")
        job = None if is_fresh else step.finished_in(workspace)
        if job is not None:
            teller.say("  already done: kept")
        else:
            is_fresh = True
            job, code = _do(step, workspace, is_verbose=verbose)
            if code:
                return code
        finished.append((step, job))
        for line in _loss_curve(job):
            teller.say(line)
    _tell_summary(finished, workspace, teller, as_json=common.as_json)
    return 0


def _do(step: Step, workspace: Workspace, *, is_verbose: bool) -> tuple[JobHandle, int]:
    """Run one step; its narrator is its own, so that each begins with an empty bar."""
    values = dict(step.values)
    if step.verb == "train" and _has_checkpoint(workspace):
        values["resume"] = True
    teller = narrator()
    job = prepare(step.verb, workspace, values)
    followed = follow(run_here(job), teller, is_verbose=is_verbose)
    if followed.exit.code:
        tell_failure(followed, teller, shlex.join(["t2v", *sys.argv[1:]]))
    elif followed.scores:
        print_scores(followed.scores)
    return job, followed.exit.code


def _has_checkpoint(workspace: Workspace) -> bool:
    return any(incompleteness(folder) is None for folder in workspace.checkpoints.glob("checkpoint_epoch_*"))


def _spec_of(job: JobHandle) -> dict[str, Any]:
    """What the job did, defaults included; nothing when an earlier version's spec says it no longer."""
    try:
        return all_values(read_spec(job.verb, job.directory / "spec.json"))
    except InvalidRequest:
        return {}


def _comparable(spec: dict[str, Any]) -> dict[str, Any]:
    """A resumed training does the same thing as the one it goes on with; the machine's choices do not matter either."""
    return {key: value for key, value in spec.items() if key not in ("resume", "device", "precision")}


def _loss_curve(job: JobHandle) -> Iterator[str]:
    if job.verb != "train":
        return
    points = [
        (float(event.step), event.loss)
        for event in read_events(job.events)
        if isinstance(event, StepEvent) and event.loss is not None
    ]
    if lines := curve(points):
        yield "\n  training loss over optimiser steps"
        yield from lines


def _tell_summary(
    finished: list[tuple[Step, JobHandle]], workspace: Workspace, teller: Narrator, *, as_json: bool
) -> None:
    results = [(step, done) for step, job in finished if (done := job.result()) is not None]
    teller.say("\nTime of each step", "bold")
    for step, done in results:
        teller.say(f"  {duration(done.seconds or 0.0):>7}  {step.name}")
    cd = shlex.quote(str(workspace.root))
    teller.say("\nWhere it lies", "bold")
    for what, where in (
        ("model", "checkpoints/"),
        ("clips", f"{DATA}/videos/"),
        ("videos", "outputs/"),
        ("jobs", "jobs/"),
    ):
        teller.say(f"  {what:<8}{workspace.root / where}")
    teller.say("\nTry next", "bold")
    teller.say(f"  cd {cd}")
    teller.say('  t2v generate "a blue triangle growing" -o blue.gif       another prompt, with your model')
    teller.say(
        f"  t2v train --resume --preset {QUICKEST['preset']} --epochs {2 * EPOCHS}            twice the training"
    )
    teller.say(f'  t2v refine {NOISY} green.mp4 "a green circle moving right" 0.8')
    if as_json:
        print(json.dumps([{"verb": step.verb, **done.plain()} for step, done in results], ensure_ascii=False))
        return
    for name in (FRESH, SHIPPED, NOISY, REFINED):
        path = workspace.root / name
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
