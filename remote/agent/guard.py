"""The guard of a machine that costs money by the hour: looks every minute, and powers it off when it has been idle.

It needs no network, no credentials and nobody who is connected. `~/.cache/t2v/guard/` holds `rules.json` (what was
agreed), `state.json` (what was seen last), `keep.json` (until when somebody wants the machine), `last-stop.json`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from .asked import expanded, take, workspace
from .busy import BusyMark
from .cloud import is_google
from .detached import succeeds
from .files import Json, Problem, exclusive, read_json, write_json, write_whole
from .guard_rules import (
    ASK_JOBS,
    LONGEST_GAP_S,
    POWER_OFF,
    Look,
    Memory,
    Rules,
    after_look,
    cap_in_s,
    due,
    in_words,
    outlook,
    remembered,
)
from .guard_signs import gpu_signs, job_signs, process_signs, session_signs, transfer_signs
from .processes import boot_id
from .rows import job_directories, state_of_live

FOLDER = "~/.cache/t2v/guard"
POWER_OFF_TIMEOUT_S = 20.0
OTHER_POWER_OFF = "T2V_POWER_OFF"
POWER_OFF_BY = (
    ("sudo", "-n", "systemctl", "poweroff"),
    ("sudo", "-n", "shutdown", "-h", "now"),
    ("systemctl", "poweroff"),
    ("poweroff",),
)
# What is asked while somebody only looks on; it does not keep a machine alive.
WATCHING = frozenset(("hello", "status", "gpu", "probe", "ls", "standing", "guard", "read", "hash", "offer", "examine"))
MARK = BusyMark()


def folder() -> Path:
    return expanded(FOLDER)


def up_s() -> float:
    """Seconds since boot, those asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def agreed() -> Json | None:
    """None where no guard is wanted."""
    return read_json(folder() / "rules.json")


def rules_of(said: Json) -> Rules:
    since = said["since"]
    cap_from_s = float(since["up_s"]) if since["boot_id"] == boot_id() else 0.0
    return Rules(60.0 * said["idle_stop_min"], 3600.0 * said["max_run_h"], float(said["idle_gpu_percent"]), cap_from_s)


def note(verb: str) -> None:
    """Somebody asked for something that is more than a look."""
    if verb not in WATCHING and agreed() is not None:
        with suppress(OSError):  # a full disk must not hinder what was asked
            MARK.touch()


# One look


def one_look() -> Json:
    """Look, write down what was seen, and do what is due. Raises Problem where no guard was agreed."""
    said = agreed()
    if said is None:
        raise Problem("not-found", "this machine has no guard", "it gets one with the next job")
    with exclusive(folder() / "lock"):
        rules, workspaces = rules_of(said), [Path(path) for path in said["workspaces"]]
        memory = after_look(remembered(read_json(folder() / "state.json")), look(rules, workspaces))
        what = due(rules, memory, kept_until_s())
        state = {**memory._asdict(), "looked_t": time.time(), "error": None}
        write_json(folder() / "state.json", state)
        if what == ASK_JOBS:
            ask_jobs_to_end(workspaces)
        elif what == POWER_OFF:
            why = outlook(rules, memory, memory.looked_s, kept_until_s()).why
            # Before it, since there may be no after.
            said_stop = {"t": time.time(), "why": why, "boot_id": memory.boot_id, "up_s": memory.looked_s}
            write_json(folder() / "last-stop.json", said_stop)
            state["error"] = power_off()
            if state["error"] is not None:
                (folder() / "last-stop.json").unlink()
                write_json(folder() / "state.json", state)
    return {"did": what, **state}


def look(rules: Rules, workspaces: Sequence[Path]) -> Look:
    """Every sign there is. One that cannot be read is unknown, which counts as busy."""
    busy: list[str] = []
    unknown: list[str] = []
    looks: tuple[tuple[str, Callable[[], list[str]]], ...] = (
        ("jobs", lambda: job_signs(workspaces)),
        ("processes", lambda: process_signs(busy)),
        ("transfers", transfer_signs),
        ("SSH sessions", session_signs),
    )
    for name, signs in looks:
        try:
            busy += signs()
        except (OSError, Problem, ValueError, KeyError) as error:
            unknown.append(f"{name}: {error}")
    gpus_busy, gpus_unknown = gpu_signs(rules.gpu_percent)
    return Look(boot_id(), up_s(), (*busy, *gpus_busy), (*unknown, *gpus_unknown))


def ask_jobs_to_end(workspaces: Sequence[Path]) -> None:
    """The cap is near: a running engine makes a checkpoint and ends; what waits in the queue goes on waiting."""
    for root in workspaces:
        for directory in job_directories(root / "jobs"):
            is_open = not (directory / "exit.json").exists()
            if is_open and state_of_live(directory) == "running" and not (directory / "stop").exists():
                write_whole(directory / "stop", "")


def power_off() -> str | None:
    """Returns None when the machine is on its way down, else why it is not."""
    why = "" if power_off_commands() else "it is no machine of Google Cloud"
    for argv in power_off_commands():
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=POWER_OFF_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            why = why or f"{argv[0]}: {error}"
            continue
        if done.returncode == 0:
            return None
        why = (
            why or " ".join(done.stderr.decode(errors="replace").split())[:200] or f"{argv[0]}: code {done.returncode}"
        )
    return f"it cannot power itself off: {why}"


def power_off_commands() -> list[list[str]]:
    """None on a machine that is not a cloud's, whatever t2v.toml says of it: that is somebody's desk.

    T2V_POWER_OFF names another program, for tests.
    """
    if OTHER_POWER_OFF in os.environ:
        return [shlex.split(os.environ[OTHER_POWER_OFF])]
    return [list(argv) for argv in POWER_OFF_BY] if is_google() else []


def can_power_off() -> bool:
    commands = power_off_commands()
    if not commands or OTHER_POWER_OFF in os.environ or os.getuid() == 0:
        return bool(commands)
    return any(succeeds(["sudo", "-n", "-l", *argv[2:]]) for argv in commands if argv[0] == "sudo")


# What can be asked


def kept_until_s() -> float:
    """In seconds since boot; one of an earlier boot is over."""
    kept = read_json(folder() / "keep.json") or {}
    return float(kept["until_s"]) if kept.get("boot_id") == boot_id() and "until_s" in kept else 0.0


def guard_status(_: Json) -> Json:
    """How it stands; times are seconds from now, since the clocks of two machines differ."""
    said, now_s = agreed(), up_s()
    last_stop, stop_error = stop_that_was(read_json(folder() / "last-stop.json"), now_s)
    if said is None:
        return {"is_installed": False, "last_stop": last_stop}
    rules, kept = rules_of(said), kept_until_s()
    state = read_json(folder() / "state.json")
    memory = remembered(state)
    if memory is None or memory.boot_id != boot_id() or memory.looked_s > now_s:
        memory = Memory(boot_id(), 0.0, now_s)  # of this boot nothing was seen yet
    stops = outlook(rules, memory, now_s, kept)
    return {
        "is_installed": True, "by": said["by"], "can_power_off": said["can_power_off"],
        "is_alive": now_s - memory.looked_s <= LONGEST_GAP_S, "looked_s_ago": now_s - memory.looked_s,
        "busy": list(memory.busy), "unknown": list(memory.unknown),
        "idle_s": 0.0 if memory.busy or memory.unknown else now_s - memory.active_s,
        "stops_in_s": stops.stops_in_s, "why": stops.why, "cap_in_s": cap_in_s(rules, now_s),
        "idle_stop_s": rules.idle_s, "kept_s": max(0.0, kept - now_s),
        "error": (state or {}).get("error") or stop_error, "last_stop": last_stop,
    }  # fmt: skip


def stop_that_was(asked: Json | None, now_s: float) -> tuple[Json | None, str | None]:
    """(the last stop, why there was none). Only a boot after it shows that a power-off was more than asked for."""
    if asked is None or asked.get("boot_id") != boot_id():
        return asked, None
    ago_s = now_s - float(asked.get("up_s", now_s))
    return None, f"it was asked to power off {in_words(ago_s)} ago, and is still up" if ago_s > LONGEST_GAP_S else None


def keep(parameters: Json) -> Json:
    """The machine stays for so long although it is idle, up to its cap; 0 lets go of it."""
    seconds = float(take(parameters, "seconds", float))
    if agreed() is None:
        raise Problem("not-found", "this machine has no guard: nothing here stops it", "")
    if not 0 <= seconds <= 30 * 86400:
        raise Problem("asked-wrongly", f"{seconds:g} s is no time to keep a machine: 0 … 30 days")
    write_json(folder() / "keep.json", {"boot_id": boot_id(), "until_s": up_s() + seconds})
    return guard_status({})


def agree(parameters: Json, by: str) -> Json:
    """Write down what was agreed; a workspace that was told once stays known."""
    said = {name: take(parameters, name, float) for name in ("idle_stop_min", "max_run_h", "idle_gpu_percent")}
    if min(said["idle_stop_min"], said["max_run_h"]) <= 0:
        raise Problem("asked-wrongly", "idle_stop_min and max_run_h must be more than 0")
    folder().mkdir(parents=True, exist_ok=True)
    before = agreed()
    known = before["workspaces"] if before else []
    workspaces = sorted({*known, str(workspace(parameters))})
    since = before["since"] if before else {"boot_id": boot_id(), "up_s": up_s()}
    wanted = {**said, "workspaces": workspaces, "by": by, "can_power_off": can_power_off(), "since": since}
    if wanted != before:
        write_json(folder() / "rules.json", wanted)
    return wanted
