"""What a key did, as the `t2v …` line that does the same when it is typed in the workspace's folder."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from t2v_tui.store.state import LOCAL, JobKey

# Verbs whose command has another name.
COMMANDS = {
    "shapes": "data shapes", "check": "data check", "manifest": "data manifest",
    "import-latents": "data import-latents",
}  # fmt: skip
# Settings that are typed without their names, in this order.
POSITIONAL = {
    "generate": ("prompt",), "sheet": ("prompts",), "refine": ("input", "output", "prompt", "strength"),
    "add-noise": ("input", "output", "strength"),
}  # fmt: skip
# What only the app's own screens look at.
OF_SCREENS = ("preview",)


def word(text: object) -> str:
    """Return it as a shell takes it for one word, and on one line whatever a name or a prompt holds."""
    plain = str(text)
    if plain.isprintable():
        return shlex.quote(plain)
    codes = "".join(
        sign if sign.isprintable() and sign not in "'\\" else "".join(f"\\x{byte:02x}" for byte in sign.encode())
        for sign in plain
    )
    return f"$'{codes}'"


def start(verb: str, values: Mapping[str, Any], host: str) -> str:
    """Return the line that starts a verb as a job which outlives its terminal. values: as its spec names them"""
    given = {name: value for name, value in values.items() if name not in OF_SCREENS and value is not None}
    if verb == "refine" and "output" not in given:  # the app leaves it to the engine; a line cannot
        given["output"] = f"outputs/{PurePosixPath(str(given.get('input', 'video.mp4'))).stem}-refined.mp4"
    arguments, left = [], list(POSITIONAL.get(verb, ()))
    while left and left[0] in given:
        arguments.append(word(given.pop(left.pop(0))))
    # One that begins with a dash is no flag after `--`.
    dashed = any(str(values[name]).startswith("-") for name in POSITIONAL.get(verb, ()) if name in values)
    before, after = ([], ["--", *arguments]) if dashed else (arguments, [])
    return _line(COMMANDS.get(verb, verb), *before, *_flags(given), *_on(host), "--detach", *after)


def _flags(given: Mapping[str, Any]) -> Iterable[str]:
    from t2v_core.settings import flag_name  # with pydantic, which the first paint does without

    for name, value in given.items():
        flag = flag_name(name)
        if str(value) in ("True", "False"):
            yield flag if str(value) == "True" else f"--no-{flag[2:]}"
        else:
            # With `=`, a value may begin with a dash.
            yield f"{flag}={word(value)}" if str(value).startswith("-") else f"{flag} {word(value)}"


def push(path: str, host: str) -> str:
    """Return the line that sends a file of the workspace to a host."""
    return _line("push", word(path), *_on(host))


def pull(paths: Iterable[str], host: str) -> str:
    """Return the line that brings paths of a host here."""
    return _line("pull", *map(word, paths), *_on(host))


def ask(what: str, job: JobKey) -> str:
    """Return the line that asks a job for something. what: save, pause, resume, beside"""
    sure = ["--anyway"] if what == "beside" else []  # whoever pressed the key has seen the estimate
    return _line("ask", what, word(job.job), *_on(job.host, always=True), *sure)


def stop_job(job: JobKey) -> str:
    """Return the line that stops a job."""
    return _line("stop", word(job.job), *_on(job.host, always=True))


def vm(what: str, host: str) -> str:
    """Return the line that does something with a VM. what: start, stop, `keep 2h`"""
    return _line("vm", what, *_on(host))


def put_away(paths: Iterable[str]) -> str:
    """Return the line that puts results of the workspace into its trash."""
    return _line("trash", *map(word, paths))


def bring_back(name: str) -> str:
    """Return the line that brings something back from the trash."""
    return _line("trash", word(name), "--back")


def label(what: str, job: str, text: str) -> str:
    """Return the line that names a run, or adds a note to it. what: name, note"""
    return _line("runs", what, word(job), word(text))


def doctor() -> str:
    """Return the line that checks everything on this machine."""
    return _line("doctor")


def _on(host: str, *, always: bool = False) -> list[str]:
    return [f"--host {word(host)}"] if always or host != LOCAL else []


def _line(*parts: str) -> str:
    return " ".join(("t2v", *parts))
