"""How pictures reach this terminal: in half blocks everywhere, as pixels where it has said that it can."""

from __future__ import annotations

from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from weakref import WeakSet

from rich.console import RenderableType
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from t2v_tui.terminal import Terminal, Way
from t2v_tui.widgets.video.film import Film
from t2v_tui.widgets.video.kitty import Images, placeholders
from t2v_tui.widgets.video.png import png_of
from t2v_tui.widgets.video.sixel import sixels_of

LOCAL_FPS, LOCAL_PIXELS = 12.0, 128
# 64 pixels five times a second are at most 0.5 MB/s.
REMOTE_FPS, REMOTE_PIXELS = 5.0, 64
# Pixels of a frame in kitty's protocol, which is sent once; of the others, which are sent again each time.
SENT_ONCE, SENT_ONCE_FAR = 256, 128
WIDEST, WIDEST_FAR = 320, 128
# On the screen; a frame of 480×480 takes 60 ms to encode.
MOST_SIXELS = 480
# Characters of frames that were encoded, and are kept.
MOST_KEPT = 24 * 2**20
# Where the terminal does not say it: characters are twice as high as wide.
USUAL_CELL = (10, 20)
MOST_CELLS = 290


@dataclass(frozen=True)
class Written:
    """Where the screen was written. spans: (row, first column, end column)"""

    spans: Sequence[tuple[int, int, int]]

    @classmethod
    def by(cls, update: RenderableType) -> Written | None:
        """Return where an update of Textual's writes; None for any other."""
        match update:
            case ChopsUpdate():
                return cls(update.spans)
            case LayoutUpdate():
                return cls([(row, update.region.x, update.region.right) for row in update.region.line_range])
        return None

    def touches(self, area: Region) -> bool:
        """Tell whether any of an area's characters were."""
        rows = range(area.y, area.bottom)
        return any(row in rows and first < area.right and end > area.x for row, first, end in self.spans)


class Pictures:
    """Half blocks, two pixels a character.

    is_sharp: real pixels, which the terminal scales to so many characters
    cell: a character's (width, height), in pixels
    """

    is_sharp = False
    cell = (1, 2)

    def fps(self, *, is_remote: bool) -> float:
        """Return how many frames a second are drawn at most."""
        return REMOTE_FPS if is_remote else LOCAL_FPS

    def box(self, room: Size, *, is_remote: bool) -> tuple[int, int]:
        """Return how many pixels (width, height) of a video to decode for so many characters."""
        most = REMOTE_PIXELS if is_remote else LOCAL_PIXELS
        return min(most, room.width), min(most, 2 * room.height)

    def cells(self, film: Film, room: Size) -> Size:
        """Return how many characters the film takes where there is room for so many."""
        return Size(film.width, film.lines)

    def strips(self, film: Film, frame: int, cells: Size, letters: Style | None) -> list[Strip]:
        """Return a frame as rows of characters. letters: their style, when half blocks cannot be shown"""
        return film.strips(frame, letters=letters)

    def hold(self, film: Film, frame: int, cells: Size) -> None:
        """Have the terminal know what the rows stand for, which may have been made long before."""

    def turn(self, film: Film, frame: int) -> bool:
        """Show another frame of a film on the screen; False when it has to be drawn anew."""
        return False

    def repaint(self, update: RenderableType) -> None:
        """Take note of what Textual has just written."""

    def is_like(self, other: Pictures) -> bool:
        """Tell whether they look the same in the other way."""
        return type(self) is type(other)

    def close(self) -> None:
        """Leave nothing in the terminal."""


BLOCKS = Pictures()


class Pixels(Pictures):
    """As large as there is room, whatever the video's own size. cell: a character's (width, height), in pixels"""

    is_sharp = True
    most, most_far = SENT_ONCE, SENT_ONCE_FAR

    def __init__(self, cell: tuple[int, int] | None) -> None:
        self.cell = cell or USUAL_CELL

    def is_like(self, other: Pictures) -> bool:
        """Tell whether they are as large and go the same way."""
        return type(self) is type(other) and isinstance(other, Pixels) and self.cell == other.cell

    def box(self, room: Size, *, is_remote: bool) -> tuple[int, int]:
        """Return the room in pixels, within what is worth sending."""
        most = self.most_far if is_remote else self.most
        return min(most, room.width * self.cell[0]), min(most, room.height * self.cell[1])

    def cells(self, film: Film, room: Size) -> Size:
        """Return the largest size in the film's proportions."""
        width, height = self.cell
        scale = min(room.width * width / film.width, room.height * height / film.height)
        columns, rows = round(film.width * scale / width), round(film.height * scale / height)
        return Size(min(MOST_CELLS, max(1, columns)), min(MOST_CELLS, max(1, rows)))

    def strips(self, film: Film, frame: int, cells: Size, letters: Style | None) -> list[Strip]:
        """Return it in half blocks, as many as the pixels would cover: where something lies over the picture."""
        small = replace(film, frames=[film.frames[frame]]).fitted((cells.width, 2 * cells.height))
        drawn, left = small.strips(0, letters=letters), (cells.width - small.width) // 2
        padded = [
            Strip.join([Strip.blank(left), strip, Strip.blank(cells.width - left - small.width)]) for strip in drawn
        ]
        above = (cells.height - len(padded)) // 2
        blank = Strip.blank(cells.width)
        return [blank] * above + padded + [blank] * (cells.height - above - len(padded))


class KittyPictures(Pixels):
    """Characters that stand for a picture in kitty's protocol."""

    def __init__(self, cell: tuple[int, int] | None, images: Images) -> None:
        super().__init__(cell)
        self.images = images

    def is_like(self, other: Pictures) -> bool:
        """Tell whether they also turn to another frame in the same way."""
        return (
            super().is_like(other)
            and isinstance(other, KittyPictures)
            and self.images.animates == other.images.animates
        )

    def fps(self, *, is_remote: bool) -> float:
        """Return the same for SSH: what is sent again and again is a number."""
        return LOCAL_FPS

    def strips(self, film: Film, frame: int, cells: Size, letters: Style | None) -> list[Strip]:
        """Return the characters that stand for it."""
        return placeholders(self.images.hold(film, frame, cells), cells)

    def hold(self, film: Film, frame: int, cells: Size) -> None:
        """Send what the terminal does not have any more, and place it in this size."""
        self.images.hold(film, frame, cells)

    def turn(self, film: Film, frame: int) -> bool:
        """Name the frame to the terminal."""
        return self.images.turn(film, frame)

    def close(self) -> None:
        """Have the terminal forget what it was sent."""
        self.images.forget_all()


class Painted(Protocol):
    """A widget with pictures over its characters."""

    def paint_again(self, written: Written) -> None:
        """Paint those whose characters were written just now."""


class OverPictures(Pixels):
    """Pixels over the characters, sent each time they are shown.

    shown: widgets that have left room for pixels
    """

    most, most_far = WIDEST, WIDEST_FAR

    def __init__(self, cell: tuple[int, int] | None) -> None:
        super().__init__(cell)
        self.shown: WeakSet[Painted] = WeakSet()
        self._kept: OrderedDict[tuple[int, int, Size], tuple[Film, str]] = OrderedDict()
        self._size = 0

    def repaint(self, update: RenderableType) -> None:
        """Paint what Textual has just written over, and nothing else."""
        if written := Written.by(update):
            for widget in list(self.shown):
                widget.paint_again(written)

    def painted(self, film: Film, frame: int, cells: Size) -> str:
        """Return what was encoded before, else encode it."""
        key = (id(film), frame, cells)
        if key not in self._kept:
            data = self.encoded(film, frame, cells)
            self._kept[key] = (film, data)
            self._size += len(data)
        self._kept.move_to_end(key)
        while self._size > MOST_KEPT and len(self._kept) > 1:
            self._size -= len(self._kept.popitem(last=False)[1][1])
        return self._kept[key][1]

    def encoded(self, film: Film, frame: int, cells: Size) -> str:
        """Return a frame as the terminal takes it."""
        raise NotImplementedError


class SixelPictures(OverPictures):
    """In sixels, which are one to one with the screen's pixels."""

    def cells(self, film: Film, room: Size) -> Size:
        """Return the largest size that is quick to encode, and to send again and again."""
        most = Size(max(1, MOST_SIXELS // self.cell[0]), max(1, MOST_SIXELS // self.cell[1]))
        return super().cells(film, Size(min(room.width, most.width), min(room.height, most.height)))

    def encoded(self, film: Film, frame: int, cells: Size) -> str:
        """Return the frame in as many pixels as the characters have."""
        size = (cells.width * self.cell[0], cells.height * self.cell[1])
        return sixels_of(film.frames[frame], film.width, film.height, size)


class ItermPictures(OverPictures):
    """In iTerm2's protocol, which scales them itself."""

    def encoded(self, film: Film, frame: int, cells: Size) -> str:
        """Return the frame as a PNG that stands for so many characters."""
        data = png_of(film.frames[frame], film.width, film.height, level=1)
        head = f"inline=1;size={len(data)};width={cells.width};height={cells.height};preserveAspectRatio=0"
        return f"\x1b]1337;File={head};doNotMoveCursor=1:{b64encode(data).decode('ascii')}\x07"


def pictures_for(terminal: Terminal, wanted: str, write: Callable[[str], None]) -> Pictures:
    """Return how pictures reach that terminal. wanted: a Way's value, or auto"""
    match terminal.way(wanted):
        case Way.KITTY:
            images = Images(lambda said: write(terminal.wrapped(said)), animates=terminal.animates)
            return KittyPictures(terminal.cell, images)
        case Way.SIXEL:
            return SixelPictures(terminal.cell)
        case Way.ITERM2:
            return ItermPictures(terminal.cell)
    return BLOCKS


def pictures_of(widget: Widget) -> Pictures:
    """Return how pictures reach the terminal of this widget's app, which may never have asked it."""
    return getattr(widget.app, "pictures", None) or BLOCKS


def is_clear(widget: Widget, area: Region) -> bool:
    """Tell whether the terminal shows a part of a widget, on its screen's characters, with nothing over it."""
    if widget.app.screen is not widget.screen or not area:
        return False
    for other, (region, clip) in widget.screen._compositor.visible_widgets.items():  # the topmost first
        if other is widget:
            return clip.contains_region(area)
        if region.intersection(clip).overlaps(area):
            return False
    return False


def paint(widget: Widget, area: Region, data: str) -> None:
    """Write pixels over an area of the screen, and leave the cursor where it was."""
    driver = widget.app._driver
    assert driver is not None
    driver.write(f"\x1b7\x1b[{area.y + 1};{area.x + 1}H{data}\x1b8")
