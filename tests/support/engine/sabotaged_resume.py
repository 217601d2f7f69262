"""Preloaded into the engine's children, it makes resuming lose something, as SABOTAGE says, on a slow disk."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

from t2v_core.training import background_save, resume

load_into, save_checkpoint = resume.load_into, background_save.save_checkpoint


def _save_slowly(*arguments: Any, **named: Any) -> Any:
    time.sleep(1)  # dozens of steps
    return save_checkpoint(*arguments, **named)


def _load_and_reorder(run: Any, checkpoint: Any) -> None:
    load_into(run, checkpoint)
    run.plan = replace(run.plan, seed=run.plan.seed + 1)


background_save.save_checkpoint = _save_slowly
match os.environ.get("SABOTAGE"):
    case "moments":
        resume.restore_optimizer = lambda *_arguments: None
    case "order":
        resume.load_into = _load_and_reorder
