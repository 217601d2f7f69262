"""A spot machine that is about to be taken away says so for 30 s: time for a checkpoint, and for a word why.

The metadata server answers a question that waits for a change. The last answer's etag always goes with the next
question, beginning with NONE: a change between two questions is then told at once, where it would be missed else.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..base.asked import expanded
from ..base.cloud import is_google
from ..base.files import read_json, write_json
from ..base.private import make_folder
from ..base.processes import boot_id, main_process
from .last_words import PREEMPTED, leave_mark

HOST = os.environ.get("T2V_METADATA_HOST", "")
DEFAULT_HOST = "metadata.google.internal"
PATH = "/computeMetadata/v1/instance/preempted"
FLAVOR = "Metadata-Flavor"
NO_ETAG = "NONE"
WAIT_S = 60
CONNECT_TIMEOUT_S = 2.0
# Of 30 s these may be lost when the server was down at the moment of the change.
RETRY_S = 1.0


class Answer(NamedTuple):
    is_preempted: bool
    etag: str


class NoAnswer(Exception):
    """The metadata server is down, or it is none."""


def metadata_host() -> str | None:
    """Return the metadata server's host; None on a machine that has none, which is not asked for then."""
    return HOST or (DEFAULT_HOST if is_google() else None)


def ask(host: str, etag: str, wait_s: int) -> Answer:
    """Return the state now if it is another than `etag`'s, else the next one. Raises NoAnswer.

    After `wait_s` without a change it is the same state once more.
    """
    import http.client  # 30 ms that every conversation would pay

    name, _, port = host.partition(":")
    connection = http.client.HTTPConnection(name, int(port or 80), timeout=CONNECT_TIMEOUT_S)
    try:
        connection.connect()
        connection.sock.settimeout(wait_s + 10)
        query = f"?wait_for_change=true&last_etag={etag}&timeout_sec={wait_s}"
        connection.request("GET", PATH + query, headers={FLAVOR: "Google"})
        answer = connection.getresponse()
        body = answer.read(100).strip().upper()
        if answer.status != 200 or answer.getheader(FLAVOR) != "Google":
            raise NoAnswer(f"{host} answers {answer.status}")
        return Answer(body == b"TRUE", answer.getheader("ETag") or NO_ETAG)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"{host}: {error}") from error
    finally:
        connection.close()


def wait_for_preemption(host: str) -> bool:
    """Return True when the machine is preempted; False at once when there is no metadata server to ask.

    One that has answered once is asked again for ever: it may be restarting.
    """
    etag, has_answered = NO_ETAG, False
    while True:
        asked = time.monotonic()
        try:
            answer = ask(host, etag, WAIT_S)
            has_answered = True
            if answer.is_preempted:
                return True
            is_same, etag = answer.etag == etag, answer.etag
        except NoAnswer:
            if not has_answered:
                return False
            is_same = True
        if is_same and time.monotonic() - asked < RETRY_S:
            time.sleep(RETRY_S)


def watch_for_preemption(directory: Path) -> None:
    """Watch for the machine's notice while a job runs; then mark it and ask it to end.

    A thread does it, which ends with its process.
    """
    host = metadata_host()
    if host is None:
        return

    def watch() -> None:
        if wait_for_preemption(host):
            tell_job(directory)

    threading.Thread(target=watch, name="preemption", daemon=True).start()


def tell_job(directory: Path) -> None:
    """Mark the machine first, so that no other job begins; the stop comes last: whoever sees the end sees why.

    One that somebody had asked to stop ends by that, and is not gone on with; one that has ended has. A full disk must
    not keep one from the next.
    """
    with suppress(OSError):
        mark_machine()
    is_at_work = main_process(read_json(directory / "state.json")) is not None
    if (directory / "stop").exists() or not is_at_work:
        return
    for name in (PREEMPTED, "stop"):
        with suppress(OSError):
            leave_mark(directory, name)


def mark_machine() -> None:
    """Note that this machine was preempted in this boot. Raises OSError."""
    path = expanded("~/.cache/t2v") / PREEMPTED
    make_folder(path.parent)
    write_json(path, {"boot_id": boot_id()})


def is_going_down() -> bool:
    """Return True when this machine was preempted since it started: nothing new begins on it."""
    said = read_json(expanded("~/.cache/t2v") / PREEMPTED)
    return said is not None and said.get("boot_id") == boot_id()
