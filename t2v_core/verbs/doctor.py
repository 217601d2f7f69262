"""`t2v doctor`: check everything, and say the line that mends what is wrong. Reads no network, changes nothing."""

from __future__ import annotations

import os
from dataclasses import asdict

from t2v_core.diagnosis.examine import examine, is_healthy
from t2v_core.events.results import Diagnosis, Finding
from t2v_core.job import Job
from t2v_core.specs import DoctorSpec


def doctor(spec: DoctorSpec, job: Job) -> Diagnosis:
    """Return the checks as the `done` event of a job, for a host that is elsewhere."""
    job.events.stage("doctor", str(job.workspace.root))
    checks = []
    for check in examine(spec, job.workspace, os.environ):
        job.check_stop()
        checks.append(check)
    return Diagnosis(healthy=is_healthy(checks), checks=tuple(Finding(**asdict(check)) for check in checks))
