"""`verify-resume` whose trainings run on a slow disk and, when they resume, lose something."""

from __future__ import annotations

import functools
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2v_core.resume_check import children
from t2v_core.run_job import main
from t2v_core.training import background_save, resume

load_into, save_checkpoint, enter = resume.load_into, background_save.save_checkpoint, children._enter


def verify(directory: Path, loses: str) -> None:
    """Do such a job in this process; its children lose `moments` or `order`."""
    vars(children)["_enter"] = functools.partial(_enter, loses)
    sys.exit(main(["verify-resume", str(directory)]))


def _enter(loses: str, *arguments: Any) -> None:
    background_save.save_checkpoint = _save_slowly
    if loses == "moments":
        resume.restore_optimizer = lambda *_arguments: None
    else:
        resume.load_into = _load_and_reorder
    enter(*arguments)


def _save_slowly(*arguments: Any, **named: Any) -> Any:
    time.sleep(1)  # dozens of steps
    return save_checkpoint(*arguments, **named)


def _load_and_reorder(run: Any, checkpoint: Any) -> None:
    load_into(run, checkpoint)
    run.plan = replace(run.plan, seed=run.plan.seed + 1)
