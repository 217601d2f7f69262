"""Long lines of a log: wrapped so that none of it is out of sight, or scrolled sideways; on real files."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.screen.in_terminal import eventually, on_screen
from support.screen.log_files import append
from textual.app import App, ComposeResult

from t2v_tui.widgets.log.view import LogView
from t2v_tui.widgets.log.wrapping import breaks, in_sight, last_top

SIZE = (40, 12)


class Shown(App[None]):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.view = LogView(path)

    def compose(self) -> ComposeResult:
        yield self.view

    def on_mount(self) -> None:
        self.view.lines.focus()

    @property
    def texts(self) -> list[str]:
        """What stands on the lines of the screen."""
        lines = self.view.lines
        return [strip.text.rstrip() for strip in lines.render_lines(lines.size.region)]


def long_lines(count: int, first: int = 0) -> bytes:
    """Lines of 100 characters: three on the screen each."""
    return b"".join(f"{number:<4}{'abcdefgh' * 12}\n".encode() for number in range(first, first + count))


def numbers(texts: list[str]) -> list[int]:
    return [int(text[:4]) for text in texts if text[:4].strip().isdigit()]


@on_screen
async def test_wrapped_lines_end_with_the_last_and_going_up_passes_over_none(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(long_lines(60))
    app = Shown(path)
    async with app.run_test(size=SIZE) as pilot:
        await eventually(pilot, lambda: bool(app.texts[-1]))
        await pilot.press("w")
        await eventually(pilot, lambda: numbers(app.texts)[-1] == 59 and app.texts[-1].endswith("efgh"))
        assert "wrapped" in str(app.view.border_title)
        append(path, long_lines(1, 60))
        await eventually(pilot, lambda: numbers(app.texts)[-1] == 60)
        seen = set(numbers(app.texts))
        while app.view.lines.scroll_offset.y:
            app.view.action_move(-1)
            await pilot.pause()
            seen |= set(numbers(app.texts))
        assert seen == set(range(61))
        await pilot.press("G")
        await eventually(pilot, lambda: numbers(app.texts)[-1] == 60)
        await pilot.press("pageup")
        first = numbers(app.texts)
        await pilot.press("pageup")
        assert set(numbers(app.texts)) & set(first)  # a row of the last page stays in sight


@on_screen
async def test_what_is_found_is_brought_into_sight_wrapped(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(long_lines(40) + b"the needle\n" + long_lines(9, 50))
    app = Shown(path)
    async with app.run_test(size=SIZE) as pilot:
        await eventually(pilot, lambda: bool(app.texts[-1]))
        await pilot.press("w", "slash", *"needle", "enter")
        await eventually(pilot, lambda: "the needle" in app.texts)


@on_screen
async def test_right_and_left_move_a_quarter_of_the_width_until_lines_are_wrapped(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(long_lines(30))
    app = Shown(path)
    async with app.run_test(size=SIZE) as pilot:
        await eventually(pilot, lambda: app.view.lines.max_scroll_x > 0)
        width = app.view.lines.size.width
        await pilot.press("right", "right")
        await eventually(pilot, lambda: app.view.lines.scroll_offset.x == 2 * (width // 4))
        await pilot.press("left", "left", "left")
        await eventually(pilot, lambda: app.view.lines.scroll_offset.x == 0)
        await pilot.press("w", "right")
        await eventually(pilot, lambda: any("w leaves them whole" in one.message for one in app._notifications))


@pytest.mark.parametrize(
    ("text", "width", "begins"),
    [
        ("", 4, [0]),
        ("abcd", 4, [0]),
        ("abcde", 4, [0, 4]),
        ("漢字漢字", 4, [0, 4]),
        ("a漢字漢", 4, [0, 3]),
        ("é" * 9, 4, [0, 4, 8]),
    ],
)
def test_a_wide_character_is_never_cut_in_two(text: str, width: int, begins: list[int]) -> None:
    assert breaks(text, width) == begins


def test_what_is_in_sight_fills_the_screen_wherever_it_begins() -> None:
    texts = ["x" * (7 * (number % 5)) for number in range(50)]
    top = last_top(50, texts.__getitem__, 10, 8)
    for begin in range(top + 1):
        parts = in_sight(begin, 50, texts.__getitem__, 10, 8)
        assert len(parts) == 8
        assert parts[0].row == begin or begin == top
    assert in_sight(top, 50, texts.__getitem__, 10, 8)[-1].row == 49
