"""The place of this machine among several that share a job, as whoever leads them says it in the environment."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

from t2v_core.errors import InvalidRequest
from t2v_core.processes.member import PLACE

# Ended by the end of another machine, whose word says more; sysexits.h calls it a temporary failure.
OTHER_HOST_GONE = 75


@dataclass(frozen=True)
class Place:
    """Where this machine stands.

    rank: 0 for the machine that holds the store and, with the first process, events and checkpoints
    hosts: the names of all, by rank
    address, port: of the store, on the first; interface: of this machine, by which the others reach it
    own_address: of this machine on that interface
    run: of this start of the job, so that one that is late for an earlier start does not come to this one
    """

    rank: int
    hosts: tuple[str, ...]
    address: str
    port: int
    interface: str
    own_address: str
    run: str

    @property
    def size(self) -> int:
        """Return how many machines there are."""
        return len(self.hosts)

    @property
    def name(self) -> str:
        """Return the name of this one."""
        return self.hosts[self.rank]

    def to_variable(self) -> str:
        """Return it as the environment of a job holds it."""
        return json.dumps(asdict(self))


def place_here() -> Place | None:
    """Return the place that the environment names; None for a job of one machine. Raises InvalidRequest."""
    said = os.environ.get(PLACE)
    if not said:
        return None
    try:
        values = json.loads(said)
        return Place(**{**values, "hosts": tuple(values["hosts"])})
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidRequest(f"{PLACE} in the environment is not a place in a job: {error}", "unset it") from error
