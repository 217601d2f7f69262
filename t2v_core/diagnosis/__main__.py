"""`python -m t2v_core.diagnosis`: what the doctor finds in the folder it runs in, as JSON, for who asks from elsewhere.

A DoctorSpec as JSON on stdin; what `t2v doctor --json` prints on stdout. Without a job's folder: nothing is changed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from t2v_core.diagnosis.examine import examine, report
from t2v_core.specs import DoctorSpec
from t2v_core.workspace import Workspace


def main() -> None:
    """Read a DoctorSpec from stdin and print the report on this folder, both as JSON."""
    spec = DoctorSpec.model_validate_json(sys.stdin.read() or "{}")
    print(json.dumps(report(list(examine(spec, Workspace(Path.cwd()), os.environ)))))


if __name__ == "__main__":
    main()
