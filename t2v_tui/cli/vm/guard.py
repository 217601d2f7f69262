"""What a VM's guard says, in words: what keeps it at work, or when it stops by itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from remote.errors import RemoteError
from remote.guard import GuardState, guard_status
from remote.hosts.host import Host
from t2v_core.format import ago, date_time, span

SHOWN_REASONS = 3


def asked_guard(host: Host) -> GuardState | RemoteError:
    """Return what it says, or why it says nothing: the rest of a table is worth showing without it."""
    try:
        return guard_status(host)
    except RemoteError as error:
        return error


def as_json_guard(guard: GuardState | RemoteError | None) -> dict[str, Any] | None:
    """Return its values for JSON: None when nobody asked, since it is off; `why_not` when it said nothing."""
    return {"why_not": guard.message} if isinstance(guard, RemoteError) else asdict(guard) if guard else None


def guard_in_words(guard: GuardState | RemoteError, now_t: float) -> str:
    """Return `idle for 12 min: stops in 18:00`."""
    if isinstance(guard, RemoteError):
        return f"not known: {guard.message}"
    if not guard.is_installed:
        return "none: it does not stop by itself; the next job installs one"
    if guard.error:
        return guard.error
    if not guard.can_power_off:
        return "it is not allowed to switch the VM off, so it does not stop by itself: let its user use sudo there"
    if not guard.is_alive or guard.stops_t is None:
        return "it no longer checks: t2v vm start installs it again"
    reasons = [*guard.busy, *guard.unknown]
    if reasons:
        more = f" and {len(reasons) - SHOWN_REASONS} more" if len(reasons) > SHOWN_REASONS else ""
        begin = f"at work: {', '.join(reasons[:SHOWN_REASONS])}{more}"
    else:
        begin = "idle" if guard.idle_since_t is None else f"idle for {ago(now_t - guard.idle_since_t)}"
    kept = f"; kept for {ago(guard.kept_until_t - now_t)}" if guard.kept_until_t is not None else ""
    return f"{begin}{kept}; stops in {span(guard.stops_t - now_t)}: {guard.why}"


def last_stop_in_words(guard: GuardState | RemoteError | None) -> str:
    """Return `2026-11-24 03:10 by itself: idle for 30 min`; "" when it has never stopped itself, as far as it knows."""
    if not isinstance(guard, GuardState) or guard.last_stop is None:
        return ""
    return f"{date_time(guard.last_stop.t)} by itself: {guard.last_stop.why}"
