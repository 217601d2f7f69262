"""Every reply of an agent is read to its dataclass or to one sentence, from an older and from a newer agent alike."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hostile import reply_strategies as replies
from support.hostile.reply_strategies import JSON, QUESTIONS, is_required, kinds_of, replies_of
from support.hostile.wire_targets import Replay, lines

from remote.agent.__main__ import VERBS
from remote.errors import AgentError, BadReply
from remote.hosts.agent_client import Agent
from remote.replies.job_row import JobRow
from remote.replies.question import Question
from remote.replies.questions import LS, OFFER, READ, STATUS
from remote.replies.transfer import FullOffer

QUIET = settings(
    deadline=None, database=None, derandomize=True, max_examples=15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
SENTENCE = re.compile("vm's reply to '[a-z_]+' is not in the expected form: [^\n]+")
of_every_question = pytest.mark.parametrize("name", QUESTIONS)


def refusal(question: Question[Any], said: Any) -> BadReply | None:
    """None when it is read; any other error ends the test."""
    try:
        question.read(said, "vm")
    except BadReply as error:
        return error
    return None


def test_the_agent_knows_every_question() -> None:
    assert set(QUESTIONS) <= set(VERBS)


@of_every_question
def test_what_a_newer_agent_says_beyond_it_is_passed_over(name: str) -> None:
    question = QUESTIONS[name]

    @QUIET
    @given(replies_of(question.reply), JSON)
    def read(said: Any, more: Any) -> None:
        assert question.read(replies.with_more(said, more), "vm") == question.read(said, "vm")

    if name != STATUS.name:  # a row's last event is kept as it came
        read()


@of_every_question
def test_what_an_older_agent_does_not_say_yet_has_its_default(name: str) -> None:
    question = QUESTIONS[name]

    @QUIET
    @given(replies_of(question.reply))
    def read(said: Any) -> None:
        whole = question.read(said, "vm")
        older = question.read(replies.without_what_came_later(whole), "vm")
        for field in fields(whole):
            if is_required(field):
                continue
            default = field.default if field.default_factory is MISSING else field.default_factory()
            assert getattr(older, field.name) == default

    read()


@of_every_question
def test_a_field_of_another_type_is_a_sentence_with_host_question_and_field(name: str) -> None:
    question = QUESTIONS[name]

    @settings(QUIET, max_examples=40)
    @given(st.data())
    def read(data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(kinds_of(question)))
        field = data.draw(st.sampled_from(fields(kind))).name
        with pytest.raises(BadReply) as refused:
            question.read(data.draw(replies_of(kind)) | {field: [[3]]}, "vm")
        assert f"vm's reply to '{name}' is not in the expected form: {field}" in refused.value.message
        assert refused.value.hint == "t2v bootstrap --host vm renews t2v there"

    if any(fields(kind) for kind in kinds_of(question)):
        read()


@of_every_question
def test_whatever_stands_in_a_reply_is_read_or_is_a_sentence(name: str) -> None:
    question = QUESTIONS[name]

    @settings(QUIET, max_examples=50)
    @given(st.data())
    def read(data: st.DataObject) -> None:
        said = data.draw(replies_of(question.reply))
        place = data.draw(st.sampled_from(replies.places(said)))
        error = refusal(question, replies.replaced(said, place, data.draw(JSON)))
        assert error is None or SENTENCE.fullmatch(error.message)

    read()


@of_every_question
def test_what_is_missing_is_named(name: str) -> None:
    question = QUESTIONS[name]
    needed = [field.name for field in fields(kinds_of(question)[-1]) if is_required(field)]

    @QUIET
    @given(replies_of(kinds_of(question)[-1]))
    def read(said: Any) -> None:
        for field in needed:
            with pytest.raises(BadReply, match=field):
                question.read({key: value for key, value in said.items() if key != field}, "vm")

    read()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({}, "it says no entries"),
        ({"entries": 3}, "entries is a number instead of a list"),
        ({"entries": [{"path": "a"}]}, "entries[0] says no kind"),
        (
            {"entries": [{"path": "a", "kind": "file", "size_bytes": 1.5, "mtime": 3, "is_complete": None}]},
            "entries[0].size_bytes is a number instead of a whole number",
        ),
        (
            {"entries": [{"path": "a", "kind": "file", "size_bytes": 1, "mtime": 1e300, "is_complete": None}]},
            "entries[0].mtime is none: a time is expected",
        ),
    ],
)
def test_the_sentence_leads_to_the_field(said: Any, sentence: str) -> None:
    with pytest.raises(AgentError) as refused:
        Agent(Replay(lines({"id": 1, "ok": said}), is_asked=False), "vm").ask(LS, timeout_s=60.0)
    assert refused.value.message == f"vm's reply to 'ls' is not in the expected form: {sentence}"


def test_bytes_come_as_bytes() -> None:
    assert READ.read({"data": "aGVsbG8="}, "vm").data == b"hello"
    with pytest.raises(BadReply, match="data is none: base64 is expected"):
        READ.read({"data": "a"}, "vm")


def test_the_words_of_a_row_can_be_written_down_and_its_event_too() -> None:
    said = {"job": "a\udce9", "reason": "\ud83d", "last_event": {"name": "\ud83d"}}
    (row,) = STATUS.read({"jobs": [said]}, "vm").jobs
    assert row == JobRow("a\\xe9", reason="\\ud83d", last_event={"name": "\\ud83d"})
    json.dumps(row.to_json(), ensure_ascii=False).encode()


def test_an_offer_keeps_its_names_as_they_are() -> None:
    file = {"name": "", "size": 1, "mtime_ns": 1, "inode": 1, "sha256": None}
    unit = {"path": "outputs/\udce9", "kind": "file", "files": [file]}
    offer = OFFER.read({"workspace": "/w", "units": [unit]}, "vm")
    assert isinstance(offer, FullOffer)
    assert offer.units[0].path == "outputs/\udce9"
