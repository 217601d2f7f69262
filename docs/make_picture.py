"""Draws docs/shapes.png: six prompts, and the eight frames that the shipped model makes of each.

python docs/make_picture.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from t2v_core.assemble import load_pipeline
from t2v_core.checkpoints.open import open_checkpoint

PROMPTS = (
    "a red circle moving right",
    "a blue square growing",
    "a green triangle moving up",
    "a white circle shrinking",
    "a purple square moving left",
    "a yellow triangle moving down",
)
TILE, GAP, LABEL = 96, 4, 270


def main() -> None:
    pipeline = load_pipeline(open_checkpoint(Path("embedded")), device="cpu", precision="auto")
    videos = pipeline(PROMPTS, seed=7).frames.numpy()
    columns = videos.shape[1]
    picture = Image.new("RGB", (LABEL + columns * (TILE + GAP), len(PROMPTS) * (TILE + GAP)), (18, 18, 22))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(17)
    for row, (prompt, video) in enumerate(zip(PROMPTS, videos, strict=True)):
        top = row * (TILE + GAP)
        draw.text((12, top + TILE / 2), prompt, fill=(225, 225, 230), font=font, anchor="lm")
        for column, frame in enumerate(video):
            tile = Image.fromarray(frame).resize((TILE, TILE), Image.Resampling.BICUBIC)
            picture.paste(tile, (LABEL + column * (TILE + GAP), top))
    picture.save(Path(__file__).parent / "shapes.png", optimize=True)


if __name__ == "__main__":
    main()
