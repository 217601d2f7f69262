"""Every text can be read on its ground, in the dark theme and in the light one: WCAG's 4.5 to 1, as it is drawn."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.screen.in_terminal import eventually, on_screen
from support.screen.tui_states import NOW, RUN, live
from textual.color import Color
from textual.strip import Strip
from textual.theme import Theme

from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.registry import SCREENS
from t2v_tui.settings import Tui
from t2v_tui.theme import DARK, LIGHT
from t2v_tui.widgets.curve.chart import colour_of

LEAST = 4.5  # WCAG 2.2, success criterion 1.4.3, level AA
THEMES = [pytest.param(theme, id=theme.name) for theme in (DARK, LIGHT)]
INKS = ("foreground", "text-muted", "accent", "success", "warning", "error", "text-error", "text-warning")
GROUNDS = ("background", "surface", "panel", "block-cursor-background", "block-cursor-blurred-background")


def luminance(colour: Color) -> float:
    """WCAG's relative luminance, 0 … 1."""
    parts = [part / 255 for part in (colour.r, colour.g, colour.b)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(ink: Color, ground: Color) -> float:
    """1 (the same) … 21 (black on white)."""
    dark, light = sorted((luminance(ink), luminance(ground)))
    return (light + 0.05) / (dark + 0.05)


def test_black_on_white_is_21_and_a_colour_on_itself_1() -> None:
    assert contrast(Color.parse("black"), Color.parse("white")) == pytest.approx(21)
    assert contrast(Color.parse("#777777"), Color.parse("white")) == pytest.approx(4.48, abs=0.01)
    assert contrast(Color.parse("#777777"), Color.parse("#777777")) == 1


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("ground", GROUNDS)
def test_every_ink_of_a_theme_can_be_read_on_every_ground(theme: Theme, ground: str) -> None:
    colours = theme.to_color_system().generate() | theme.variables
    low = {ink: contrast(Color.parse(colours[ink]), Color.parse(colours[ground])) for ink in INKS}
    assert {ink: round(ratio, 2) for ink, ratio in low.items() if ratio < LEAST} == {}


@pytest.mark.parametrize("theme", THEMES)
def test_the_colours_of_runs_can_be_read_as_letters(theme: Theme) -> None:
    ground = Color.parse(str(theme.background))
    ratios = [contrast(Color.parse(colour_of(number, is_dark=theme.dark)), ground) for number in range(8)]
    assert min(ratios) >= LEAST


def texts_drawn(app: CockpitApp) -> dict[tuple[str, str], str]:
    """Each (ink, ground) on the screen, with a text that has it; what is only lines, dots and blocks is no text."""
    found = {}
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            style = segment.style
            if style is None or style.color is None or style.bgcolor is None or not re.search(r"\w", segment.text):
                continue
            found[Color.from_rich_color(style.color).hex, Color.from_rich_color(style.bgcolor).hex] = segment.text
    return found


@on_screen
@pytest.mark.parametrize("theme", THEMES)
async def test_every_text_of_every_screen_can_be_read_as_it_is_drawn(tmp_path: Path, theme: Theme) -> None:
    settings = Tui()
    settings.theme, settings.animation = theme.name, False
    app = CockpitApp(Workspace(tmp_path), services=None, settings=settings, state=live(), now=lambda: NOW)
    drawn: dict[tuple[str, str], str] = {}
    async with app.run_test(size=(120, 40)) as pilot:
        for entry in SCREENS:
            await app.switch_mode(entry.name)
            await eventually(pilot, lambda: len(texts_drawn(app)) > 3)
            drawn |= {pair: f"{entry.name}: {text.strip()}" for pair, text in texts_drawn(app).items()}
    low = {text: contrast(*map(Color.parse, pair)) for pair, text in drawn.items()}
    assert {text: round(ratio, 2) for text, ratio in low.items() if ratio < LEAST} == {}


@on_screen
@pytest.mark.parametrize("theme", THEMES)
async def test_what_was_found_in_a_log_can_be_read(tmp_path: Path, theme: Theme) -> None:
    settings = Tui()
    settings.theme, settings.animation = theme.name, False
    app = CockpitApp(Workspace(tmp_path), services=None, settings=settings, state=live(), now=lambda: NOW, first="log")
    journal = app.files.journal_of(RUN)
    journal.parent.mkdir(parents=True)
    journal.write_text("03:00:20 WARN the data loader waits\n")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("slash", *"loader", "enter")
        await eventually(pilot, lambda: "loader" in texts_drawn(app).values())
        pair = next(pair for pair, text in texts_drawn(app).items() if text == "loader")
        assert contrast(*map(Color.parse, pair)) >= LEAST


@on_screen
async def test_without_colour_all_is_grey_and_the_cursor_is_told_by_more_than_a_shade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = CockpitApp(Workspace(tmp_path), services=None, state=live(), now=lambda: NOW, first="train")
    journal = app.files.journal_of(RUN)
    journal.parent.mkdir(parents=True)
    journal.write_text("03:00:20 WARN the data loader waits\n")
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: "data loader" in "".join(strip.text for strip in drawn_by(app)))
        shades = {
            shade.get_truecolor()
            for strip in drawn_by(app)
            for segment in strip
            for shade in (segment.style.color, segment.style.bgcolor if segment.style else None)
            if shade is not None
        }
        assert [shade for shade in shades if len({shade.red, shade.green, shade.blue}) > 1] == []
        await app.switch_mode("jobs")
        await eventually(pilot, lambda: any(is_reversed(strip, "running") for strip in drawn_by(app)))


def drawn_by(app: CockpitApp) -> list[Strip]:
    """The screen as a terminal is sent it."""
    return app.screen._compositor.render_strips()


def is_reversed(strip: Strip, text: str) -> bool:
    return any(text in part.text and part.style is not None and bool(part.style.reverse) for part in strip)
