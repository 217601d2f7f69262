"""How a job ended: told apart from its exit code, its signal, its events and what the kernel counted."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .files import Json, read_json
from .processes import signal_name
from .streams import CHUNK_BYTES, segments_of

STOPPED, FAILED, NOT_FOUND = 4, 1, 127


def last_events(directory: Path) -> Iterator[Json]:
    """The whole events at the end of `events.jsonl`, newest first."""
    with suppress(OSError), (directory / "events.jsonl").open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - CHUNK_BYTES))
        data = file.read()
        for line in reversed(data[: data.rfind(b"\n") + 1].splitlines()):
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event


def last_line(directory: Path) -> str:
    """The last line of the log that says something, at most 200 characters of it."""
    segments = segments_of(directory, "log")
    if not segments:
        return ""
    with suppress(OSError), segments[-1].path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""
    return ""


def exit_as(code: int, name: str | None, reason: str, hint: str = "") -> Json:
    """The fields of `exit.json`, as remote.jobs.Exit describes them."""
    return {"code": code, "signal": name, "reason": reason, "hint": hint, "ended": time.time()}


def how_it_ended(directory: Path, code: int | None, has_oom: bool | None = None) -> Json | None:
    """What `exit.json` will say.

    code: of the process, negative for a signal; None when nobody saw it end, and then only its events can tell
    Returns None when they do not: the job is lost.
    """
    is_engine = bool((read_json(directory / "request.json") or {}).get("is_engine", True))
    last = next((event for event in last_events(directory) if event.get("kind") in ("done", "error")), {})
    name = signal_name(-code) if code is not None and code < 0 else None
    is_done = last.get("kind") == "done"
    if (code == 0 and (is_done or not is_engine)) or (code is None and is_done):
        return exit_as(0, None, "done")
    if last.get("kind") == "error" and name is None:
        said = code or int(last.get("exit_code") or FAILED)
        return exit_as(said, None, str(last.get("message", "")), str(last.get("hint", "")))
    if (directory / "stop").exists():
        by = f"ended by {name}" if name else "it left no word" if code is None else f"it ended with code {code}"
        return exit_as(STOPPED, name, f"stopped: {by}")
    if code is None:
        return None
    if has_oom and (name == "SIGKILL" or code > 0):
        reason = "memory ran out: the system killed " + ("it (SIGKILL)" if name else "a process of it")
        return exit_as(code if code > 0 else FAILED, name, reason, "try a smaller batch, size or model")
    return exit_as(code if code > 0 else FAILED, name, *unexplained(directory, code, name, has_oom))


def unexplained(directory: Path, code: int, name: str | None, has_oom: bool | None) -> tuple[str, str]:
    """A sentence and a hint for a process that ended without a word."""
    if name == "SIGKILL":
        who = "somebody sent it: the system counted no kill for want of memory" if has_oom is False else ""
        return "it was killed (SIGKILL)", who or "usually memory ran out: try a smaller batch, size or model"
    if name is not None:
        return f"it was ended by {name}", "the log may say more"
    last = last_line(directory)
    return f"it ended with code {code} and no word why" + (f"; its log ends: {last}" if last else ""), "see the log"


def has_ended(directory: Path) -> bool:
    return (directory / "exit.json").exists()
