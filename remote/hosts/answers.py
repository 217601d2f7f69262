"""What an agent may answer, question by question: looked at once, where it comes in, so that nobody need ask again.

A host may be broken, old, or somebody else's. An answer with other forms in it than these is one sentence, wherever
the question was asked. What a newer agent says beyond this is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remote.errors import AgentError

# A shape: a type; alternatives, as a tuple; a list of one shape; fields by name, those with a `?` may be missing.
Shape = Any
NUMBER, NONE = (int, float), None
TIME = "a time"  # Unix seconds that a calendar has
LATEST_T = 1e11
TEXT = (str, NONE)
DONE: Shape = {}
SUMS = [{"path": str, "sha256": TEXT, "size": int, "mtime_ns": int, "inode": int}]
FILE = {"name": str, "size": int, "mtime_ns": int, "inode": int, "sha256": TEXT}
UNIT = {"path": str, "kind": str, "step?": (int, NONE), "files": [FILE]}
OFFER = {
    "digest": str, "workspace?": str, "programs?": [str], "is_same?": bool, "units?": [UNIT],
    "skipped?": [{"path": str, "why": str, "is_asked?": bool, "is_refused?": bool}],
}  # fmt: skip
ROW = {
    "job": str, "verb?": str, "state?": str, "code?": (int, NONE), "signal?": TEXT, "reason?": str, "hint?": str,
    "queued_t?": (TIME, NONE), "started_t?": (TIME, NONE), "ended_t?": (TIME, NONE), "pid?": (int, NONE),
    "place_in_queue?": (int, NONE), "needs_gpu?": bool, "after?": TEXT, "log_bytes?": int, "events_bytes?": int,
    "last_event?": (dict, NONE), "supervised?": bool, "of?": str,
}  # fmt: skip
GPU = {
    "index": (int, NONE), "name?": TEXT, "utilization_percent?": (*NUMBER, NONE), "memory_used_mib?": (*NUMBER, NONE),
    "memory_total_mib?": (*NUMBER, NONE), "temperature_c?": (*NUMBER, NONE), "power_w?": (*NUMBER, NONE),
    "power_limit_w?": (*NUMBER, NONE),
}  # fmt: skip
SAMPLE = {
    "gpus": [GPU], "why": str, "cpu_percent": NUMBER, "disk_free_bytes": int,
    "memory": {"total_bytes": (int, NONE), "available_bytes": (int, NONE)},
}  # fmt: skip
HELLO = {"logout": str}
PROBE = HELLO | {
    "workspace": str, "is_there": bool, "gpus": [{"name?": TEXT}], "gpu_why": TEXT, "driver": TEXT,
    "disk_free_bytes": int, "releases": [str],
    "engine": ({"python": str, "torch": TEXT, "diffusers": TEXT, "transformers": TEXT}, NONE),
}  # fmt: skip
STANDING = PROBE | {
    "obstacle": str, "is_adoptable": bool, "beside": str, "in_use": TEXT, "hub": [str],
    "installed": {"requirements_sha256?": str, "python?": str, "by?": {"id?": str, "name?": str}},
    "pythons": [{"path": str, "version": str, "makes_venvs": bool}],
}  # fmt: skip
LS_ENTRY = {"path": str, "kind": str, "size_bytes": int, "mtime": TIME, "is_complete": (bool, NONE)}
LIST_ENTRY = {
    "name": str, "form": str, "kind": str, "detail": str, "size_bytes": int, "files": int, "is_counted": bool,
    "mtime": TIME, "why": str, "target": TEXT,
}  # fmt: skip
LAST_STOP = ({"t": TIME, "why": str}, NONE)
NO_GUARD = {"is_installed": False, "last_stop?": LAST_STOP}
GUARD_STANDS = {
    "is_installed": True, "by": str, "is_alive": bool, "can_power_off": bool, "busy": [str], "unknown": [str],
    "idle_s": NUMBER, "stops_in_s": NUMBER, "why": str, "cap_in_s": NUMBER, "kept_s": NUMBER, "error": TEXT,
    "last_stop?": LAST_STOP, "kept_of?": TEXT,
}  # fmt: skip
GUARD = (NO_GUARD, GUARD_STANDS)
OLD_CHECKPOINT = {
    "path": str, "size_bytes": int, "mtime": TIME, "epoch": (*NUMBER, NONE), "loss": (*NUMBER, NONE), "why": str,
    "model": TEXT,
}  # fmt: skip
INTERVALS = [[int]]
OLD_DATA = {"files": int, "size_bytes": int, "newest_t": TIME, "is_counted": bool}

ANSWERS: Mapping[str, Shape] = {
    "hello": HELLO, "probe": PROBE, "standing": STANDING, "adopt_venv": DONE, "unpack_release": DONE,
    "start": {"job": str, "is_new": bool, "state": str}, "status": {"jobs": [ROW]}, "request": DONE,
    "stop": {"state": str, "how": str, "left": [int], "gpu_left": [dict]}, "put": {"size_bytes": int},
    "ls": {"entries": [LS_ENTRY]}, "list": {"path": str, "entries": [LIST_ENTRY], "is_whole": bool, "count": int},
    "read": {"data": str}, "old_checkpoints": {"entries": [OLD_CHECKPOINT]}, "use_release": DONE, "remove": DONE,
    "old_data": {"found": {"latents?": OLD_DATA, "text_embeddings?": OLD_DATA}},
    "offer": OFFER, "sums": {"files": SUMS}, "begin": DONE, "land": {"is_landed": bool, "why": str},
    "want": {
        "needed": [{"at": int, "there": INTERVALS}], "disk_free_bytes": int, "gone": [str],
        "refused": [{"path": str, "why": str, "is_anothers?": bool}],
    },
    "remove_gone": {"removed": [str]},
    "guard": GUARD, "keep": GUARD, "install_guard": GUARD,
    "resume_preempted": {"resumed": [{"job": str, "before": str, "is_new": bool, "from_checkpoint": bool}]},
    "examine": {"checks": [{"name": str, "state": str, "sentence": str, "mend?": str}]},
}  # fmt: skip


def checked(what: str, said: Any, shape: Shape) -> dict[str, Any]:
    """Return the same, when it has that shape. what: was asked, for people. Raises AgentError."""
    if wrong := misfit(said, shape):
        sentence = f"the host's answer to '{what}' is not what it should be: {wrong}"
        raise AgentError(sentence, "t2v bootstrap renews t2v there")
    return dict(said)


def misfit(said: Any, shape: Shape, where: str = "it") -> str:
    """Return what does not fit, in a few words; "" when all of it does."""
    if isinstance(shape, tuple):
        found = [misfit(said, one, where) for one in shape]
        return "" if "" in found else next((one for one in found if not one.startswith(where + " is ")), found[0])
    if isinstance(shape, dict):
        return _misfit_in_table(said, shape, where)
    if isinstance(shape, list):
        if not isinstance(said, list):
            return f"{where} is {_kind(said)}"
        return next((wrong for one in said if (wrong := misfit(one, shape[0], where))), "")
    return "" if _is_one(said, shape) else f"{where} is {_kind(said)}"


def _is_one(said: Any, shape: Shape) -> bool:
    if shape == TIME:
        return type(said) in NUMBER and abs(said) < LATEST_T
    return said is shape if shape is None or isinstance(shape, bool) else type(said) is shape


def _misfit_in_table(said: Any, shape: Mapping[str, Shape], where: str) -> str:
    if not isinstance(said, dict):
        return f"{where} is {_kind(said)}"
    for field, inner in shape.items():
        name = field.removesuffix("?")
        if name not in said:
            if field == name:
                return f"it says no {name}"
        elif wrong := misfit(said[name], inner, name):
            return wrong
    return ""


def _kind(said: Any) -> str:
    kinds = {"NoneType": "empty", "bool": "true or false", "str": "a text", "list": "a list", "dict": "an object"}
    return kinds.get(type(said).__name__, "a number")
