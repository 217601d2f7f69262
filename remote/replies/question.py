"""A question to an agent, and the one kind of reply that it has."""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import Generic, TypeVar

from remote.errors import BadReply
from t2v_core.disk.typed_json import Misfit, read_as

R = TypeVar("R")


@dataclass(frozen=True)
class Question(Generic[R]):
    """Every question may be asked twice without harm.

    name:  as the agent knows it
    reply: the dataclass that its reply is read into, or several, told apart by a field that only one has so
    """

    name: str
    reply: type[R] | UnionType

    def read(self, said: object, host: str) -> R:
        """Return the reply of a host, as its dataclass. Raises BadReply."""
        return read_reply(self.reply, said, host, self.name)


def read_reply(kind: type[R] | UnionType, said: object, host: str, question: str) -> R:
    """Return what a host said, as that dataclass. Raises BadReply."""
    try:
        return read_as(kind, said)
    except Misfit as wrong:
        raise bad_reply(host, question, str(wrong)) from None


def bad_reply(host: str, question: str, wrong: str) -> BadReply:
    """Return the error for a reply that makes no sense. wrong: the field, and what is wrong with it, for people"""
    return BadReply(
        f"{host}'s reply to '{question}' is not in the expected form: {wrong}",
        f"t2v bootstrap --host {host} renews t2v there",
    )
