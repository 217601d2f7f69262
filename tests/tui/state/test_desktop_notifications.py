"""The desktop is told of what ended while the terminal is not in front, in its own way, and of names only the text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.screen.tui_states import RUN, live

from t2v_tui.controllers.job_notices import JobNotices
from t2v_tui.settings import Tui
from t2v_tui.terminal import Terminal
from t2v_tui.text.notifications import as_notification, plain, way_of_terminal


class Driver:
    is_headless = False

    def __init__(self) -> None:
        self.written = ""

    def write(self, data: str) -> None:
        self.written += data


class Window:
    """What of the app the notices use."""

    def __init__(self, *, has_focus: bool, terminal: str) -> None:
        self._driver, self.app_focus, self.terminal = Driver(), has_focus, Terminal(name=terminal)
        self.rang = 0

    def notify(self, *_: object, **__: object) -> None: ...

    def bell(self) -> None:
        self.rang += 1


def said_at_the_end(monkeypatch: pytest.MonkeyPatch, *, has_focus: bool, terminal: str = "", **settings: str) -> str:
    monkeypatch.delenv("TMUX", raising=False)
    window, chosen = Window(has_focus=has_focus, terminal=terminal), Tui()
    for name, value in settings.items():
        setattr(chosen, name, value)
    before = live()
    row = replace(before.jobs[RUN].row, state="failed", reason="out of memory\x1b]52;c;aGk=\x07")
    after = replace(before, jobs={**before.jobs, RUN: replace(before.jobs[RUN], row=row)})
    JobNotices(window, chosen, runs_commands=False).say_changes(before, after)  # type: ignore[arg-type]
    return window._driver.written


def test_it_is_told_only_while_the_terminal_is_not_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b]9;" not in said_at_the_end(monkeypatch, has_focus=True)
    assert "\x1b]9;t2v: ✗ train failed" in said_at_the_end(monkeypatch, has_focus=False)


def test_it_is_told_in_the_way_of_the_terminal_or_as_set_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b]777;notify;✗ train failed" in said_at_the_end(monkeypatch, has_focus=False, terminal="foot(1.16)")
    assert "\x1b]777;" in said_at_the_end(monkeypatch, has_focus=False, notifications="osc777")
    off = said_at_the_end(monkeypatch, has_focus=False, notifications="off")
    assert "\x1b]9;" not in off
    assert "\x1b]777;" not in off
    assert (way_of_terminal("auto", "xterm-kitty"), way_of_terminal("auto", "rxvt-unicode")) == ("osc9", "osc777")


def test_a_reason_with_control_characters_is_only_text(monkeypatch: pytest.MonkeyPatch) -> None:
    said = said_at_the_end(monkeypatch, has_focus=False)
    sequences = said.split("\x1b]")[1:]
    assert len(sequences) == 2  # the window's title, and the notification; none that the reason brought
    assert "\x07" not in sequences[1]


def test_within_tmux_it_is_handed_on_to_the_terminal_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t2v_tui.controllers.job_notices.os.environ", {"TMUX": "/tmp/tmux", "TERM": "tmux-256color"})
    window = Window(has_focus=False, terminal="")
    notices = JobNotices(window, Tui(), runs_commands=False)  # type: ignore[arg-type]
    notices._tell_desktop("✓ train succeeded on local", "took 2:41")
    assert window._driver.written == "\x1bPtmux;\x1b\x1b]9;t2v: ✓ train succeeded on local · took 2:41\x1b\x1b\\\x1b\\"


def test_a_long_name_is_cut_and_a_title_has_one_field() -> None:
    assert len(plain("x" * 999)) == 200
    assert as_notification("osc777", "a;b", "c\nd") == "\x1b]777;notify;a,b;c d\x1b\\"
    assert as_notification("off", "a", "b") == ""
