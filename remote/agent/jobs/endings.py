"""How a job ended: told apart from its exit code, its signal, its events and what the kernel counted.

The supervisor of a host decides here, and so does `t2v` for a job that it runs in the foreground.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ..base.files import Json, at_once, read_json
from ..base.plain_json import MOST_LINE_BYTES, read_bytes, table
from ..base.processes import boot_id, signal_name
from ..base.streams import CHUNK_BYTES, segments_of
from ..base.units import goes_down

# An alarm that lies so many events back is over.
MOST_EVENTS = 200
STOPPED, FAILED, NOT_FOUND, INTERRUPTED = 4, 1, 127, 130
# A file in a job's directory: what its supervisor was told to end by, in a sentence.
ENDED_BY = "ended-by"
RESTARTED = "the machine restarted while it ran"
LOGIN_ENDED = "it ended with the login that had started it"
UNIT_STOPPED = "its systemd unit was stopped"
START_AGAIN = "what it wrote by then is kept; start it again"


def last_events(directory: Path) -> Iterator[Json]:
    """Yield the whole events at the end of `events.jsonl`, newest first."""
    yield from events_in(last_lines(directory))


def events_in(lines: Iterable[bytes]) -> Iterator[Json]:
    """Yield the events that lines are; what is none is passed over."""
    for line in lines:
        with suppress(ValueError):
            yield table(line)


def last_alarm(lines: Sequence[bytes]) -> Json | None:
    """Return the newest alarm in `last_lines`; None where there is none, and where it lies so far back that it is over.

    Of thousands of jobs nearly all have none: only a line with the word in it is parsed.
    """
    for line in lines[:MOST_EVENTS]:
        if b'"alarm"' in line:
            with suppress(ValueError):
                event = table(line)
                if event.get("kind") == "alarm":
                    return event
    return None


def last_lines(directory: Path) -> list[bytes]:
    """Return the whole lines at the end of `events.jsonl`, newest first; none where nothing can be read."""
    with suppress(OSError), open(directory / "events.jsonl", "rb", opener=at_once) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - CHUNK_BYTES))
        data = file.read()
        return data[: data.rfind(b"\n") + 1].splitlines()[::-1]
    return []


def last_line(directory: Path) -> str:
    """Return the last line of the log that says something, at most 200 characters of it."""
    segments = segments_of(directory, "log")
    if not segments:
        return ""
    with suppress(OSError), open(segments[-1].path, "rb", opener=at_once) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        said = file.read().replace(b"\0", b"")  # what a power cut leaves of lines that were not yet on the disk
        lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""
    return ""


def exit_as(code: int, name: str | None, reason: str, hint: str = "") -> Json:
    """Return the fields of `exit.json`, as remote.jobs.foreground.Exit describes them."""
    return {"code": code, "signal": name, "reason": reason, "hint": hint, "ended": time.time()}


def how_it_ended(
    directory: Path, code: int | None, has_oom: bool | None = None, asked: int | None = None
) -> Json | None:
    """Return what `exit.json` will say.

    code: of the process, negative for a signal; None when nobody saw it end, and then only its events can tell
    has_oom: whether the kernel killed something meanwhile for want of memory; None where it does not count that
    asked: STOPPED or INTERRUPTED for one that was asked to end by a signal; a file `stop` asks as well
    Returns None when they do not: the job is lost.
    """
    name = signal_name(-code) if code is not None and code < 0 else None
    last = last_word(directory, is_killed=name is not None)
    asked = STOPPED if asked is None and (directory / "stop").exists() else asked
    if asked is None and last.get("kind") != "done" and (word := end_of_machine(directory, code, last)):
        ended: Json | None = exit_as(STOPPED, name, word, START_AGAIN)
    else:
        ended = end_of_its_own(directory, code, name, last, has_oom, asked)
    if ended is not None and code is None:
        ended["ended"] = moment_of(last, ended["ended"])
    return ended


def moment_of(event: Json, now_t: float) -> float:
    """Return when an event was written, in Unix seconds; now where it does not say, or says that it is to come."""
    t = event.get("t")
    return float(t) if isinstance(t, (int, float)) and not isinstance(t, bool) and 0 < t < now_t else now_t


def last_word(directory: Path, *, is_killed: bool) -> Json:
    """Return the newest `done` or `error`; {} for none.

    A signal that came after it, while the interpreter ended, changes nothing. Of one that was killed at work, an
    earlier attempt's word says nothing: nothing may follow it then.
    """
    for event in last_events(directory):
        if event.get("kind") == "alarm":  # somebody else's word
            continue
        if event.get("kind") in ("done", "error"):
            return event
        if is_killed:
            break
    return {}


def end_of_its_own(
    directory: Path, code: int | None, name: str | None, last: Json, has_oom: bool | None, asked: int | None
) -> Json | None:
    """Return what `how_it_ended` does, on a machine that goes on.

    name: of the signal that ended it; last: its last word
    """
    is_engine = bool((read_json(directory / "request.json") or {}).get("is_engine", True))
    is_done = last.get("kind") == "done"
    if (code == 0 and (is_done or not is_engine)) or (is_done and (code is None or code < 0)):
        return exit_as(0, None, "done")
    if last.get("kind") == "error":
        said = code if code is not None and code > 0 else _exit_code(last)
        return exit_as(said, None, str(last.get("message", "")), str(last.get("hint", "")))
    if asked is not None:
        by = f"ended by {name}" if name else "it gave no reason" if code is None else f"it ended with code {code}"
        return exit_as(asked, name, f"{'interrupted' if asked == INTERRUPTED else 'stopped'}: {by}")
    if code is None:
        return None
    if has_oom and (name == "SIGKILL" or code > 0):
        reason = "memory ran out: the system killed " + ("it (SIGKILL)" if name else "a process of it")
        return exit_as(code if code > 0 else FAILED, name, reason, "try a smaller batch, size or model")
    return exit_as(code if code > 0 else FAILED, name, *unexplained(directory, code, name, has_oom))


def _exit_code(last: Json) -> int:
    said = last.get("exit_code")
    return said if type(said) is int and said else FAILED


def end_of_machine(directory: Path, code: int | None, last: Json) -> str:
    """Return a sentence when the end of the machine, or of a login, was the job's; empty when nothing says so."""
    said = str(last.get("message", ""))
    was_asked = last.get("kind") == "error" and last.get("exit_code") in (STOPPED, INTERRUPTED)
    if code is None:  # nobody saw the end: the engine's word, from a boot that is over
        state = read_json(directory / "state.json") or {}
        return f"{RESTARTED}; {said}" if was_asked and state.get("boot_id") != boot_id() else ""
    why = ""
    with suppress(OSError, ValueError):
        why = read_bytes(directory / ENDED_BY, MOST_LINE_BYTES).decode(errors="replace")
    why = why or (RESTARTED if code < 0 and goes_down() else "")
    return f"{why}; {said}" if why and was_asked else why


def unexplained(directory: Path, code: int, name: str | None, has_oom: bool | None) -> tuple[str, str]:
    """Return a sentence and a hint for a process that ended without saying why."""
    if name == "SIGKILL":
        who = "something else sent it: the system recorded no out-of-memory kill" if has_oom is False else ""
        return "it was killed (SIGKILL)", who or "usually memory ran out: try a smaller batch, size or model"
    if name is not None:
        return f"it was ended by {name}", "the log may say more"
    last = last_line(directory)
    return f"it ended with code {code} and gave no reason" + (f"; its log ends: {last}" if last else ""), "see the log"


def has_ended(directory: Path) -> bool:
    """Tell whether the job's `exit.json` is there."""
    return (directory / "exit.json").exists()
