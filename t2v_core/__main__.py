"""The door into the engine: `python -m t2v_core VERB JOBDIR`; see run_job.py."""

import sys

from t2v_core.run_job import main

if __name__ == "__main__":
    sys.exit(main())
