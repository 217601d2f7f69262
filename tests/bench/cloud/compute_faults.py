"""Requests to the Compute Engine of the bench, and what can go wrong with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench.cloud.compute_state import Json

REASONS = {400: "invalid", 401: "authError", 403: "forbidden", 404: "notFound", 412: "conditionNotMet",
           429: "rateLimitExceeded", 503: "backendError"}  # fmt: skip


class Refused(Exception):
    """An HTTP answer that is an error."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        reason = reason or REASONS.get(status, "backendError")
        errors = [{"message": message, "domain": "global", "reason": reason}]
        self.status, self.body = status, {"error": {"code": status, "message": message, "errors": errors}}


@dataclass
class Fault:
    """What happens to requests that fit.

    fits:     a pattern for `METHOD path`
    times:    to how many of them; None: to all
    status:   the HTTP answer; 0: none at all, until the emulator closes
    is_after: the request is carried out first, and only its answer is this
    """

    fits: str
    status: int
    times: int | None = 1
    message: str = ""
    reason: str = ""
    is_after: bool = False


def fault_for(faults: Sequence[Fault], said: str, *, is_after: bool = False) -> Fault | None:
    """The first that fits, which is then used up once more."""
    for fault in faults:
        if fault.is_after is is_after and fault.times != 0 and re.search(fault.fits, said):
            fault.times = None if fault.times is None else fault.times - 1
            return fault
    return None


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Json

    def __str__(self) -> str:
        return f"{self.method} {self.path}"
