"""A terminal's screen as a picture: what `tmux capture-pane -e -p` prints, cell by cell.

Lines, blocks and braille are drawn as rectangles that reach the cell's edges, so that no seam shows between two cells.
"""

from __future__ import annotations

from functools import cache

from PIL import Image, ImageDraw, ImageFont
from rich.ansi import AnsiDecoder
from rich.color import Color, blend_rgb
from rich.color_triplet import ColorTriplet
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI, TerminalTheme

Box = tuple[float, float, float, float]
Cell = tuple[str, Style]

WIDTH, HEIGHT = 8, 17  # of a cell, in pixels: DejaVu Sans Mono of 13 pixels advances by 7.8
FONT_SIZE = 13
FONTS = ("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf")
INK, PAPER = ColorTriplet(216, 216, 220), ColorTriplet(18, 18, 22)  # where nothing is said
_COLOURS: list[tuple[int, int, int]] = [MONOKAI.ansi_colors[number] for number in range(16)]
THEME = TerminalTheme(PAPER, INK, _COLOURS[:8], _COLOURS[8:])
# Text has so many shades between ink and paper: more cost size and are not seen.
SHADES = 5
MIDDLE_X, MIDDLE_Y = 3, 8
# To which edges of the cell a line goes from its middle.
LINES = {
    "─": "we", "│": "ns", "┌": "es", "┐": "ws", "└": "ne", "┘": "nw", "├": "nes", "┤": "nws", "┬": "wes", "┴": "wne",
    "┼": "nwes", "━": "we", "╭": "es", "╮": "ws", "╰": "ne", "╯": "nw", "╸": "w", "╺": "e",
}  # fmt: skip
HEAVY, ROUND = "━╸╺", "╭╮╰╯"
SHADED = {"░": 0.25, "▒": 0.5, "▓": 0.75}
EIGHTHS_UP, EIGHTHS_RIGHT = "▁▂▃▄▅▆▇█", "▏▎▍▌▋▊▉"
BLOCKS: dict[str, list[Box]] = {
    "▀": [(0, 0, WIDTH, HEIGHT / 2)],
    "▐": [(WIDTH / 2, 0, WIDTH, HEIGHT)],
    "▔": [(0, 0, WIDTH, HEIGHT / 8)],
    "▕": [(WIDTH * 7 / 8, 0, WIDTH, HEIGHT)],
    "┄": [(left, MIDDLE_Y, left + 2, MIDDLE_Y + 1) for left in (0, 3, 6)],
}
BRAILLE_DOTS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))  # of each bit: across, down
BRAILLE_TOPS = (1, 5, 10, 14)


def cells(captured: str, columns: int, rows: int) -> list[list[Cell]]:
    """The screen, row by row; a capture leaves out what is empty at the right and at the bottom."""
    decoder, console, empty = AnsiDecoder(), Console(), [(" ", Style.null())] * columns
    grid = []
    for line in captured.split("\n")[:rows]:
        runs = decoder.decode_line(line).render(console)
        row = [(glyph, run.style or Style.null()) for run in runs for glyph in run.text]
        grid.append((row + empty)[:columns])
    return grid + [empty] * (rows - len(grid))


@cache
def tile(glyph: str, style: Style) -> Image.Image:
    """One cell."""
    ink, paper = _colour(style.color, is_ink=True), _colour(style.bgcolor, is_ink=False)
    if style.reverse:
        ink, paper = paper, ink
    if style.dim:
        ink = blend_rgb(paper, ink, 0.6)
    picture = Image.new("RGB", (WIDTH, HEIGHT), paper)
    draw = ImageDraw.Draw(picture)
    if glyph in SHADED:
        picture.paste(blend_rgb(paper, ink, SHADED[glyph]), (0, 0, WIDTH, HEIGHT))
    elif boxes := _boxes(glyph):
        for left, top, right, bottom in boxes:
            draw.rectangle((round(left), round(top), round(right) - 1, round(bottom) - 1), fill=ink)
    elif glyph.strip(" ⠀"):
        _write(picture, glyph, ink, is_bold=bool(style.bold))
    if style.underline:
        draw.line((0, HEIGHT - 2, WIDTH, HEIGHT - 2), fill=ink)
    return picture


def _colour(colour: Color | None, *, is_ink: bool) -> ColorTriplet:
    return (colour or Color.default()).get_truecolor(THEME, foreground=is_ink)


def _write(picture: Image.Image, glyph: str, ink: ColorTriplet, *, is_bold: bool) -> None:
    mask = Image.new("L", picture.size, 0)
    ImageDraw.Draw(mask).text((WIDTH / 2, 1), glyph, fill=255, font=font(FONT_SIZE, is_bold), anchor="ma")
    step = 255 / (SHADES - 1)
    picture.paste(ink, (0, 0), mask.point([round(round(level / step) * step) for level in range(256)]))


@cache
def font(size: int, is_bold: bool = False) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS[is_bold], size)


def _boxes(glyph: str) -> list[Box]:
    """Of a glyph that is made of rectangles; none of any other."""
    if "⠀" < glyph <= "⣿":
        return _braille(ord(glyph) - ord("⠀"))
    if glyph in LINES:
        return _line(LINES[glyph], 2 if glyph in HEAVY else 1, gap=1 if glyph in ROUND else 0)
    if glyph in EIGHTHS_UP:
        return [(0, HEIGHT * (7 - EIGHTHS_UP.index(glyph)) / 8, WIDTH, HEIGHT)]
    if glyph in EIGHTHS_RIGHT:
        return [(0, 0, WIDTH * (EIGHTHS_RIGHT.index(glyph) + 1) / 8, HEIGHT)]
    return BLOCKS.get(glyph, [])


def _line(edges: str, thick: int, gap: int) -> list[Box]:
    """gap: pixels that are left out at the middle, where a corner is round."""
    x, y = MIDDLE_X, MIDDLE_Y
    reach = {
        "n": (x, 0, x + thick, y + thick - gap),
        "s": (x, y + gap, x + thick, HEIGHT),
        "w": (0, y, x + thick - gap, y + thick),
        "e": (x + gap, y, WIDTH, y + thick),
    }
    return [reach[edge] for edge in edges]


def _braille(dots: int) -> list[Box]:
    lit = [place for bit, place in enumerate(BRAILLE_DOTS) if dots >> bit & 1]
    return [(1 + 4 * x, BRAILLE_TOPS[y], 3 + 4 * x, BRAILLE_TOPS[y] + 2) for x, y in lit]
