"""One frame of a film on the screen: as the strips that the terminal was sent, or as pixels over them."""

from __future__ import annotations

from rich.style import Style
from textual.app import RenderResult
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from t2v_tui.widgets.video.film import Film
from t2v_tui.widgets.video.pictures import BLOCKS, OverPictures, Pictures, Written, is_clear, paint, pictures_of


class Picture(Widget):
    """One frame of a film, in the middle."""

    DEFAULT_CSS = "Picture { width: 1fr; height: 1fr; display: none; }"

    def __init__(self, *, letters: bool) -> None:
        super().__init__()
        self.letters = letters
        self.film: Film | None = None
        self.frame = 0
        self._cells: tuple[Size, Size] | None = None
        self._padded_in = Style.null()
        self._padded: dict[tuple[int, bool], list[Strip]] = {}

    @property
    def pictures(self) -> Pictures:
        """Return how pictures reach the terminal; letters are for one that is not to show any."""
        return BLOCKS if self.letters else pictures_of(self)

    def show(self, film: Film | None) -> None:
        """Show a film's first frame; None hides the picture."""
        self.film, self.frame, self._cells = film, 0, None
        self.display = film is not None
        self.refresh()

    def clear(self) -> None:
        """Show no film in the same place, until the next one comes."""
        self.film, self.frame, self._cells = None, 0, None
        self.refresh()

    def turn_to(self, frame: int) -> None:
        """Draw another frame of the film."""
        if self.film is not None and frame != self.frame:
            self.frame = frame
            if self._pixels() is not None:
                self._paint()
            elif not self.pictures.turn(self.film, frame):
                self.refresh(self.area)

    @property
    def area(self) -> Region:
        """Return where the picture is."""
        left, top = (self.size.width - self.cells.width) // 2, (self.size.height - self.cells.height) // 2
        return Region(max(0, left), max(0, top), self.cells.width, self.cells.height)

    @property
    def cells(self) -> Size:
        """Return how many characters the picture takes in the room there is."""
        if self._cells is None or self._cells[0] != self.size:
            assert self.film is not None
            self._padded.clear()
            room = Size(max(1, self.size.width), max(1, self.size.height))
            self._cells = self.size, self.pictures.cells(self.film, room)
        return self._cells[1]

    def pictures_changed(self) -> None:
        """Draw in another way: the terminal has said what it can show."""
        self._cells = None
        self.refresh()

    def notify_style_update(self) -> None:
        """Drop what was padded in the old style, when it is another."""
        super().notify_style_update()
        if self._padded and self._padded_in != self.rich_style:
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
        cells = self.cells  # first: another size drops what was padded to the old one
        pixels = self._pixels()
        is_over = pixels is not None
        if pixels is not None:
            pixels.shown.add(self)
        key = (0, True) if is_over else (self.frame, False)
        if key not in self._padded:
            if len(self._padded) > max(2, len(self.film.frames)):
                self._padded.clear()
            self._padded_in = self.rich_style
            self._padded[key] = self._pad(self.film, [] if is_over else None)
        elif not is_over:
            self.pictures.hold(self.film, self.frame, cells)
        return self._padded[key]

    def _pixels(self) -> OverPictures | None:
        """What lays pixels over the characters; None where they show the picture themselves, or something covers it."""
        pictures = self.pictures
        return pictures if isinstance(pictures, OverPictures) and is_clear(self, self._on_screen) else None

    @property
    def _on_screen(self) -> Region:
        return self.area.translate(self.region.offset)

    def _paint(self) -> None:
        if self.film is not None and (pixels := self._pixels()) is not None:
            paint(self, self._on_screen, pixels.painted(self.film, self.frame, self.cells))

    def paint_again(self, written: Written) -> None:
        """Lay the pixels over the characters, if those were written just now."""
        if self.film is not None and self.display and written.touches(self._on_screen):
            self._paint()

    def _pad(self, film: Film, drawn: list[Strip] | None) -> list[Strip]:
        """The whole pane. drawn: the picture's rows, else they are made"""
        width, height, style, area = self.size.width, self.size.height, self.rich_style, self.area
        if drawn is None:
            drawn = self.pictures.strips(film, self.frame, self.cells, style if self.letters else None)
        if self.pictures.is_sharp:  # a picture may be a little narrower than the characters it is given
            drawn = [strip.apply_style(Style(bgcolor=style.bgcolor)) for strip in drawn]
        blank, left = Strip.blank(width, style), Strip.blank(area.x, style)
        right = Strip.blank(max(0, width - area.x - area.width), style)
        middle = [Strip.join([left, strip, right]).crop(0, width) for strip in drawn]
        lines = [blank] * area.y + middle + [blank] * max(0, height - area.y - len(middle))
        for line_filter in self.get_line_filters():
            lines = [strip.apply_filter(line_filter, self.background_colors[1]) for strip in lines]
        return lines[:height]
