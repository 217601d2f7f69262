"""What can be asked of t2v itself."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from t2v_core.specs.base import Spec


class DoctorSpec(Spec):
    """Check everything: Python, packages, accelerator, encoders, data, disk, workspace, checkpoints."""

    data: Path | None = Field(None, description="data set to look at (default: the one that training takes)")
    checkpoints: Path | None = Field(None, description="folder to look at (default: the one that training takes)")
    checksums: bool = Field(False, description="also read all data and the newest checkpoint, about 1 GB/s")


class ServeSpec(Spec):
    """Keep an engine resident: it does the jobs that are handed to it, with the last model loaded."""

    idle_s: float = Field(600.0, gt=0, le=365 * 86_400, description="seconds without a job after which it ends")
