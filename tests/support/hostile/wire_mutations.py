"""Inputs made of valid ones, and what is done with each: read, in time, to a value or a sentence."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from support.hostile.wire_targets import SENTENCES, Target

DEADLINE_S = 20.0
DEEP = 3000
# Placeholders in a mutated text, for what `json.dumps` does not write.
RAW = {'"@digits"': "9" * 5000, '"@huge"': "1e999", '"@nan"': "NaN", '"@inf"': "-Infinity", '"@deep"': "[" * DEEP}
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**63, 2**64, -(2**70), 0.5, 1e308, -1e308, 1e11, 253402300800, "", "\0", "\ud800",
    "\udce9", "../../x", "/", "~", "\x1b[2J", "x" * 5000, "nan", "9" * 400, [], {}, [[]], [None], {"": None},
    *(one.strip('"') for one in RAW),
)  # fmt: skip
TOKENS = (
    b"\0", b"\n", b"\r", b"\x85", b"{", b"[", b"}", b"]", b'"', b"\\ud800", b"\xff\xfe", b"\xed\xa0\x80", b"1e999",
    b"-1", b"NaN", b"9" * 400, b"[" * DEEP, b'{"a":' * DEEP, b"=", b"|1|", b"*" * 50 + b"a", b"!", b"#", b"'''",
)  # fmt: skip


class TooLong(BaseException):
    """A reader did not come back; no `except Exception` of the reader's keeps it."""


def mutated(target: Target, rng: random.Random) -> bytes:
    """Another input for it."""
    data = rng.choice(target.samples)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        data = _other_value(data, rng) if rng.random() < 0.6 else _other_bytes(data, rng)
    return data


def _other_value(data: bytes, rng: random.Random) -> bytes:
    """One value of one of its JSON lines is another one, gone, or twice there."""
    found = data.split(b"\n")
    at = rng.randrange(len(found))
    try:
        value = json.loads(found[at])
    except (ValueError, RecursionError):
        return _other_setting(data, rng) if b"=" in data else _other_bytes(data, rng)
    words = json.dumps(_changed(value, rng))
    for mark, raw in RAW.items():
        words = words.replace(mark, raw)
    found[at] = words.encode()
    return b"\n".join(found)


def _changed(value: Any, rng: random.Random) -> Any:
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return rng.choice(ODD)
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
    how = rng.random()
    if how < 0.1:
        del copy[key]
    elif how < 0.15 and isinstance(copy, list):
        copy += copy
    elif how < 0.2 and isinstance(copy, dict):
        copy[str(rng.choice(ODD))[:40]] = rng.choice(ODD)
    else:
        copy[key] = _changed(value[key], rng)
    return copy


TOML_VALUES = (
    b"1", b"-1", b"1e400", b"nan", b"true", b'""', b'"a"', b"[]", b"[1, 'a']", b"{}", b"{ a = 1 }", b"2026-11-25",
    b"''",    b"9" * 5000, b"[" * DEEP, b'"\\u0000"', b"10:00:00", b"0x10",
)  # fmt: skip


def _other_setting(data: bytes, rng: random.Random) -> bytes:
    """A setting has another kind of value, or a section another name."""
    places = list(re.finditer(rb"= .*|\[[\w.]+\]", data))
    if not places:
        return _other_bytes(data, rng)
    one = rng.choice(places)
    new = (
        b"= " + rng.choice(TOML_VALUES)
        if one[0].startswith(b"=")
        else b"[" + rng.choice(places)[0].strip(b"[]= ") + b"]"
    )
    return data[: one.start()] + new + data[one.end() :]


def _other_bytes(data: bytes, rng: random.Random) -> bytes:
    begin, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    match rng.randrange(5):
        case 0:
            return data[:begin] + rng.choice(TOKENS) + data[begin:]
        case 1:
            return data[:begin] + data[end:]
        case 2:
            return data[:end] + data[begin:]
        case 3:
            return data[:begin] + bytes(rng.randrange(256) for _ in range(min(8, end - begin))) + data[begin + 8 :]
        case _:
            return data[:begin]


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    def late(_number: int, _frame: FrameType | None) -> None:
        raise TooLong(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fault(target: Target, data: bytes, folder: Path | None = None) -> str:
    """What is wrong with the product, as it reads this; "" for a value or a sentence."""
    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        with deadline(DEADLINE_S):
            target.read(place, data)
    except SENTENCES as error:
        said = str(error)
        return "" if said.strip() and "Traceback" not in said else f"an empty sentence: {error!r}"
    except (Exception, TooLong) as error:  # noqa: BLE001 - this is what is looked for
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        where = f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}" if at is not None else "?"
        return f"{type(error).__name__} at {where}: {str(error)[:200]}"
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return ""
