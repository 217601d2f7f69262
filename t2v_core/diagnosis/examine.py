"""Every check in turn, and the line that mends what is wrong. Reads no network, changes nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from t2v_core.diagnosis.check import Check, State
from t2v_core.diagnosis.checkpoints import (
    examine_checkpoints,
    examine_leftovers,
    examine_old_checkpoints,
    newest_bytes,
)  # fmt: skip
from t2v_core.diagnosis.dataset import examine_dataset
from t2v_core.diagnosis.engine import EngineProbe, examine_encoders, examine_engine
from t2v_core.diagnosis.machine import examine_machine, examine_packages
from t2v_core.diagnosis.settings import (
    examine_disk,
    examine_settings,
    examine_workspace,
    preprocess_settings,
    train_settings,
)  # fmt: skip
from t2v_core.specs import DoctorSpec
from t2v_core.workspace import Dataset, Workspace


def report(checks: list[Check]) -> dict[str, Any]:
    """Return the checks JSON-ready; healthy: nothing is bad"""
    return {"healthy": is_healthy(checks), "checks": [asdict(check) for check in checks]}


def is_healthy(checks: list[Check]) -> bool:
    """Return True when nothing is bad; what is odd does not count."""
    return all(check.state is not State.BAD for check in checks)


def examine(spec: DoctorSpec, workspace: Workspace, environ: Mapping[str, str]) -> Iterator[Check]:
    """Yield every check in turn. What needs torch is found by a child that works meanwhile."""
    preprocessing, training = preprocess_settings(workspace, environ), train_settings(workspace, environ)
    dataset = Dataset(workspace.resolve(spec.data or training.data))
    checkpoints = workspace.resolve(spec.checkpoints or training.checkpoints)
    preprocess = command(workspace, "preprocess", *_data_flag(workspace, dataset, preprocessing.data))
    engine = EngineProbe(preprocessing, workspace.root)
    yield from examine_machine()
    yield from examine_packages()
    found = engine.found()
    yield from examine_engine(found, training.preset, command(workspace, "estimate", "--gpu", "L4"))
    yield from examine_workspace(workspace)
    yield from examine_settings(workspace, environ)
    parts = {
        "latents": dataset.latents, "text": dataset.text_embeddings, "checkpoints": checkpoints,
        "outputs": workspace.outputs, "jobs": workspace.jobs,
    }  # fmt: skip
    yield examine_disk(workspace, newest_bytes(checkpoints), parts)
    yield from examine_dataset(dataset, preprocessing, preprocess, checksums=spec.checksums)
    yield from examine_encoders(found, dataset, preprocess)
    yield from examine_checkpoints(checkpoints, checksums=spec.checksums)
    yield from examine_old_checkpoints(
        checkpoints,
        command(workspace, "import-checkpoint", str(spec.checkpoints or training.checkpoints), "--last", "1"),
    )
    yield from examine_leftovers(_written_to(workspace, dataset, checkpoints))


def _written_to(workspace: Workspace, dataset: Dataset, checkpoints: Path) -> list[Path]:
    """The folders in which staging files appear."""
    stores = [store / split for store in (dataset.latents, dataset.text_embeddings) for split in ("train", "test")]
    folders = [workspace.root, workspace.outputs, checkpoints, dataset.root, dataset.videos, dataset.annotations]
    return list(dict.fromkeys([*folders, *stores]))


def _data_flag(workspace: Workspace, dataset: Dataset, settled: Path) -> list[str]:
    """`--data X`, unless preprocessing would take that data set anyway."""
    return [] if workspace.resolve(settled) == dataset.root else ["--data", str(dataset.root)]


def command(workspace: Workspace, *words: str) -> str:
    """Return a `t2v` line that works in the folder people are in."""
    place = [] if Workspace.find(Path.cwd()).root == workspace.root else ["--workspace", str(workspace.root)]
    return shlex.join(["t2v", *place, *words])
