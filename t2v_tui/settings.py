"""`[tui]` of t2v.toml: how the terminal UI looks and what its keys are."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from t2v_core.disk.plain_toml import read_toml
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace

SECTION = "tui"
# What some settings can be, as terminal.py and text/notifications.py have it, which who only reads settings need not.
WORDS = {
    "pictures": ["auto", "kitty", "sixel", "iterm2", "blocks"],
    "notifications": ["auto", "osc9", "osc777", "off"],
}


class Tui:
    """What was set. The model that checks it is made only when there is something to check."""

    theme: str = "t2v-dark"
    animation: bool = True
    ascii: bool = False
    pictures: str = "auto"
    bell: bool = True
    notifications: str = "auto"
    samples_home: bool = True
    drafts: bool = True
    on_job_end: str = ""
    on_alarm: str = ""
    keys: Mapping[str, str] = {}


ABOUT = {
    "theme": "t2v-dark, t2v-light, or any theme of Textual's, as ansi-dark",
    "animation": "false: nothing moves by itself",
    "ascii": "true: draw with ASCII only",
    "pictures": "auto: as the terminal says it can; kitty, sixel, iterm2 or blocks: that way, whatever it says",
    "bell": "true: the terminal's bell when a job ends",
    "notifications": "auto: the desktop is told when a job ends or raises an alarm and the terminal is not in front, "
    "the way it understands; osc9 or osc777: that way; off: never",
    "samples_home": "true: the newest samples of a training that is watched on a host come here by themselves",
    "drafts": "true: Generate draws what is typed, with the shipped model in a process of its own",
    "on_job_end": "a command that is run when a job ends, with T2V_JOB, T2V_HOST, T2V_STATE and T2V_REASON set",
    "on_alarm": "a command that is run on an alarm, with T2V_ALARM, T2V_TEXT and T2V_CLIPS set beside those of a job",
    "keys": "[tui.keys] with ACTION = \"KEY\"; the names are in the help (?)",
}  # fmt: skip


def read_tui(workspace: Workspace) -> Tui:
    """Read what `[tui]` sets. Raises InvalidRequest that names file, section and the nearest setting."""
    file = workspace.settings_file
    values: Any = read_toml(file)[1].get(SECTION, {})
    if not isinstance(values, dict):
        raise InvalidRequest(
            f"{file}: '{SECTION}' is a section, not a value", hint=f"write [{SECTION}] on its own line"
        )
    found = Tui()
    for name, value in values.items():
        _check(f"{file}: [{SECTION}]", name, value)
        setattr(found, name, value)
    return found


def _check(where: str, name: str, value: object) -> None:
    if name not in ABOUT:
        raise InvalidRequest(f"{where} has no setting '{name}'", _nearest(name, list(ABOUT)))
    if name == "keys":
        _check_keys(where, value)
        return
    wanted = type(getattr(Tui, name))
    if type(value) is not wanted:
        kind = "true or false" if wanted is bool else "text in quotes"
        raise InvalidRequest(f"{where} {name} = {value!r}: {kind} is expected", f"it is: {ABOUT[name]}")
    if (words := WORDS.get(name)) and value not in words:
        raise InvalidRequest(
            f"{where} {name} = {value!r}: one of {', '.join(words)} is expected", _nearest(str(value), words)
        )


def _check_keys(where: str, value: object) -> None:
    from t2v_tui.keys import KEYS  # only when somebody has keys of their own

    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value.values()):
        raise InvalidRequest(f'{where} keys: a section of ACTION = "KEY" lines is expected', ABOUT["keys"])
    known = [key.id for key in KEYS]
    for name in value:
        if name not in known:
            raise InvalidRequest(f"{where} keys: there is no action '{name}'", _nearest(name, known))


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}"
