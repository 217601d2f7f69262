"""A process that the door started as one of several: whose fate it shares, and how it says by what it ended."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from t2v_core.errors import EngineError, Stopped

# In the environment of each of them: the pid of the process that started it, and the folder for their last words.
GANG = "T2V_GANG"
# In the environment of a job that several machines share: the place of this one among them, as place.py reads it.
PLACE = "T2V_PLACE"
# A run that begins although it has a checkpoint is refused; one that starts again goes on from it. SkyPilot and Slurm
# start a job again by the same command, and torchrun its processes.
STARTED_AGAIN = ("T2V_STARTED_AGAIN", "TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
ENDED_ON_REQUEST = (Stopped("").exit_code, 130)
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Ending:
    """By what one process ended.

    is_said: the engine explains it, so that it would come again; is_echo: another one's end, as a collective tells it
    alarm: the name of the alarm that goes with it, or empty; t: Unix time in seconds
    """

    rank: int
    message: str
    hint: str
    exit_code: int
    is_said: bool
    is_echo: bool
    alarm: str
    t: float

    @property
    def is_on_request(self) -> bool:
        """Return True for one that somebody asked to end."""
        return self.exit_code in ENDED_ON_REQUEST


def is_launched() -> bool:
    """Return True in a process that a launcher started as one of several: ours, torchrun, or accelerate."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_member() -> bool:
    """Return True in a process that our own door started."""
    return GANG in os.environ and is_launched()


def is_on_several_machines() -> bool:
    """Return True in a process of which others are on other machines."""
    return is_launched() and os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]) != os.environ["WORLD_SIZE"]


def is_of_agent() -> bool:
    """Return True in a process that torchrun's agent started, ours or another."""
    return is_launched() and "TORCHELASTIC_RUN_ID" in os.environ


def is_started_again() -> bool:
    """Return True when this is not the first start of the same job."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in STARTED_AGAIN)


def share_fate() -> None:
    """Have the system kill this process when the one that started it dies, or end at once when it has."""
    leader = int(os.environ[GANG].partition(":")[0])
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != leader:
        os._exit(1)


def leave_word(error: EngineError, cause: BaseException, alarm: str = "") -> None:
    """Write by what this process ended, for the one that started it. error: in words; cause: what was raised"""
    folder, rank = Path(os.environ[GANG].partition(":")[2]), int(os.environ["RANK"])
    ending = Ending(
        rank, error.message, error.hint, error.exit_code, error is cause, _is_echo(cause), alarm, time.time()
    )  # fmt: skip
    with suppress(OSError):  # of a full disk: its exit code is left
        (folder / f"{rank}.partial").write_text(json.dumps(asdict(ending)))
        (folder / f"{rank}.partial").rename(folder / f"{rank}.ending")


def last_words(folder: Path) -> list[Ending]:
    """Return by what the processes ended that could say it, the first to end first."""
    found = [Ending(**json.loads(path.read_text())) for path in folder.glob("*.ending")]
    return sorted(found, key=lambda ending: ending.t)


def _is_echo(error: BaseException) -> bool:
    """Return True for what torch.distributed raises where another process is gone."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return "DistError" in kinds or (isinstance(error, RuntimeError) and any(word in str(error) for word in ECHOES))


ECHOES = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe", "ProcessGroup")
