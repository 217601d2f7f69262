"""One frame of a film on the screen, kept as the strips that the terminal was sent."""

from __future__ import annotations

from textual.app import RenderResult
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from t2v_tui.widgets.video.film import Film


class Picture(Widget):
    """One frame of a film, in the middle."""

    DEFAULT_CSS = "Picture { width: 1fr; height: 1fr; display: none; }"

    def __init__(self, *, letters: bool) -> None:
        super().__init__()
        self.letters = letters
        self.film: Film | None = None
        self.frame = 0
        self._padded: dict[int, list[Strip]] = {}

    def show(self, film: Film | None) -> None:
        """Show a film's first frame; None hides the picture."""
        self.film, self.frame = film, 0
        self._padded.clear()
        self.display = film is not None
        self.refresh()

    def turn_to(self, frame: int) -> None:
        """Draw another frame of the film."""
        if self.film is not None and frame != self.frame:
            self.frame = frame
            self.refresh(self.area)

    @property
    def area(self) -> Region:
        """Return where the picture is."""
        assert self.film is not None
        left, top = (self.size.width - self.film.width) // 2, (self.size.height - self.film.lines) // 2
        return Region(max(0, left), max(0, top), self.film.width, self.film.lines)

    def on_resize(self) -> None:
        """Drop what was padded to the old size."""
        self._padded.clear()

    def notify_style_update(self) -> None:
        """Drop what was padded in the old style."""
        super().notify_style_update()
        self._padded.clear()

    def render(self) -> RenderResult:
        """Return nothing, since `render_lines` draws."""
        return ""

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return whole strips that were made before.

        The terminal's sequence is kept in them, so that replaying costs little.
        The usual way applies styles to every segment of every line again.
        """
        lines = self._lines()
        shown = lines[crop.y : crop.y + crop.height]
        if crop.x == 0 and crop.width == self.size.width:
            return shown
        return [strip.crop(crop.x, crop.x + crop.width) for strip in shown]

    def _lines(self) -> list[Strip]:
        if self.film is None:
            return [Strip.blank(self.size.width, self.rich_style)] * self.size.height
        if self.frame not in self._padded:
            if len(self._padded) > max(2, len(self.film.frames)):
                self._padded.clear()
            self._padded[self.frame] = self._pad(self.film)
        return self._padded[self.frame]

    def _pad(self, film: Film) -> list[Strip]:
        width, height, style, area = self.size.width, self.size.height, self.rich_style, self.area
        drawn = film.strips(self.frame, letters=style if self.letters else None)
        blank, left = Strip.blank(width, style), Strip.blank(area.x, style)
        right = Strip.blank(max(0, width - area.x - film.width), style)
        middle = [Strip.join([left, strip, right]).crop(0, width) for strip in drawn]
        lines = [blank] * area.y + middle + [blank] * max(0, height - area.y - film.lines)
        for line_filter in self.get_line_filters():
            lines = [strip.apply_filter(line_filter, self.background_colors[1]) for strip in lines]
        return lines[:height]
