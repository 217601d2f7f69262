"""The loss curve: what it shows is what the numbers say."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace

import pytest
from support.screen.in_terminal import on_screen
from textual.app import App, ComposeResult

from t2v_tui.widgets.curve.braille import Canvas, Window, draw
from t2v_tui.widgets.curve.curve import Curve
from t2v_tui.widgets.curve.series import Averaged, Series
from t2v_tui.widgets.curve.ticks import linear_ticks, log_ticks, short_number
from t2v_tui.widgets.curve.track import Run, Track

# Series


def test_lowest_and_highest_of_any_stretch_are_those_that_looking_at_each_finds() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    series, values = Series(), [chance.gauss(0, 1) for _ in range(5000)]
    at = 0
    while at < len(values):
        size = chance.randrange(1, 400)
        series.extend(enumerate(values[at : at + size], at))
        at += size
    for _ in range(500):
        first = chance.randrange(5000)
        end = chance.randrange(first, 5000) + 1
        assert series.span(first, end) == (min(values[first:end]), max(values[first:end]))


def test_a_resumed_run_says_steps_again_and_the_last_word_counts() -> None:
    averaged, plain = Averaged(0.9), Averaged(0.9)
    averaged.extend((x, float(x)) for x in range(100))
    averaged.extend((x, 1000.0 + x) for x in range(60, 90))
    plain.extend([*((x, float(x)) for x in range(60)), *((x, 1000.0 + x) for x in range(60, 90))])
    for ours, told in ((averaged.raw, plain.raw), (averaged.average, plain.average)):
        assert list(ours.xs) == list(told.xs)
        assert list(ours.ys) == list(told.ys)
        assert ours.span(0, len(ours)) == told.span(0, len(told))


def test_the_average_of_a_beginning_is_the_mean_of_what_there_is() -> None:
    """It was seeded with the first loss, 1.7 of a curve that falls to 0.1, and told of that for 170 steps."""
    averaged, losses = Averaged(0.98), [1.7, *([0.1] * 400)]
    averaged.extend(enumerate(losses))
    for count in range(1, len(losses) + 1):
        weights = [0.98 ** (count - 1 - at) for at in range(count)]
        mean = sum(weight * loss for weight, loss in zip(weights, losses, strict=False)) / sum(weights)
        assert math.isclose(averaged.average.ys[count - 1], mean, rel_tol=1e-9)
    assert averaged.average.ys[1] < 0.9


def test_what_is_no_number_is_passed_over() -> None:
    series = Series()
    series.extend([(1, 1.0), (2, math.nan), (3, math.inf), (4, 2.0)])
    assert list(series.xs) == [1, 4]


def test_only_what_was_added_to_a_run_is_taken_in() -> None:
    track = Track.of(Run("a", [1, 2], [0.5, 0.4], [(2, 0.6)]))
    assert track.follow(Run("a", [1, 2, 3], [0.5, 0.4, 0.3], [(2, 0.6), (3, 0.5)]))
    assert list(track.loss.raw.ys) == [0.5, 0.4, 0.3]
    assert list(track.held_out.ys) == [0.6, 0.5]
    assert not track.follow(Run("a", [7, 8, 9, 10], [1, 1, 1, 1]))


# Axes


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [(0, 12_400, 5, [0, 5000, 10_000]), (0, 10, 5, [0, 2, 4, 6, 8, 10]), (0.081, 0.093, 4, [0.085, 0.09])],
)
def test_ticks_are_round_numbers(low: float, high: float, most: int, ticks: list[float]) -> None:
    assert linear_ticks(low, high, most) == pytest.approx(ticks)


def test_ticks_of_a_log_scale_are_powers_of_ten_when_there_are_many() -> None:
    assert log_ticks(0.08, 0.6, 5) == pytest.approx([0.1, 0.2, 0.5])
    assert log_ticks(1e-4, 10, 6) == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1, 10])
    assert log_ticks(0.081, 0.093, 4) == pytest.approx([0.085, 0.09])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.081, "0.081"), (12_400, "12.4k"), (3000, "3k"), (1.5e6, "1.5M"), (0.00012, "1.2e-4"), (55, "55")],
)
def test_a_number_takes_few_characters(value: float, text: str) -> None:
    assert short_number(value) == text


# Drawing


def dots(canvas: Canvas) -> set[tuple[int, int]]:
    """(x, y) of every dot that is set."""
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]  # as Unicode numbers them
    return {
        (2 * column + dx, 4 * row + dy)
        for row, line in enumerate(canvas.bits)
        for column, cell in enumerate(line)
        for bit, (dx, dy) in enumerate(places)
        if cell >> bit & 1
    }


def test_a_straight_line_is_a_diagonal_without_gaps() -> None:
    series, canvas = Series(), Canvas(10, 5)
    series.extend([(0, 0.0), (19, 19.0)])
    draw(canvas, series, Window(0, 19, 0, 19, is_log=False), 1)
    drawn = dots(canvas)
    assert {(0, 19), (19, 0)} <= drawn
    assert {x for x, _ in drawn} == set(range(20))
    assert all(abs(x - (19 - y)) <= 1 for x, y in drawn)


def test_a_line_over_another_takes_its_cells_whole_and_lends_its_colour_to_no_dot_of_the_other() -> None:
    noise, line, canvas = Series(), Series(), Canvas(10, 5)
    noise.extend((x / 10, float(x % 20)) for x in range(200))
    line.extend([(0, 10.0), (19, 10.0)])
    window = Window(0, 19, 0, 19, is_log=False)
    draw(canvas, noise, window, 1)
    draw(canvas, line, window, 2)
    (row,) = {row for row, inks in enumerate(canvas.inks) if 2 in inks}
    assert canvas.inks[row] == [2] * 10
    assert {y for _, y in dots(canvas) if y // 4 == row} == {9}
    assert {ink for at, inks in enumerate(canvas.inks) for ink in inks if at != row} <= {0, 1}


def test_a_spike_of_one_step_in_a_hundred_thousand_is_seen() -> None:
    series, canvas = Series(), Canvas(40, 10)
    series.extend((x, 9.0 if x == 70_123 else 1.0) for x in range(100_000))
    draw(canvas, series, Window(0, 99_999, 1, 9, is_log=False), 1)
    (x,) = {x for x, y in dots(canvas) if y == 0}
    assert x == round(70_123 / 99_999 * 79)


def test_nothing_outside_the_window_is_drawn() -> None:
    series, canvas = Series(), Canvas(10, 5)
    series.extend((x, float(x)) for x in range(1000))
    draw(canvas, series, Window(500, 519, 500, 519, is_log=False), 1)
    drawn = dots(canvas)
    assert min(y for _, y in drawn) == 0
    assert len({x for x, _ in drawn}) == 20
    assert draw(Canvas(10, 5), series, Window(2000, 3000, 0, 1, is_log=False), 1) is None


# On the screen

RUN = Run(
    "run-0042",
    list(range(1, 2001)),
    [0.08 + 0.5 * math.exp(-step / 300) for step in range(1, 2001)],
    [(step, 0.1 + 0.5 * math.exp(-step / 300)) for step in range(200, 2001, 200)],
    [500, 1000, 1500, 2000],
    [1000, 2000],
)


class Showing(App[None]):
    def compose(self) -> ComposeResult:
        yield Curve()

    @property
    def curve(self) -> Curve:
        return self.query_one(Curve)

    def text(self) -> list[str]:
        return [self.curve.render_line(y).text for y in range(self.curve.size.height)]


@on_screen
async def test_the_curve_has_legend_marks_and_numbers_with_units() -> None:
    app = Showing()
    async with app.run_test(size=(80, 20)) as pilot:
        assert "No loss yet" in "\n".join(app.text())
        app.curve.show([RUN])
        app.curve._draw_anew()
        await pilot.pause()
        lines = app.text()
        assert "━ average 0.08" in lines[0]
        assert "× held-out 0.10" in lines[0]
        assert lines[0].rstrip().endswith("log")
        assert [lines[-2].count(glyph) for glyph in "◆▮"] == [4, 0]  # checkpoints stand over samples of the same step
        assert "1k" in lines[-1]
        assert lines[-1].rstrip().endswith("step")
        assert any("0.1┤" in line for line in lines)
        assert all(len(line) == 80 for line in lines)


@on_screen
async def test_the_held_out_loss_is_known_without_its_colour() -> None:
    app = Showing()  # also where it lies on the average, and where there is one a step
    async with app.run_test(size=(80, 20)) as pilot:
        for every in (1, 200):
            run = replace(
                RUN,
                name=f"held out every {every}",
                held_out=[(step, RUN.losses[step - 1]) for step in range(every, 2001, every)],
            )
            app.curve.show([run])
            app.curve._draw_anew()
            await pilot.pause()
            plot = "".join(line[8:] for line in app.text()[1:-2])
            assert plot.count("×") == (12 if every == 1 else 10)
            assert sum("⠀" < cell <= "⣿" for cell in plot) > 60


@on_screen
async def test_zoom_stays_at_the_right_edge_while_steps_come_and_pan_leaves_it() -> None:
    app = Showing()
    async with app.run_test(size=(80, 20)) as pilot:
        app.curve.show([RUN])
        app.curve.focus()
        await pilot.press("plus")
        assert app.curve.zoomed == (1000.5, 2000.0)
        longer = Run(RUN.name, [*RUN.steps, *range(2001, 2101)], [*RUN.losses, *[0.08] * 100])
        app.curve._draw_anew()
        app.text()
        app.curve.show([longer])
        app.curve._draw_anew()
        app.text()
        assert app.curve.zoomed == (1100.5, 2100.0)
        await pilot.press("left")
        app.text()
        x0, x1 = app.curve.zoomed
        assert (round(x0), round(x1)) == (851, 1850)
        await pilot.press("home")
        assert app.curve.zoomed is None


@on_screen
async def test_four_runs_have_a_digit_at_their_end_and_a_fifth_is_left_out() -> None:
    app = Showing()
    async with app.run_test(size=(120, 30)) as pilot:
        runs = [Run(f"run-{n}", RUN.steps, [loss * (1 + n / 4) for loss in RUN.losses]) for n in range(5)]
        app.curve.show(runs)
        app.curve._draw_anew()
        await pilot.pause()
        plot = "\n".join(line[8:] for line in app.text()[1:-2])
        assert [digit in plot for digit in "12345"] == [True] * 4 + [False]


@on_screen
async def test_it_draws_at_most_twice_a_second() -> None:
    app = Showing()
    async with app.run_test(size=(80, 20)) as pilot:
        drawn = []
        app.curve._draw = lambda draw=app.curve._draw: (drawn.append(time.monotonic()), draw())[1]
        begin = time.monotonic()
        for length in range(1, 60):
            app.curve.show([Run("a", RUN.steps[:length], RUN.losses[:length])])
            await pilot.pause(0.01)
        assert len(drawn) <= 2 + 2 * (time.monotonic() - begin)
        assert len(drawn) >= 1


@on_screen
async def test_no_size_breaks_it() -> None:
    app = Showing()
    async with app.run_test(size=(80, 20)) as pilot:
        app.curve.show([RUN])
        for size in ((40, 10), (10, 3), (1, 1), (200, 60), (80, 24)):
            await pilot.resize_terminal(*size)
            app.text()
