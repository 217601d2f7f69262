"""Loss over steps: each step's own, its average, the held-out loss, checkpoints and samples, of up to four runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.geometry import Size
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from t2v_tui.keys import bindings_for
from t2v_tui.widgets.curve.axes import LABELS, below, inked, labels_left, legend, numbers_below, sentence
from t2v_tui.widgets.curve.braille import Canvas, Window, draw
from t2v_tui.widgets.curve.series import Series
from t2v_tui.widgets.curve.track import Run, Track

MOST_RUNS = 4
REDRAWS_A_SECOND = 2
CHECKPOINT, SAMPLE, HELD_OUT = "◆", "▮", "×"


class Curve(Widget, can_focus=True):
    """Draws what `show` was given, at most twice a second and only what changed.

    empty: what stands there before the first point
    """

    PANE = "curve-pane"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("curve-pane")]
    # Blue, orange and purple are told apart by every kind of colour vision; a digit stands at the end of each line too.
    DEFAULT_CSS = """
    Curve { width: 1fr; height: 1fr; }
    Curve .curve--axis { color: $text-muted; }
    Curve .curve--loss { color: $accent 45%; }
    Curve .curve--average { color: $accent; }
    Curve .curve--held-out { color: #e69f00; }
    Curve .curve--second { color: #e69f00; }
    Curve .curve--third { color: #56b4e9; }
    Curve .curve--fourth { color: #cc79a7; }
    Curve:light .curve--held-out { color: #a35200; }
    Curve:light .curve--second { color: #a35200; }
    Curve:light .curve--third { color: #0065a8; }
    Curve:light .curve--fourth { color: #9c3f73; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "curve--axis", "curve--loss", "curve--average", "curve--held-out", "curve--second", "curve--third",
        "curve--fourth",
    }  # fmt: skip
    INKS = ("axis", "loss", "average", "held-out", "average", "second", "third", "fourth")
    FIRST_RUN = 4

    def __init__(
        self,
        *,
        empty: str = "No loss yet. The first point comes with the first step.",
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.empty = empty
        self.tracks: list[Track] = []
        self.is_log, self.shows_raw = True, True
        self.zoomed: tuple[float, float] | None = None
        self._known_last = 0.0
        self._strips: list[Strip] | None = None
        self._drawn_as: tuple[Size, list[Style]] = Size(), []
        self._drawn_at = 0.0
        self._due: Timer | None = None

    def show(self, runs: Sequence[Run]) -> None:
        """Show up to four runs; the first is the one that is looked at, the others lie over it."""
        kept = {track.run.name: track for track in self.tracks}
        tracks = []
        for run in runs[:MOST_RUNS]:
            track = kept.get(run.name)
            tracks.append(track if track is not None and track.follow(run) else Track.of(run))
        if [track.run.name for track in tracks][:1] != [track.run.name for track in self.tracks][:1]:
            self.zoomed = None
        self.tracks = tracks
        self._changed()

    def _changed(self) -> None:
        wait = self._drawn_at + 1 / REDRAWS_A_SECOND - time.monotonic()
        if wait <= 0:
            self._draw_anew()
        elif self._due is None:
            self._due = self.set_timer(wait, self._draw_anew)

    def _draw_anew(self) -> None:
        if self._due is not None:
            self._due.stop()
            self._due = None
        self._drawn_at = time.monotonic()
        self._strips = None
        self.refresh()

    def on_resize(self) -> None:
        """Draw everything in the new size; as it was when it was only hidden."""
        if self._strips is None or self._drawn_as != self._as_now():
            self._draw_anew()

    def notify_style_update(self) -> None:
        """Drop what was drawn in the old colours. With the focus alone they stay: a long run takes 10 ms to draw."""
        super().notify_style_update()
        if self._strips is not None and self._drawn_as != self._as_now():
            self._strips = None

    def _as_now(self) -> tuple[Size, list[Style]]:
        return self.size, [self.rich_style, *map(self._ink, range(len(self.INKS)))]

    # What is looked at

    @property
    def whole(self) -> tuple[float, float]:
        """Return the first and last step of all runs; 0 and 1 before the first point."""
        series = [part for track in self.tracks for part in track.parts if len(part)]
        return min((part.xs[0] for part in series), default=0.0), max((part.xs[-1] for part in series), default=1.0)

    def action_zoom(self, factor: float) -> None:
        """Zoom around the right edge when it is in sight, where new steps come, else around the middle.

        factor: of the steps in sight; below 1 looks closer
        """
        first, last = self.whole
        x0, x1 = self.zoomed or (first, last)
        anchor = last if x1 >= last else (x0 + x1) / 2
        left, right = anchor - (anchor - x0) * factor, anchor + (x1 - anchor) * factor
        if right - left < 4:
            return
        self.zoomed = None if left <= first and right >= last else (max(first, left), min(last, right))
        self._draw_anew()

    def action_pan(self, share: float) -> None:
        """Move by a share of the steps in sight; nothing moves unless it is zoomed."""
        if self.zoomed is not None:
            (first, last), (x0, x1) = self.whole, self.zoomed
            by = max(first - x0, min(last - x1, share * (x1 - x0)))
            self.zoomed = (x0 + by, x1 + by)
            self._draw_anew()

    def action_whole(self) -> None:
        """Show the whole run."""
        self.zoomed = None
        self._draw_anew()

    def action_change_scale(self) -> None:
        """Switch between the logarithmic and the linear scale."""
        self.is_log = not self.is_log
        self._draw_anew()

    def action_toggle_raw(self) -> None:
        """Show or hide each step's own loss."""
        self.shows_raw = not self.shows_raw
        self._draw_anew()

    def window(self) -> Window | None:
        """Return what is looked at; None when no point is in sight."""
        first, last = self.whole
        x0, x1 = self.zoomed or (first, last)
        if self.zoomed is not None and self.zoomed[1] >= self._known_last < last:
            x0, x1 = x0 + last - x1, last  # the right edge was in sight, and stays so
            self.zoomed = (x0, x1)
        self._known_last = last
        lows, highs = [], []
        for track in self.tracks:
            for part in self._shown_parts(track):
                begin, end = part.between(x0, x1)
                end += end < len(part) and part.xs[end] <= x1
                if end > begin:
                    low, high = part.span(begin, end)
                    lows.append(low)
                    highs.append(high)
        if not lows:
            return None
        low, high = min(lows), max(highs)
        is_log = self.is_log and low > 0
        if low == high:
            low, high = (low / 1.1, high * 1.1) if is_log else (low - 0.5, high + 0.5)
        return Window(x0, max(x1, x0 + 1), low, high, is_log)

    def _shown_parts(self, track: Track) -> tuple[Series, ...]:
        raw, average, held_out = track.parts
        return (raw, average, held_out) if self.shows_raw and len(self.tracks) == 1 else (average, held_out)

    # Drawing

    def render_line(self, y: int) -> Strip:
        """Return one line; the first that is asked for draws them all."""
        if self._strips is None:
            self._strips, self._drawn_as = self._draw(), self._as_now()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    def _draw(self) -> list[Strip]:
        width, height = self.size
        window = self.window()
        rows, columns = height - 3, width - LABELS - 1
        if window is None or rows < 2 or columns < 8:
            lines = sentence(self.empty if window is None else "", width, height, self._ink(0), self.rich_style)
            return [Strip(line, width) for line in lines]
        canvas = Canvas(columns, rows)
        for number, track in enumerate(self.tracks):
            self._draw_track(canvas, track, number, window)
        lines = [self._legend(window, columns)]
        for row, label in enumerate(labels_left(window, rows)):
            lines.append([Segment(label, self._ink(0)), *inked(*canvas.row(row), self._ink)])
        lines += self._x_axis(window, columns)
        return [Strip(line).adjust_cell_length(width, self.rich_style) for line in lines]

    def _draw_track(self, canvas: Canvas, track: Track, number: int, window: Window) -> None:
        """Its lines; of several runs each has its digit at the end of its average."""
        raw, average, held_out = track.parts
        is_alone = len(self.tracks) == 1
        if self.shows_raw and is_alone:
            draw(canvas, raw, window, 1)
        ink = self.FIRST_RUN + number
        draw(canvas, held_out, window, 3 if is_alone else ink, sign=HELD_OUT)
        end = draw(canvas, average, window, ink)
        if end is not None and not is_alone:
            canvas.sign(*end, str(number + 1), ink)

    def _x_axis(self, window: Window, columns: int) -> list[list[Segment]]:
        """The line with the marks of the first run, and the numbers below."""
        line, run = ["─"] * columns, self.tracks[0].run
        for steps, glyph in ((run.samples, SAMPLE), (run.checkpoints, CHECKPOINT)):
            for step in steps:
                if window.x0 <= step <= window.x1:
                    line[round(window.across(step) * (columns - 1))] = glyph
        axis = self._ink(0)
        marks = [
            Segment("".join(same), axis if glyph == "─" else self._ink(2))
            for glyph, same in groupby(line)
        ]  # fmt: skip
        return below(marks, numbers_below(window, columns, "step"), axis)

    def _legend(self, window: Window, columns: int) -> list[Segment]:
        """What the lines are, and as much of the rest as there is room for."""
        parts = self._legend_of_one() if len(self.tracks) == 1 else self._legend_of_all()
        run, axis = self.tracks[0].run, self._ink(0)
        if self.zoomed is not None:
            parts.append(Segment("zoomed", axis))
        marks = [f"{CHECKPOINT} checkpoint"] * bool(run.checkpoints) + [f"{SAMPLE} sample"] * bool(run.samples)
        parts += [Segment(text, axis) for text in ("log" if window.is_log else "linear", *marks)]
        return legend(parts, columns, axis)

    def _legend_of_one(self) -> list[Segment]:
        raw, average, held_out = self.tracks[0].parts
        named = [(2, "━ average", average), (3, f"{HELD_OUT} held-out", held_out), (1, "┄ each step", raw)]
        return [
            # Each step's own loss is drawn faint; its name and number are to be read.
            Segment(f"{name} {series.ys[-1]:.4f}", self._ink(ink if ink != 1 else 0))
            for ink, name, series in named
            if len(series) and (self.shows_raw or ink != 1)
        ]

    def _legend_of_all(self) -> list[Segment]:
        return [
            Segment(
                f"{number + 1} {track.run.name} {track.loss.average.ys[-1]:.4f}", self._ink(self.FIRST_RUN + number)
            )
            for number, track in enumerate(self.tracks)
            if len(track.loss.average)
        ]

    def _ink(self, number: int) -> Style:
        return self.get_component_rich_style(f"curve--{self.INKS[number]}")
