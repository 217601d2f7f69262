"""What the terminal says of itself: which pictures it can show, and how large a character is, in pixels.

It is asked by escape sequences and answers in what it sends as keys, so the same holds over SSH. tmux answers for
itself; the terminal around it is asked through it, where its `allow-passthrough` is on.
"""

from __future__ import annotations

import asyncio
import fcntl
import re
import struct
import termios
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from textual.message import Message

TMUX_TIMEOUT_S = 2.0
# Longer than any reply: what begins like one and goes on without an end is passed on.
LONGEST_REPLY = 512
NAME, CELL, ATTRIBUTES = "\x1b[>q", "\x1b[16t", "\x1b[c"
# One pixel, not to be shown; whoever answers OK knows the protocol.
KITTY = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
ITERM2 = "\x1b]1337;ReportCellSize\x1b\\"
REPLY = re.compile(
    r"\x1b_G(?P<kitty>[^\x1b]*)\x1b\\"
    r"|\x1bP>\|(?P<name>[^\x1b]*)\x1b\\"
    r"|\x1b\]1337;ReportCellSize=(?P<iterm2>[\d.;]+)(?:\x07|\x1b\\)"
    r"|\x1b\[6;(?P<cell>\d+;\d+)t"
    r"|\x1b\[\?(?P<attributes>[\d;]+)c"
)
# Not an escape character alone: that is a key.
BEGUN = re.compile(
    r"\x1b(?:_(?:G[^\x1b]*\x1b?)?|P(?:>[^\x1b]*\x1b?)?|\](?:1(?:3(?:3(?:7(?:;[^\x07\x1b]*\x1b?)?)?)?)?)?"
    r"|\[(?:6(?:;[\d;]*)?|\?[\d;]*)?)\Z"
)
GRAPHICS = re.compile(r"\x1b_G[^\x1b]*\x1b\\")
SIXEL_ATTRIBUTE = "4"
# Who draws a picture of kitty's protocol where characters stand for it. WezTerm and Konsole know only the rest of it.
WITH_PLACEHOLDERS = ("kitty", "xterm-kitty", "ghostty", "xterm-ghostty")
WITH_ANIMATION = ("kitty", "xterm-kitty")


class Way(Enum):
    """How pictures reach the terminal; the values are those of `[tui] pictures`."""

    KITTY = "kitty"
    SIXEL = "sixel"
    ITERM2 = "iterm2"
    BLOCKS = "blocks"


@dataclass(frozen=True)
class Terminal:
    """What is known of it.

    name: as it calls itself; cell: a character's (width, height) in pixels
    around_has_sixel: inside tmux, of the terminal around it; tmux itself takes sixels whatever is there, and writes
    "SIXEL IMAGE" in place of each where that shows none
    """

    name: str = ""
    cell: tuple[int, int] | None = None
    has_kitty: bool = False
    has_sixel: bool = False
    has_iterm2: bool = False
    is_tmux: bool = False
    around_has_sixel: bool = False

    def with_reply(self, reply: re.Match[str]) -> Terminal:
        """Return what is known after one more answer."""
        match reply.lastgroup, reply.group(reply.lastgroup or 0):
            case "kitty", said:
                return replace(self, has_kitty=self.has_kitty or said.endswith(";OK"))
            case "name", said if not self.is_tmux:
                return replace(self, name=said)
            case "cell", said if all(map(int, said.split(";"))):
                height, width = map(int, said.split(";"))
                return replace(self, cell=(width, height))
            case "iterm2", _:
                return replace(self, has_iterm2=True)
            case "attributes", said:
                return replace(self, has_sixel=SIXEL_ATTRIBUTE in said.split(";")[1:])
        return self

    def way(self, wanted: str = "auto") -> Way:
        """Return how it is to be sent pictures; `wanted` holds as it is unless it is auto."""
        if wanted != "auto":
            return Way(wanted)
        if self.has_kitty and self.name.lower().startswith(WITH_PLACEHOLDERS):
            return Way.KITTY
        if self.has_iterm2:
            return Way.ITERM2
        has_sixel = self.has_sixel and (self.around_has_sixel or not self.is_tmux)
        return Way.SIXEL if has_sixel and self.cell is not None else Way.BLOCKS

    @property
    def animates(self) -> bool:
        """Tell whether it turns to another frame of a picture by its number."""
        return self.name.lower().startswith(WITH_ANIMATION)

    def wrapped(self, sequences: str) -> str:
        """Return kitty's sequences as they get through tmux to the terminal around it, which takes them one by one."""
        return GRAPHICS.sub(lambda one: through_tmux(one[0]), sequences) if self.is_tmux else sequences

    @property
    def questions(self) -> str:
        """Return what it is asked; the last question is answered by every terminal there is."""
        return (through_tmux(KITTY) if self.is_tmux else NAME + KITTY + ITERM2) + CELL + ATTRIBUTES


class Answered(Message):
    """The terminal has said something of itself."""

    def __init__(self, reply: re.Match[str]) -> None:
        super().__init__()
        self.reply = reply


class Replies:
    """Takes the terminal's answers out of what comes as keys, in pieces of any size: as keys they would do things."""

    def __init__(self) -> None:
        self._held = ""

    def taken(self, data: str) -> tuple[str, list[Answered]]:
        """Return the rest, and the answers that are whole."""
        data, self._held = self._held + data, ""
        answers = [Answered(reply) for reply in REPLY.finditer(data)]
        rest = REPLY.sub("", data)
        begun = BEGUN.search(rest)
        if begun is not None and len(begun[0]) < LONGEST_REPLY:
            rest, self._held = rest[: begun.start()], begun[0]
        return rest, answers


def through_tmux(sequence: str) -> str:
    """Return the sequence in the envelope that tmux opens and hands on."""
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"


def cell_of(descriptor: int) -> tuple[int, int] | None:
    """Return a character's size as the kernel was told it; None when it was not, or this is no terminal."""
    try:
        rows, columns, width, height = struct.unpack("HHHH", fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        return None
    return (width // columns, height // rows) if rows and columns and width >= columns and height >= rows else None


def first_known(descriptor: int, environ: Mapping[str, str]) -> Terminal:
    """Return what is known before anything is asked: the character's size, and whether this is tmux."""
    return Terminal(cell=cell_of(descriptor), is_tmux=bool(environ.get("TMUX")))


async def around_tmux(environ: Mapping[str, str]) -> tuple[str, bool]:
    """Return what the terminal around tmux calls itself, else its TERM, and whether it has sixels, as tmux knows it.

    Nothing and False when tmux does not say, or when nobody is attached to it.
    """
    asked = "#{client_termfeatures} #{?client_termtype,#{client_termtype},#{client_termname}}"
    try:
        async with asyncio.timeout(TMUX_TIMEOUT_S):
            child = await asyncio.create_subprocess_exec(
                "tmux", "display-message", "-p", asked,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                env=dict(environ),
            )  # fmt: skip
            said, _ = await child.communicate()
    except (OSError, TimeoutError):
        return "", False
    features, _, name = said.decode(errors="replace").partition(" ")
    return name.strip(), "sixel" in features.split(",")
