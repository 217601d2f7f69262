"""A list of thousands: only rows in sight are made, and a screen that was seen before comes back as it should look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.text import Text
from support.screen.in_terminal import eventually, on_screen
from support.screen.watched_app import Watched
from textual import on
from textual.app import App, ComposeResult
from textual.widgets import Static

from t2v_core.workspace import Workspace
from t2v_tui.screens.generate import GenerateScreen
from t2v_tui.theme import LIGHT
from t2v_tui.widgets.lists import ListTable
from t2v_tui.widgets.pane import Pane, Words
from t2v_tui.widgets.rows import RowList
from t2v_tui.workers.services import Services

ROWS, HEIGHT = 1000, 20


class OneList(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str | None] = []

    @on(RowList.Selected)
    def note(self, event: RowList.Selected) -> None:
        self.opened.append(event.rows.chosen)

    def compose(self) -> ComposeResult:
        yield ListTable((("row", 8), ("age", None)))

    def show(self, age: str) -> list[int]:
        """Returns which rows are made, also those that are made later."""
        made: list[int] = []

        def cells(number: int) -> tuple[Text, ...]:
            made.append(number)
            return Text(f"row {number}"), Text(age)

        self.query_one(ListTable).show_items({str(number): number for number in range(ROWS)}, cells)
        return made

    def ages(self) -> set[str]:
        """Those that stand on the terminal."""
        table = self.query_one(ListTable)
        lines = [table.render_line(y).text for y in range(1, table.size.height)]
        return {line[10:].strip() for line in lines}


@on_screen
async def test_only_rows_in_sight_are_made_and_the_others_when_they_come_into_it() -> None:
    app = OneList()
    async with app.run_test(size=(40, HEIGHT)) as pilot:
        assert not app.show("1 s")
        await pilot.pause()
        for keys, first in (([], 0), (["G"], ROWS - HEIGHT), (["g"], 0), (["j"] * 30, 1), (["ctrl+d"], 20)):
            made = app.show("2 s" if not keys else f"{keys[0]} s")
            await pilot.press(*keys)
            await pilot.pause()
            assert len(made) <= 2 * HEIGHT + len(keys)
            assert max(made) >= first
            assert len(app.ages()) == 1, app.ages()


@on_screen
async def test_another_order_while_it_is_scrolled_is_laid_out_anew() -> None:
    app = OneList()
    async with app.run_test(size=(40, HEIGHT)) as pilot:
        app.show("1 s")
        await pilot.press("G")
        await pilot.pause()
        table = app.query_one(ListTable)
        table.show_items({f"other {n}": n for n in range(5)}, lambda n: (Text(f"row {n}"), Text("2 s")))
        await pilot.pause()
        assert (len(table.keys), table.chosen) == (5, "other 0")


@on_screen
async def test_a_theme_that_changed_while_a_screen_was_away_is_its_own_too(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    app = Watched(workspace, services=Services(workspace), first="jobs")
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: app.current_mode == "jobs")
        before = app.screen.styles.background
        await pilot.press("3")
        await eventually(pilot, lambda: app.current_mode == "videos")
        app.theme = LIGHT.name
        await pilot.pause()
        await pilot.press("7")
        await eventually(pilot, lambda: app.current_mode == "jobs")
        colours = colours_of(app)
        app.refresh_css()
        assert app.screen.styles.background != before
        assert colours == colours_of(app)


def colours_of(app: App[Any]) -> list[tuple[object, ...]]:
    widgets = app.screen.query("*")
    return [(str(one), one.styles.color, one.styles.background, one.rich_style) for one in widgets]


class OneText(App[None]):
    def compose(self) -> ComposeResult:
        yield Words(id="words")
        yield Static("below")


@on_screen
async def test_a_text_is_given_its_height_also_when_it_was_said_before_there_was_room() -> None:
    app = OneText()
    async with app.run_test(size=(20, 10)) as pilot:
        words, below = app.query_one(Words), app.query(Static).last()
        words.display = False
        await pilot.pause()
        for text in ("one line", "a text that takes more lines than one", ""):
            words.say(text)
        words.say("two\nlines")
        words.display = True
        await pilot.pause()
        assert (words.size.height, below.region.y) == (2, 2)
        words.say("one, but longer than a line is")
        words.say("one")
        await pilot.pause()
        assert (words.size.height, below.region.y) == (1, 1)


@on_screen
async def test_the_mouse_moves_the_cursor_and_opens_the_row_where_it_is_already() -> None:
    app = OneList()
    async with app.run_test(size=(40, HEIGHT)) as pilot:
        app.show("1 s")
        await pilot.press("G")
        table = app.query_one(ListTable)
        await pilot.hover(ListTable, offset=(3, 2))
        under, other = (next(iter(table.render_line(y))).style for y in (2, 1))
        await pilot.click(ListTable, offset=(3, 2))
        assert table.chosen == str(ROWS - HEIGHT + 2)
        assert under != other
        await pilot.click(ListTable, offset=(3, 0))
        assert table.chosen == str(ROWS - HEIGHT + 2)
        assert not app.opened
        await pilot.click(ListTable, offset=(3, 2))
        assert app.opened == [str(ROWS - HEIGHT + 2)]


@on_screen
async def test_the_pane_with_the_focus_has_the_border_of_it_and_no_other(tmp_path: Path) -> None:
    app = Watched(Workspace(tmp_path), services=None, first="generate")
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: isinstance(app.screen, GenerateScreen) and app.screen.prompt.has_focus)
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        colours = set()
        for entry, box in ((screen.prompt, "prompt-box"), (screen.queue, "queue-box"), (screen.prompt, "prompt-box")):
            screen.set_focus(entry)
            assert [pane.id for pane in screen.query(Pane) if pane.has_class("-in-hand")] == [box]
            colours.add(tuple(screen.query_one(one).styles.border_top[1] for one in (f"#{box}", "#settings")))
        assert len(colours) == 1
        (held, usual), *_ = colours
        assert held != usual
