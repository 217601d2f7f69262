"""A line is an event of its kind or none, whoever wrote it: the older t2v, the newer, or nobody in particular."""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, fields
from io import StringIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t2v_core.events import (
    AlarmEvent,
    CheckpointEvent,
    DoneEvent,
    ErrorEvent,
    Event,
    OtherEvent,
    ProgressEvent,
    SampleEvent,
    ScoreEvent,
    StageEvent,
    StepEvent,
    WarningEvent,
)
from t2v_core.events.kinds import KINDS
from t2v_tui.cli.narrate import PlainNarrator
from t2v_tui.store.run_fold import Fold
from t2v_tui.text.event_log import line_of


def own_fields(kind: type[Event]) -> list[Field[Any]]:
    return [one for one in fields(kind) if one.name not in ("t", "extra")]


NAMES = sorted({one.name for kind in KINDS.values() for one in own_fields(kind)})
NUMBERS = st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False, width=32)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text("abc", max_size=3), SCALARS, max_size=3)
FIELDS = st.dictionaries(st.sampled_from(NAMES) | st.text("xyz", min_size=1, max_size=3), VALUES, max_size=9)
KIND = st.sampled_from(sorted(KINDS)) | st.text("abc", max_size=5)
TIMES = st.integers(0, 2_000_000_000_000).map(lambda ms: ms / 1000)

# A value of each type, by its name; of the numbers 7.
SAID: dict[str, Any] = {"str": "x", "list[str]": ["x"]}

# As they were written before events were classes.
WRITTEN = [
    (StageEvent("train", t=1.5), '{"t":1.5,"kind":"stage","name":"train","detail":""}'),
    (StageEvent("refine", "0.3", model="Epoch 5", steps=15, t=1.5),
     '{"t":1.5,"kind":"stage","name":"refine","detail":"0.3","model":"Epoch 5","steps":15}'),
    (StageEvent("decode", "8 frames", frames=8, t=1.5),
     '{"t":1.5,"kind":"stage","name":"decode","detail":"8 frames","frames":8}'),
    (ProgressEvent(3, 9, "clips", t=1.5), '{"t":1.5,"kind":"progress","done":3,"total":9,"unit":"clips"}'),
    (StepEvent(1, 9, 1, 0.5, 1e-05, 0.25, 4.5, 0.0, t=1.5),
     '{"t":1.5,"kind":"step","step":1,"total":9,"epoch":1,"loss":0.5,"learning_rate":1e-05,"grad_norm":0.25,'
     '"samples_per_s":4.5,"data_wait":0.0}'),
    (StepEvent(1, 9, 1, 0.5, 1e-05, float("inf"), 4.5, 0.0, 0.4, t=1.5),
     '{"t":1.5,"kind":"step","step":1,"total":9,"epoch":1,"loss":0.5,"learning_rate":1e-05,"grad_norm":"inf",'
     '"samples_per_s":4.5,"data_wait":0.0,"mfu":0.4}'),
    (SampleEvent("a.mp4", prompt="a “dog”", step=5, t=1.5),
     '{"t":1.5,"kind":"sample","video":"a.mp4","prompt":"a “dog”","step":5}'),
    (SampleEvent("a.mp4", "a.json", "", t=1.5),
     '{"t":1.5,"kind":"sample","video":"a.mp4","settings":"a.json","prompt":""}'),
    (CheckpointEvent("checkpoints/a", 1, 5, "due", t=1.5),
     '{"t":1.5,"kind":"checkpoint","path":"checkpoints/a","epoch":1,"step":5,"reason":"due"}'),
    (ScoreEvent("held_out_loss", 0.25, 5, t=1.5),
     '{"t":1.5,"kind":"score","name":"held_out_loss","value":0.25,"step":5}'),
    (ScoreEvent("jitter", None, extra={"value": None, "videos": 4}, t=1.5),
     '{"t":1.5,"kind":"score","name":"jitter","value":null,"videos":4}'),
    (WarningEvent("odd", t=1.5), '{"t":1.5,"kind":"warning","message":"odd","hint":""}'),
    (AlarmEvent("pace", "slow", t=1.5), '{"t":1.5,"kind":"alarm","name":"pace","message":"slow","hint":"","cause":""}'),
    (AlarmEvent("loss-spike", "up", "look", step=9, clips=["a", "b"], t=1.5),
     '{"t":1.5,"kind":"alarm","name":"loss-spike","message":"up","hint":"look","step":9,"cause":"","clips":["a","b"]}'),
    (ErrorEvent("no", "", 2, t=1.5), '{"t":1.5,"kind":"error","message":"no","hint":"","exit_code":2}'),
    (DoneEvent(1.25, extra={"video": "a.mp4", "fps": 8.0}, t=1.5),
     '{"t":1.5,"kind":"done","seconds":1.25,"video":"a.mp4","fps":8.0}'),
]  # fmt: skip


@pytest.mark.parametrize(("event", "line"), WRITTEN, ids=[type(event).__name__ for event, _ in WRITTEN])
def test_every_kind_is_written_as_it_always_was_and_read_back(event: Event, line: str) -> None:
    assert event.to_line().decode() == line + "\n"
    again = Event.from_line(line)
    assert type(again) is type(event)
    assert json.loads(again.to_line()) == json.loads(line)


@settings(suppress_health_check=[HealthCheck.too_slow])  # of a machine that is busy
@given(said=FIELDS, kind=KIND, t=TIMES)
def test_a_line_is_an_event_that_passes_everything_on(said: dict[str, Any], kind: str, t: float) -> None:
    line = {"t": t, "kind": kind} | said
    event = Event.from_line(json.dumps(line))
    assert event is not None
    assert (event.t, event.kind) == (t, kind)
    assert json.loads(event.to_line()).items() >= line.items()  # what was not said may stand there with its default
    again = Event.from_line(event.to_line())
    assert again == event


@given(line=st.dictionaries(st.sampled_from(["t", "kind", *NAMES]), VALUES, max_size=9) | VALUES)
def test_any_json_is_an_event_or_none_and_no_reader_minds_it(line: Any) -> None:
    event = Event.from_line(json.dumps(line))
    if event is not None:
        Fold().take(event)
        PlainNarrator(StringIO()).show(event)
        assert line_of(event)


@given(data=st.binary(max_size=60) | st.text(st.characters(), max_size=60))
def test_any_bytes_are_an_event_or_none(data: bytes | str) -> None:
    event = Event.from_line(data)
    assert event is None or event.to_line()


@pytest.mark.parametrize("inside", [b"1", b'"\\ud800"'])
def test_a_line_nested_too_deeply_to_be_read_is_none(inside: bytes) -> None:
    for depth in (100, 600, 950, 5000):
        event = Event.from_line(b'{"t":1,"kind":"x","a":' + b"[" * depth + inside + b"]" * depth + b"}")
        assert event is None or event.to_line()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_a_newer_t2v_says_more_is_kept_and_passed_on(kind: type[Event]) -> None:
    all_of_it = {one.name: SAID.get(str(one.type).partition(" ")[0], 7) for one in own_fields(kind)}
    more = {"heat_c": 71.5, "parts": [{"a": None}], "extra": 1}
    line = {"t": 1.0, "kind": kind.KIND} | all_of_it | more
    event = Event.from_line(json.dumps(line))
    assert event == kind(**all_of_it, t=1.0, extra=more)  # type: ignore[arg-type]
    assert json.loads(event.to_line()) == line


def test_a_kind_that_only_a_newer_t2v_knows_is_passed_on_and_shows_nothing() -> None:
    line = b'{"t":1.0,"kind":"heat","celsius":71.5}\n'
    event = Event.from_line(line)
    assert event == OtherEvent("heat", t=1.0, extra={"celsius": 71.5})
    assert event.to_line() == line
    shown, fold = StringIO(), Fold()
    PlainNarrator(shown).show(event)
    fold.take(event)
    assert shown.getvalue() == ""
    assert line_of(event)[9:] == "heat"


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_older_t2v_says_less_and_is_read_with_defaults(kind: type[Event]) -> None:
    needed = [one for one in own_fields(kind) if one.default is MISSING]
    least = {one.name: "x" if one.type == "str" else 7 for one in needed}
    event = Event.from_line(json.dumps({"t": 1.0, "kind": kind.KIND} | least))
    assert type(event) is kind
    assert {name: value for name, value in vars(event).items() if name not in ("t", "extra")} == least
    assert event == kind(**least, t=1.0)  # type: ignore[arg-type]


def test_a_figure_that_is_none_is_not_said_and_what_a_kind_needs_makes_it_another_event() -> None:
    torn = Event.from_line('{"t":1,"kind":"step","step":3,"loss":"nan","epoch":null}')
    assert torn == StepEvent(3, t=1.0, extra={"loss": "nan", "epoch": None})
    for line in ('{"t":1,"kind":"step"}', '{"t":1,"kind":"step","step":"3"}', '{"t":1,"kind":"stage","name":[]}'):
        event = Event.from_line(line)
        assert isinstance(event, OtherEvent)
        assert json.loads(event.to_line()) == json.loads(line)
