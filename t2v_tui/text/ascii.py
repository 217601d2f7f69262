"""`--ascii`: every glyph as a letter or sign that each terminal and font has."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

SAME = {
    "─": "-", "━": "=", "┄": "-", "│": "|", "┃": "|", "┤": "|", "├": "|", "└": "+", "┘": "+", "┌": "+", "┐": "+",
    "╭": "+", "╮": "+", "╰": "+", "╯": "+", "┴": "+", "┬": "+", "▌": "|", "▐": "|", "▎": "|", "▏": "|", "▕": "|",
    "█": "#", "▓": "#", "▒": "+", "░": ".", "▀": "#", "▄": "#", "▔": "-", "▁": "_", "▂": "_", "▃": "=", "▅": "=",
    "▆": "#", "▇": "#", "▮": "#", "▋": "|", "▊": "|", "▍": "|",
    "●": "*", "○": "o", "◐": "~", "◑": "~", "◌": ".", "◔": "%", "◍": "@",
    "■": "#", "▶": ">", "◆": "+", "▸": ">", "◇": "+",
    "✓": "v", "✗": "x", "✕": "x", "⚡": "! ", "…": "~", "·": "-", "•": "-", "→": ">", "←": "<", "↑": "^", "↓": "v",
    "–": "-", "—": "-", "“": '"', "”": '"', "‘": "'", "’": "'", "×": "x", "°": "o", "‹": "<", "›": ">", "≤": "<",
    "≥": ">", "±": "+", "\u202f": " ", "\u00a0": " ", "⁵": "5",
}  # fmt: skip
BRAILLE_FIRST, BRAILLE_LAST = 0x2800, 0x28FF


class Ascii(LineFilter):
    """As wide as what it stands for; a letter of another script is a question mark."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # Textual's
        """Replace every letter that is not ASCII, and keep styles and widths."""
        return [Segment(_plain(text), style, control) for text, style, control in segments]


def _plain(text: str) -> str:
    return text if text.isascii() else "".join(map(_letter, text))


def _letter(letter: str) -> str:
    if letter.isascii():
        return letter
    number = ord(letter)
    if BRAILLE_FIRST <= number <= BRAILLE_LAST:
        return "*" if number > BRAILLE_FIRST else " "
    return SAME.get(letter) or "?" * cell_len(letter)
