"""Whatever a host, a disk or another program wrote is read to a value or to a sentence, and never to a traceback."""

from __future__ import annotations

import random
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hostile import wire_samples
from support.hostile.wire_mutations import fault, mutated
from support.hostile.wire_samples import BY_NAME, ROW
from support.hostile.wire_targets import QUESTIONS, SENTENCES, Replay, Target, lines, text

from remote.agent.base.files import read_json
from remote.errors import AgentError, BadReply, LinkLost, RemoteError
from remote.hosts.agent_client import Agent
from remote.replies.questions import HELLO, STATUS
from t2v_core.disk.plain_json import Cutter, read_table
from t2v_core.events import Event, StageEvent


def is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


# Those that write a folder of files for each input.
SLOW = {
    "trainer.json": 6,
    "job folder": 6,
    "remembered": 6,
    "store": 25,
    "t2v.toml": 25,
    "manifest": 30,
    "known_hosts": 30,
}
QUIET = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    report_multiple_bugs=False,
)  # fmt: skip


@pytest.mark.parametrize("name", BY_NAME)
def test_mutated_inputs_are_read_or_refused(name: str, tmp_path: Path) -> None:
    target = BY_NAME[name]

    @settings(QUIET, max_examples=SLOW.get(name, 100))
    @given(st.integers(0, 2**32))
    def read(seed: int) -> None:
        assert not fault(target, mutated(target, random.Random(seed)), tmp_path), f"seed {seed}"

    read()


@pytest.mark.parametrize("name", BY_NAME)
def test_any_bytes_are_read_or_refused(name: str, tmp_path: Path) -> None:
    target = BY_NAME[name]

    @settings(QUIET, max_examples=SLOW.get(name, 100))
    @given(st.binary(max_size=300))
    def read(data: bytes) -> None:
        assert not fault(target, data, tmp_path)

    read()


# An agent's own refusals, and the halves of a store.
REFUSED = {"conversation": 1, "store": 2}


@pytest.mark.parametrize("name", BY_NAME)
def test_the_samples_are_valid(name: str, tmp_path: Path) -> None:
    """Else what is made of them is refused at the first look, and nothing behind it is tried."""
    refused = 0
    for number, sample in enumerate(BY_NAME[name].samples):
        (tmp_path / str(number)).mkdir()
        try:
            BY_NAME[name].read(tmp_path / str(number), sample)
        except SENTENCES:
            refused += 1
    assert refused == REFUSED.get(name, 0)


def test_a_fault_is_seen() -> None:
    def breaks(_folder: Path, data: bytes) -> object:
        return data.decode()

    assert "UnicodeDecodeError at " in fault(Target("one", breaks, ()), b"\xff")


@pytest.mark.parametrize(
    "said",
    [{"id": [1]}, {"id": 1}, {"id": 1, "ok": 5}, {"id": 1, "ok": [1]}, {"id": 1, "error": 5}, {"id": 1, "ok": {}},
     {"id": 1, "error": {"kind": [], "message": {}}}, {"id": 1, "ok": {"logout": 3}}],
)  # fmt: skip
def test_an_answer_of_another_form_is_a_sentence(said: Any) -> None:
    with pytest.raises(RemoteError) as refused:
        Agent(Replay(lines(said), is_asked=False), "vm").ask(HELLO, timeout_s=60.0)
    assert refused.value.message.strip()


def test_a_line_that_is_nested_without_end_ends_no_listener() -> None:
    agent = Agent(Replay(b"[" * 100_000 + b"\n" + lines({"id": 1, "ok": {"logout": ""}}), is_asked=False), "vm")
    assert agent.call("hello", timeout_s=60.0) == {"logout": ""}


def test_a_listener_that_heard_the_end_answers_whoever_asks() -> None:
    agent = Agent(Replay(b"", is_asked=False), "vm")
    for _ in range(2):
        with pytest.raises(LinkLost):
            agent.call("hello", timeout_s=60.0)


@pytest.mark.parametrize(("field", "value"), [("queued_t", 1e300), ("log_bytes", "3"), ("reason", None), ("job", 4)])
def test_a_row_of_other_types_is_a_sentence(field: str, value: Any) -> None:
    with pytest.raises(AgentError, match=field):
        STATUS.read({"jobs": [ROW | {field: value}]}, "vm")


def test_what_the_samples_answer_fits_and_what_is_missing_does_not() -> None:
    for question in (one for one in QUESTIONS if one.name in wire_samples.ANSWERS):
        said = wire_samples.ANSWERS[question.name]
        reply = question.read(said, "vm")
        for name in (one.name for one in fields(reply) if is_required(one)):
            with pytest.raises(BadReply, match=name):
                question.read({key: value for key, value in said.items() if key != name}, "vm")


@pytest.mark.parametrize(
    "line", [b'{"t":NaN,"kind":"step"}', b'{"t":1e300,"kind":"step"}', b"[" * 9000, b'{"t":' + b"9" * 400]
)
def test_an_event_without_a_moment_is_none(line: bytes) -> None:
    assert Event.from_line(line) is None


def test_an_event_can_be_shown_whatever_is_in_it() -> None:
    event = Event.from_line(b'{"t":1,"kind":"stage","name":"\\ud800","more":["\\udce9"]}')
    assert event is not None
    assert isinstance(event, StageEvent)
    assert (event.name, event.extra) == ("\\ud800", {"more": ["\\xe9"]})


def test_a_line_that_is_too_long_is_passed_over_and_the_next_is_not() -> None:
    cutter = Cutter(10)
    assert [line for piece in (b"ab\ncd", b"e" * 9, b"e\nnext", b" one\n") for line in cutter.take(piece)] == [
        b"ab", b"next one",
    ]  # fmt: skip


def test_a_pipe_in_a_job_s_folder_holds_up_nobody(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "state.json")
    assert read_json(tmp_path / "state.json") is None
    with pytest.raises(OSError, match="not a regular file"):
        read_table(tmp_path / "state.json")


def test_a_job_whose_files_are_damaged_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "exit.json").write_bytes(text({"code": "one", "reason": 4, "ended": "now"}))
    (tmp_path / "state.json").write_bytes(text({"pid": "12", "argv": ["a"]}))
    assert read_json(tmp_path / "exit.json") is None
    assert read_json(tmp_path / "state.json") == {"argv": ["a"]}
