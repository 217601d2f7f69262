"""What a host says of one of its jobs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Annotated, Any

from t2v_core.disk.plain_json import whole_characters
from t2v_core.disk.typed_json import Refined, ShownText, UnixTime
from t2v_core.events import AlarmEvent, Event

STALLED = "stalled"
ALIVE = ("queued", "starting", "running", STALLED)
FAILED = 1
ShownEvent = Annotated[dict[str, Any], Refined("an object", whole_characters)]


@dataclass(frozen=True)
class JobRow:
    """One job as `status` tells it.

    state:      queued, starting, running, succeeded, failed, stopped, preempted or lost; never "unreachable", which a
                link can be
    code:       of its exit; None before that, and when nobody saw it
    *_t:        Unix times in seconds, by the host's clock
    last_event: the newest line of its events that is not an alarm
    alarm:      the newest one among them
    without_step_s: how long a training that runs has taken no step, where that is too long
    of:         the workspace that began it, when it is another one that shares the host's folder; empty for this one's
    """

    job: ShownText
    verb: ShownText = ""
    state: ShownText = "queued"
    code: int | None = None
    signal: ShownText | None = None
    reason: ShownText = ""
    hint: ShownText = ""
    queued_t: UnixTime | None = None
    started_t: UnixTime | None = None
    ended_t: UnixTime | None = None
    pid: int | None = None
    place_in_queue: int | None = None
    needs_gpu: bool = False
    after: ShownText | None = None
    log_bytes: int = 0
    events_bytes: int = 0
    last_event: ShownEvent | None = None
    alarm: ShownEvent | None = None
    without_step_s: int | None = None
    supervised: bool = False
    of: ShownText = ""

    def to_json(self) -> dict[str, Any]:
        """Return all fields by name, as plain JSON."""
        return asdict(self)

    @property
    def word(self) -> str:
        """Return the state as it is shown: `stalled` for a training that runs and takes no step."""
        return STALLED if self.state == "running" and self.without_step_s is not None else self.state

    @cached_property
    def newest_alarm(self) -> AlarmEvent | None:
        """Return the newest alarm, as far as this t2v can read it."""
        event = None if self.alarm is None else Event.from_table({"t": 0.0, **self.alarm})
        return event if isinstance(event, AlarmEvent) else None

    @property
    def has_ended(self) -> bool:
        """Tell whether the job is over, in whatever way."""
        return self.state not in ALIVE

    @cached_property
    def newest(self) -> Event | None:
        """Return the newest of its events, as far as this t2v can read it."""
        return None if self.last_event is None else Event.from_table({"t": 0.0, **self.last_event})

    @property
    def exit_code(self) -> int:
        """Return what a command that waited for the job ends with; a lost job failed."""
        return FAILED if self.code is None else self.code

    @property
    def began_t(self) -> float:
        """Return the time by which jobs are sorted."""
        return self.queued_t or self.started_t or self.ended_t or 0.0
