"""Pictures of the page for docs/web.md, from a real browser and the shipped model.

PYTHONPATH=tests python docs/make_web_pictures.py     writes docs/web-*.png; takes a minute
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from support.screen.browser import chromium, served
from test_web import User

DOCS = Path(__file__).parent
COLOURS = 256


def shoot(page: Any, name: str) -> None:
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(COLOURS)
    picture.save(DOCS / f"web-{name}.png", optimize=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, served(Path(folder) / "my-videos") as up, chromium() as browser:
        user = User(browser, up.url)
        for prompt in ("a blue square growing", "a green triangle moving up", "a red circle moving right"):
            user.generate(prompt, steps=20)
            user.page.wait_for_function(
                f"() => document.querySelector('#status').innerText.includes('{prompt.split()[1]}-')"
            )
            path = user.wait_for("#status", "done").splitlines()[-1]
        user.plays("#video")
        shoot(user.page, "generate")
        user.opens("Vid2Vid")
        user.uploads(up.root / path)
        user.wait_for("#refine-status", "waiting")
        user.page.click("#noise")
        user.wait_for("#refine-status", "done")
        user.page.fill("#refine-prompt textarea", prompt)
        user.page.click("#refine")
        user.page.wait_for_selector("#after video")
        user.plays("#after")
        shoot(user.page, "vid2vid")
        user.opens("Gallery")
        user.page.wait_for_selector("#gallery figure")
        user.page.wait_for_function(
            "() => [...document.querySelectorAll('#gallery video')].every(v => v.readyState > 3)"
        )
        shoot(user.page, "gallery")


if __name__ == "__main__":
    main()
