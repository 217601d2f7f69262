"""A result is read as it was written, and by a t2v that knows less or more of it."""

from __future__ import annotations

import json

from t2v_core.events import DoneEvent, Event
from t2v_core.events.results import KilledRun, Preprocessed, ResumeVerified, Trained

KILLED = KilledRun(
    killed="in the middle of an epoch", steps_done=7, resumed_at=6, left_half_written=("ema",), order_is_same=True,
    tensors=524, differing=(), largest_difference=0.0,
)  # fmt: skip
VERIFIED = ResumeVerified(
    exact=True, largest_difference=0, cases=(KILLED, KILLED), between_two_whole_runs=None, preset="tiny", steps=12,
    processes=1, device="cpu", took_s=3.5,
)  # fmt: skip


def test_a_result_with_parts_is_written_in_order_and_read_back() -> None:
    line = DoneEvent(1.0, extra=VERIFIED.plain()).to_line()
    said = json.loads(line)
    names = ["seconds", "exact", "largest_difference", "cases", "between_two_whole_runs", "preset"]
    assert [*said][2:8] == names
    assert said["between_two_whole_runs"] is None
    assert said["cases"][0]["left_half_written"] == ["ema"]
    done = Event.from_line(line)
    assert isinstance(done, DoneEvent)
    assert ResumeVerified.of(done.extra) == VERIFIED


def test_what_is_not_known_is_left_out_or_null_as_ever() -> None:
    ended = Trained(checkpoint="checkpoints/a", steps=3, held_out_loss=None)
    assert ended.plain() == {"checkpoint": "checkpoints/a", "steps": 3, "held_out_loss": None}
    assert [*Trained(checkpoint="a", steps=3, loss=0.5, held_out_loss=0.25).plain()] == [
        "checkpoint", "steps", "loss", "held_out_loss",
    ]  # fmt: skip
    assert DoneEvent(extra=ended.plain()).asked_for() == ["checkpoints/a"]


def test_a_newer_result_is_read_without_what_it_says_more_and_another_verb_s_is_none() -> None:
    said = VERIFIED.plain() | {"heat_c": 70}
    assert ResumeVerified.of(said) == VERIFIED
    assert Preprocessed.of(said) is None
    assert ResumeVerified.of(said | {"cases": "none"}) is None
