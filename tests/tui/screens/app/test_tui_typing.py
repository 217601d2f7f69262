"""What is typed ahead and what is pasted: a key is a key where it was meant, and a paste is text."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from support.screen.in_terminal import eventually, on_screen
from support.screen.tmux_here import t2v_tui, terminal
from textual.events import Key, Paste
from textual.widgets import Input

from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.pasted import BEGINS, ENDS, PasteParser, as_text
from t2v_tui.store.state import State
from t2v_tui.widgets.entries import PromptInput

ALPHABET = ["a", " ", "\n", "\x1b", "\x07", "[", "2", "0", "1", "~", "\x1b[31m", "\x1b\x07", "é", "x", "\x1bOA", ENDS]


def events_of(data: str, pieces: int, chance: random.Random) -> list[Key | Paste]:
    """What the parser makes of it, however it comes apart on its way."""
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(pieces - 1))
    parser = PasteParser()
    parts = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return [event for part in parts if part for event in parser.feed(part)]  # type: ignore[misc]


def test_whatever_is_pasted_is_one_text_and_no_key() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(2_000):
        told = "".join(chance.choices(ALPHABET[:-1], k=chance.randrange(1, 30)))
        events = events_of(f"{BEGINS}{told}{ENDS}", chance.randrange(1, 6), chance)
        assert [type(event) for event in events] == [Paste], (told, events)
        pasted, _ = as_text(events[0].text)  # type: ignore[union-attr]
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", pasted)
        letters = re.sub(r"[^aéx]", "", re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|[ -/]*[0-~])", "", told))
        assert len(re.sub(r"[^aéx]", "", pasted)) == len(letters), (told, pasted)


def test_an_end_of_the_paste_that_was_pasted_itself_ends_nothing() -> None:
    (event,) = events_of(f"{BEGINS}harmless{ENDS}\x07t{ENDS}", 1, random.Random(0))
    assert isinstance(event, Paste)
    assert as_text(event.text)[0] == "harmlesst"


def test_keys_around_a_paste_stay_keys_however_they_come_apart() -> None:
    chance = random.Random(0)
    for pieces in range(1, 12):
        events = events_of(f"ab\x1b[A{BEGINS}a\x1b[Ab{ENDS}c\x1bOB", pieces, chance)
        told = [event.text if isinstance(event, Paste) else event.key for event in events]
        assert told == ["a", "b", "up", "a\x1a[Ab", "c", "down"]


@pytest.mark.parametrize(
    ("pasted", "text", "said"),
    [
        ("a red circle", "a red circle", ""),
        ("a red circle\n", "a red circle", ""),
        ("a red\n  circle\r\nmoving", "a red circle moving", "pasted as text: 3 lines became one"),
        ("a \x1a[31mred\x1a[0m circle\x07", "a red circle", "pasted as text: 3 control characters left out"),
        ("\x1a]0;title\x07a\tred circle", "a red circle", "pasted as text: 1 control character left out"),
        ("a\u2028b\x85c", "a b c", "pasted as text: 3 lines became one"),
    ],
)
def test_lines_become_spaces_and_what_was_changed_is_said(pasted: str, text: str, said: str) -> None:
    assert as_text(pasted) == (text, said)


def app_of(tmp_path: Path, first: str) -> CockpitApp:
    return CockpitApp(Workspace(tmp_path), services=None, state=State(tmp_path), first=first)


@on_screen
@pytest.mark.parametrize(
    ("screen", "pasted", "entry", "text", "said"),
    [
        ("generate", "a red circle\nmoving\x07 left\n", "#prompt", "a red circle moving left", "2 lines became one"),
        ("vid2vid", "/a/one.mp4\n/a/two.mp4\n", "#path", "/a/one.mp4", "2 lines"),
    ],
    ids=["lines fill the prompt", "of several files the first is used"],
)
async def test_a_paste_of_several_lines_is_text_and_that_is_said(
    tmp_path: Path, screen: str, pasted: str, entry: str, text: str, said: str
) -> None:
    app = app_of(tmp_path, screen)
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: isinstance(app.focused, PromptInput))
        app.post_message(Paste(pasted))
        await eventually(pilot, lambda: app.screen.query_one(entry, Input).value == text)
        await eventually(pilot, lambda: any(said in one.message for one in app._notifications))


@on_screen
async def test_what_is_pasted_where_nothing_takes_it_is_said(tmp_path: Path) -> None:
    app = app_of(tmp_path, "train")
    async with app.run_test(size=(120, 40)) as pilot:
        app.post_message(Paste("t"))
        await eventually(pilot, lambda: any("no text field has the focus" in one.message for one in app._notifications))


@pytest.mark.parametrize(
    ("keys", "screen"),
    [("5 esc 7", "jobs"), ("4 esc 1", "train"), ("5 esc 4 esc 6", "data"), ("4 tab esc 7 2", "checkpoints")],
)
@on_screen
async def test_keys_typed_ahead_of_a_screen_do_what_they_do_typed_slowly(
    tmp_path: Path, keys: str, screen: str
) -> None:
    app = app_of(tmp_path, "train")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        for key in keys.split():  # all at once, as a terminal hands them over after a stall
            name = {"esc": "escape"}.get(key, key)
            app.post_message(Key(name, key if len(key) == 1 else None))
        await eventually(pilot, lambda: app.current_mode == screen and not app._typed_ahead._held)
        await pilot.pause()
        for name in ("vid2vid", "generate"):
            stack = app._screen_stacks.get(name)
            assert stack is None or [entry.value for entry in stack[0].query(PromptInput)] == [""] * len(
                stack[0].query(PromptInput)
            )


@on_screen
async def test_a_text_typed_ahead_is_whole_and_in_order(tmp_path: Path) -> None:
    app = app_of(tmp_path, "train")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        for letter in "4a red circle, 7 of them":
            app.post_message(Key("space" if letter == " " else letter, letter))
        await eventually(pilot, lambda: app.current_mode == "generate" and not app._typed_ahead._held)
        prompt = app.screen.query_one("#prompt", Input)
        await eventually(pilot, lambda: prompt.value == "a red circle, 7 of them")


def test_an_escape_in_a_paste_starts_no_job_and_keys_typed_at_once_land_where_they_are_meant(tmp_path: Path) -> None:
    (tmp_path / "t2v.toml").touch()
    with terminal(t2v_tui("--workspace", str(tmp_path)), cwd=tmp_path) as shown:
        shown.wait_for("1 Train")
        shown.type("4")
        shown.wait_for("prompt")
        paste = tmp_path / "paste"
        paste.write_bytes(b"a red\x1b\x07 circle\x1b[B\nmoving")
        shown.tmux("load-buffer", str(paste))
        shown.tmux("paste-buffer", "-p", "-r", "-t", "t2v")
        shown.wait_for("a red circle moving", "pasted as text: 2 lines became one")
        shown.escape()
        shown.type("7")
        shown.wait_for("No jobs yet")
        assert not list((tmp_path / "jobs").glob("*"))
