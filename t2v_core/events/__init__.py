"""What the engine answers: one JSON object a line in `events.jsonl`, and nothing else.

{"t": 1763832901.2, "kind": "step", "step": 12, "loss": 0.31, …}

kind        fields                  the classes of `kinds.py` say what each is
stage       name, detail            a part of the work begins
progress    done, total, unit       how far that part is
step        step, total, epoch, loss, learning_rate, grad_norm, samples_per_s, data_wait
machine     gpu_use_percent, gpu_memory_gb, gpu_temperature_c, gpu_power_w
sample      video, prompt           a video to look at
checkpoint  path, epoch, step, reason
score       name, value, …          one figure with its protocol
warning     message, hint
alarm       name, message, hint, step, cause, clips
error       message, hint, exit_code
done        seconds, …              the result: where it lies, a class of `results.py` for each verb

A line is read once, where it comes in (`Event.from_line`); what it says is then typed, and what this version does not
know of it is passed on.
"""

from __future__ import annotations

from t2v_core.events.file import EventReader, EventWriter, read_events
from t2v_core.events.kinds import (
    AlarmEvent,
    CheckpointEvent,
    DoneEvent,
    ErrorEvent,
    Event,
    MachineEvent,
    OtherEvent,
    ProgressEvent,
    SampleEvent,
    ScoreEvent,
    StageEvent,
    StepEvent,
    WarningEvent,
)

__all__ = [
    "AlarmEvent",
    "CheckpointEvent",
    "DoneEvent",
    "ErrorEvent",
    "Event",
    "EventReader",
    "EventWriter",
    "MachineEvent",
    "OtherEvent",
    "ProgressEvent",
    "SampleEvent",
    "ScoreEvent",
    "StageEvent",
    "StepEvent",
    "WarningEvent",
    "read_events",
]
