"""What a training told on its way beside its figures: samples, alarms, warnings, its machine, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2v_core.disk.plain_json import read_lines
from t2v_core.events import AlarmEvent, DoneEvent, ErrorEvent, Event, SampleEvent, StageEvent, WarningEvent

# A training of a million steps has as many lines that are none of these; looking at their beginning costs a tenth of
# reading them.
HEAD_BYTES = 60
FIGURES = (b'"kind":"step"', b'"kind":"machine"', b'"kind":"progress"')
MOST_SAMPLES, MOST_COMPLAINTS = 20_000, 200


@dataclass(frozen=True)
class Story:
    """samples: in their order; complaints: alarms and warnings, each told once; machine: what a training says of its
    own, with the keys of `t2v_core.training.preflight`; end: its last word, None while it goes on
    """  # fmt: skip

    samples: tuple[SampleEvent, ...] = ()
    complaints: tuple[AlarmEvent | WarningEvent, ...] = ()
    machine: dict[str, Any] = field(default_factory=dict)
    end: DoneEvent | ErrorEvent | None = None


def story_of(events: Path) -> Story:
    """Read the events of a training; nothing of a file that is not there."""
    samples: list[SampleEvent] = []
    complaints: dict[str, AlarmEvent | WarningEvent] = {}
    machine: dict[str, Any] = {}
    end: DoneEvent | ErrorEvent | None = None
    for event in _told(events):
        match event:
            case SampleEvent() if len(samples) < MOST_SAMPLES:
                samples.append(event)
            case AlarmEvent() | WarningEvent() if len(complaints) < MOST_COMPLAINTS:
                complaints.setdefault(event.message, event)
            case StageEvent(extra={"machine": dict(said)}):
                machine = said
            case DoneEvent() | ErrorEvent():
                end = event
            case _:
                pass
    return Story(tuple(samples), tuple(complaints.values()), machine, end)


def _told(events: Path) -> Iterator[Event]:
    try:
        for line in read_lines(events):
            head = line[:HEAD_BYTES]
            if not any(one in head for one in FIGURES) and (event := Event.from_line(line)) is not None:
                yield event
    except OSError:
        return
