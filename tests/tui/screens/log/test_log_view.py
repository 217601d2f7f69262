"""The log view: a file of any length in little memory, followed, found in, filtered, copied; on real files."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from support.screen.in_terminal import eventually, on_screen
from support.screen.log_files import append, numbered
from textual.app import App, ComposeResult
from textual.events import MouseScrollUp

from t2v_tui.widgets.clipboard import OSC52_BYTES, copy_text, osc52, program_for
from t2v_tui.widgets.log.view import LogView


class Shown(App[None]):
    """A screen with one log."""

    def __init__(self, path: Path | None, copies: Path | None = None) -> None:
        super().__init__()
        self.view = LogView(path, title="train", copies=copies)

    def compose(self) -> ComposeResult:
        yield self.view

    def on_mount(self) -> None:
        self.view.lines.focus()


def texts(app: Shown) -> list[str]:
    """What stands on the rows in sight."""
    lines = app.view.lines
    return [lines.render_line(y).text.rstrip() for y in range(lines.size.height)]


# On the screen


@on_screen
async def test_it_opens_at_the_end_and_follows_what_comes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(numbered(1000))
    app = Shown(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: texts(app)[-1] == "line 999")
        append(path, numbered(500, 1000))
        await eventually(pilot, lambda: texts(app)[-1] == "line 1499")
        assert app.view.border_title == "train · following"
        await eventually(pilot, lambda: app.view.border_subtitle == "line 1,500 / 1,500")


@on_screen
async def test_scrolling_up_stops_following_and_counts_what_comes_until_g(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(numbered(1000))
    app = Shown(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: texts(app)[-1] == "line 999")
        await pilot.press("k")
        before = texts(app)
        append(path, numbered(1204, 1000))
        await eventually(pilot, lambda: app.view.border_title == "train · +1,204 new · G follows")
        assert texts(app) == before
        await pilot.press("G")
        await eventually(pilot, lambda: texts(app)[-1] == "line 2203")
        append(path, numbered(1, 2204))
        await eventually(pilot, lambda: texts(app)[-1] == "line 2204")


@pytest.mark.parametrize("how", ["k", "pageup", "ctrl+u", "g"])
@on_screen
async def test_any_way_up_stops_following(tmp_path: Path, how: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(numbered(1000))
    app = Shown(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: texts(app)[-1] == "line 999")
        await pilot.press(how)
        await eventually(pilot, lambda: not app.view.lines.is_following)
        top = app.view.lines.scroll_offset.y
        append(path, numbered(100, 1000))
        await eventually(pilot, lambda: app.view.lines.rows == 1100)
        assert app.view.lines.scroll_offset.y == top


@on_screen
async def test_the_wheel_stops_following(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(numbered(1000))
    app = Shown(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: texts(app)[-1] == "line 999")
        area = app.view.lines.region.offset
        wheel = MouseScrollUp(app.view.lines, *area, 0, -1, 0, False, False, False)
        app.view.lines.post_message(wheel)
        await eventually(pilot, lambda: not app.view.lines.is_following)


@on_screen
async def test_find_goes_to_the_last_hit_then_up_and_round(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = [b"line %d" % n for n in range(3000)]
    for hit in (100, 1500, 2900):
        lines[hit] += b" Needle"
    path.write_bytes(b"\n".join(lines) + b"\n")
    app = Shown(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: texts(app)[-1] == "line 2999")
        await pilot.press("slash", *"needle", "enter")
        for expected, key in ((2900, "N"), (1500, "N"), (100, "N"), (2900, "n"), (100, "n"), (1500, "")):
            await eventually(pilot, lambda expected=expected: app.view.lines.current == expected)
            assert f"line {expected} Needle" in texts(app)
            if key:
                await pilot.press(key)
        await pilot.press("slash", *"nowhere to be", "enter")
        await eventually(pilot, lambda: "is not in this log" in str(app.view.border_subtitle))


@on_screen
async def test_a_filter_shows_only_what_has_it_and_goes_on_with_what_comes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(numbered(20_000))
    app = Shown(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: texts(app)[-1] == "line 19999")
        await pilot.press("f", *"[/999]", "enter")  # nothing has it, and it is no markup
        await eventually(pilot, lambda: app.view.lines.rows == 0)
        await eventually(pilot, lambda: "0 of 20" in str(app.view.border_subtitle))
        await pilot.press("f", *"999", "enter")
        expected = [n for n in range(20_000) if "999" in str(n)]
        await eventually(pilot, lambda: app.view.lines.rows == len(expected))
        assert [app.view.lines.line_of(row) for row in range(len(expected))] == expected
        append(path, b"other\nnew 999\nother\n")
        await eventually(pilot, lambda: texts(app)[-1] == "new 999")
        await eventually(pilot, lambda: "have “999”" in str(app.view.border_subtitle))
        await pilot.press("escape")
        await eventually(pilot, lambda: app.view.lines.rows == 20_003)


@on_screen
async def test_a_file_that_is_replaced_or_cut_is_read_anew_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(numbered(1000))
    app = Shown(path)
    async with app.run_test(size=(120, 24)) as pilot:
        await eventually(pilot, lambda: texts(app)[-1] == "line 999")
        path.write_bytes(b"after the cut\n")
        await eventually(pilot, lambda: texts(app)[0] == "after the cut")
        await eventually(pilot, lambda: "truncated" in str(app.view.border_subtitle))
        path.rename(tmp_path / "log.1")
        path.write_bytes(b"the new one\n")
        await eventually(pilot, lambda: texts(app)[0] == "the new one")
        await eventually(pilot, lambda: "replaced" in str(app.view.border_subtitle))


@on_screen
async def test_a_log_that_is_not_there_yet_says_so_and_appears(tmp_path: Path) -> None:
    path = tmp_path / "log"
    app = Shown(path)
    async with app.run_test(size=(80, 24)) as pilot:
        assert app.view.has_class("-empty")
        path.write_bytes(b"first\n")
        await eventually(pilot, lambda: not app.view.has_class("-empty") and texts(app)[0] == "first")


@on_screen
async def test_marked_lines_are_copied_into_the_clipboard_and_a_file(tmp_path: Path) -> None:
    path, copies = tmp_path / "log", tmp_path / "copied.txt"
    path.write_bytes(numbered(1000))
    app = Shown(path, copies)
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: texts(app)[-1] == "line 999")
        await pilot.press("V", "k", "k")
        assert app.view.border_title == "train · 3 marked · Y copies · esc cancels"
        await pilot.press("Y")
        await eventually(pilot, copies.exists)
        assert copies.read_text() == "line 997\nline 998\nline 999"
        assert app.view.lines.marked is None


@on_screen
async def test_dragging_selects_text_of_this_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(numbered(1000))
    app = Shown(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: texts(app)[-1] == "line 999")
        top = app.view.lines.scroll_offset.y
        await pilot.mouse_down(app.view.lines, offset=(5, 2))
        await pilot.hover(app.view.lines, offset=(3, 4))
        await pilot.mouse_up(app.view.lines, offset=(3, 4))
        assert app.screen.get_selected_text() == f"{top + 2}\nline {top + 3}\nline"


def test_osc_52_is_wrapped_in_tmux_and_never_longer_than_terminals_take(tmp_path: Path) -> None:
    text = "ü\x1b"
    plain = osc52(text, {})
    assert base64.b64decode(plain.removeprefix("\x1b]52;c;").removesuffix("\a")).decode() == text
    wrapped = osc52(text, {"TMUX": "/run/tmux,1,0"}).removeprefix(plain)
    assert wrapped.removeprefix("\x1bPtmux;").removesuffix("\x1b\\").replace("\x1b\x1b", "\x1b") == plain
    app: App[None] = App()
    file = tmp_path / "copied"
    said = copy_text(app, "x" * (OSC52_BYTES + 1), file, {"SSH_TTY": "/dev/pts/0"})
    assert "too much for a terminal's clipboard" in said
    assert app.clipboard == ""
    assert file.stat().st_size == OSC52_BYTES + 1


def test_a_desktops_own_program_is_used_only_when_the_desktop_is_here(tmp_path: Path) -> None:
    assert program_for({}, "darwin") == ("pbcopy",)
    assert program_for({"SSH_TTY": "/dev/pts/0"}, "darwin") is None
    assert program_for({}, "linux") is None
    app: App[None] = App()
    assert copy_text(app, "two\nlines", tmp_path / "copied", {}).startswith("copied 2 lines")
    assert app.clipboard == "two\nlines"


@on_screen
async def test_errors_stand_out_and_a_theme_changes_what_was_drawn(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"plain\nERROR disk full\n")
    app = Shown(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: texts(app)[1] == "ERROR disk full")

        def colours() -> list[str]:
            lines = app.view.lines.render_lines(app.view.lines.size.region)
            return [str(next(iter(line)).style and next(iter(line)).style.color) for line in lines[:2]]

        dark = colours()
        assert dark[0] != dark[1]
        app.theme = "textual-light"
        await eventually(pilot, lambda: colours()[0] != dark[0])
