"""One picture that shows what is in a data set: a middle frame of clips spread over it, with their ids."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from t2v_core.data.check.check_clip import TILE_HEIGHT, TILE_WIDTH
from t2v_core.disk.files import staged_file

TILES, COLUMNS = 48, 8
LABEL_HEIGHT, MARGIN = 14, 4
BACKGROUND, INK = (24, 24, 24), (220, 220, 220)


def spread(ids: Sequence[str], count: int = TILES) -> list[str]:
    """Pick `count` of the ids from the first to the last, at equal distances; all of them when they are fewer."""
    if len(ids) <= count:
        return list(ids)
    return [ids[i * (len(ids) - 1) // (count - 1)] for i in range(count)]


def write_contact_sheet(path: Path, tiles: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Write the sheet as a JPEG, whole or not at all.

    tiles: (id, answer of `check_clip.middle_picture`), in the order of the sheet
    """
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    cell_width, cell_height = TILE_WIDTH + MARGIN, TILE_HEIGHT + LABEL_HEIGHT + MARGIN
    sheet = Image.new("RGB", (columns * cell_width + MARGIN, rows * cell_height + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for number, (name, tile) in enumerate(tiles):
        left = MARGIN + number % columns * cell_width
        top = MARGIN + number // columns * cell_height
        size = tile["width"], tile["height"]
        image = Image.frombytes("RGB", size, base64.b64decode(tile["rgb"]))
        sheet.paste(image, (left + (TILE_WIDTH - size[0]) // 2, top + (TILE_HEIGHT - size[1]) // 2))
        draw.text((left, top + TILE_HEIGHT), _fitting(draw, name), fill=INK)
    with staged_file(path) as partial:
        sheet.save(partial, quality=85)


def _fitting(draw: ImageDraw.ImageDraw, name: str) -> str:
    """As much of the id as has room under its tile."""
    while draw.textlength(name) > TILE_WIDTH and len(name) > 2:
        name = name[:-2] + "…"
    return name
