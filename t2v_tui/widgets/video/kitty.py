"""kitty's graphics protocol: each frame is sent once, and characters stand for the picture wherever it is shown.

These characters (U+10EEEE with signs above it for row and column, in a colour that is the picture's number) are text
like any other: panels lie over them, lists scroll them, and tmux moves them with its panes.
Source: kitty's documentation, "Terminal graphics protocol", Unicode placeholders and animation.
"""

from __future__ import annotations

import os
import zlib
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from rich.color import Color, ColorType
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip

from t2v_tui.widgets.video.film import Film

PLACEHOLDER = "\U0010eeee"
CHUNK = 4096
# kitty keeps 320 MB and drops what is older by itself, which would leave a hole.
MOST_BYTES = 96 * 2**20
# A number is a colour of the terminal's 256, above the 16 that themes set, with one of as many signs; tmux keeps both.
COLOURS = range(16, 256)
SIGNS_FOR_NUMBERS = range(1, 128)
# Combining marks that stand for 0, 1, 2 …: kitty's rowcolumn-diacritics.txt.
MARKS = (
    "305 30d-30e 310 312 33d-33f 346 34a-34c 350-352 357 35b 363-36f 483-487 592-595 597-599 59c-5a1 5a8-5a9 "
    "5ab-5ac 5af 5c4 610-617 657-65b 65d-65e 6d6-6dc 6df-6e2 6e4 6e7-6e8 6eb-6ec 730 732-733 735-736 73a 73d "
    "73f-741 743 745 747 749-74a 7eb-7f1 7f3 816-819 81b-823 825-827 829-82d 951 953-954 f82-f83 f86-f87 "
    "135d-135f 17dd 193a 1a17 1a75-1a7c 1b6b 1b6d-1b73 1cd0-1cd2 1cda-1cdb 1ce0 1dc0-1dc1 1dc3-1dc9 1dcb-1dcc "
    "1dd1-1de6 1dfe 20d0-20d1 20d4-20d7 20db-20dc 20e1 20e7 20e9 20f0 2cef-2cf1 2de0-2dff a66f a67c-a67d "
    "a6f0-a6f1 a8e0-a8f1 aab0 aab2-aab3 aab7-aab8 aabe-aabf aac1 fe20-fe26 10a0f 10a38 1d185-1d189 1d1aa-1d1ad "
    "1d242-1d244"
)


@lru_cache
def marks() -> str:
    """Return the 297 marks in their order."""
    ends = [[int(end, 16) for end in run.split("-")] for run in MARKS.split()]
    return "".join(chr(code) for run in ends for code in range(run[0], run[-1] + 1))


@dataclass
class Sent:
    """A film in the terminal. numbers: of its frames there; cells: as large as it was placed last; shown: the frame"""

    film: Film
    numbers: dict[int, int] = field(default_factory=dict)
    cells: dict[int, Size] = field(default_factory=dict)
    shown: int = 0

    @property
    def bytes(self) -> int:
        """Return how much of the terminal's memory it takes."""
        return len(self.numbers) * self.film.width * self.film.height * 3


class Images:
    """Films that the terminal holds.

    write: to the terminal, which may be the one around tmux
    animates: it turns to a frame of a picture by its number; else each frame is a picture of its own
    """

    def __init__(self, write: Callable[[str], None], *, animates: bool) -> None:
        self.write, self.animates = write, animates
        self._sent: OrderedDict[int, Sent] = OrderedDict()
        # Other programs, as those in other panes of tmux, have their pictures in the same terminal.
        self._next = os.getpid() * len(COLOURS)

    def hold(self, film: Film, frame: int, cells: Size) -> int:
        """Have the terminal show a frame in so many characters; returns the picture's number."""
        sent = self._of(film)
        self._send(sent, frame)
        image = sent.numbers[frame]
        if sent.cells.get(image) != cells:
            sent.cells[image] = cells
            self.write(escape(f"a=p,U=1,i={image},p=1,c={cells.width},r={cells.height},q=2"))
        self.turn(film, frame)
        return image

    def turn(self, film: Film, frame: int) -> bool:
        """Show another frame where the film is shown; False when it takes other characters."""
        if not self.animates:
            return False
        sent = self._of(film)
        self._send(sent, frame)
        if sent.shown != frame:
            sent.shown = frame
            self.write(escape(f"a=a,i={sent.numbers[0]},c={list(sent.numbers).index(frame) + 1},q=2"))
        return True

    def forget_all(self) -> None:
        """Free the terminal's memory."""
        while self._sent:
            self._forget(self._sent.popitem()[1])

    def _of(self, film: Film) -> Sent:
        sent = self._sent.setdefault(id(film), Sent(film))
        self._sent.move_to_end(id(film))
        return sent

    def _send(self, sent: Sent, frame: int) -> None:
        """An animation is one picture, whose first frame goes first."""
        if frame in sent.numbers:
            return
        if self.animates and frame and not sent.numbers:
            self._send(sent, 0)
        is_more = self.animates and bool(sent.numbers)
        sent.numbers[frame] = sent.numbers[0] if is_more else self._new_number()
        self.write(transmission(sent.film, frame, sent.numbers[frame], is_more=is_more))
        self._make_room(sent)

    def _make_room(self, newest: Sent) -> None:
        total = sum(sent.bytes for sent in self._sent.values())
        for key, sent in list(self._sent.items()):
            if total <= MOST_BYTES or sent is newest:
                return
            total -= sent.bytes
            self._forget(self._sent.pop(key))

    def _forget(self, sent: Sent) -> None:
        for image in dict.fromkeys(sent.numbers.values()):
            self.write(escape(f"a=d,d=I,i={image},q=2"))

    def _new_number(self) -> int:
        self._next += 1
        sign, colour = divmod(self._next, len(COLOURS))
        return SIGNS_FOR_NUMBERS[sign % len(SIGNS_FOR_NUMBERS)] << 24 | COLOURS[colour]


def transmission(film: Film, frame: int, image: int, *, is_more: bool) -> str:
    """Return the sequences that send a frame: as a picture, or as one more frame of it."""
    data = b64encode(zlib.compress(film.frames[frame], 1)).decode("ascii")
    chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    action = "a=f" if is_more else "a=t"
    first = f"{action},i={image},f=24,s={film.width},v={film.height},o=z,q=2,m={int(len(chunks) > 1)}"
    # kitty wants to hear again that it is a frame, and nothing else.
    heads = [first, *[("a=f," if is_more else "") + "q=2,m=1"] * (len(chunks) - 2)]
    heads += [("a=f," if is_more else "") + "q=2,m=0"] * (len(chunks) > 1)
    return "".join(escape(head, chunk) for head, chunk in zip(heads, chunks, strict=True))


def escape(head: str, data: str = "") -> str:
    """Return one sequence of the protocol."""
    return f"\x1b_G{head};{data}\x1b\\" if data else f"\x1b_G{head}\x1b\\"


@lru_cache(maxsize=128)
def placeholders(image: int, cells: Size) -> list[Strip]:
    """Return rows of characters that a picture is drawn over. Each says where it belongs: a row may be cut anywhere."""
    signs, number = marks(), marks()[image >> 24]
    # Both a number of the palette and a colour of its own: themes translate colours that have none.
    style = Style(color=Color("", ColorType.EIGHT_BIT, image & 0xFF, ColorTriplet(0, 0, 0)))
    columns = signs[: cells.width]
    rows = ["".join(f"{PLACEHOLDER}{row}{column}{number}" for column in columns) for row in signs[: cells.height]]
    return [Strip([Segment(row, style)], cells.width) for row in rows]
