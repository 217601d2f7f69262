"""From a prompt to a refined video in a real terminal, with the model that is shipped."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.screen.tmux_here import Terminal, t2v_tui, terminal

HALF_BLOCK = "▀"
# A half block whose lower pixel has just got another colour.
LOWER_PIXEL = re.compile(rf"\x1b\[48;2;(\d+);(\d+);(\d+)m{HALF_BLOCK}")


def picture(shown: Terminal) -> str:
    """Lines of the screen that hold a picture, in their colours."""
    return "\n".join(line for line in shown.colours().splitlines() if HALF_BLOCK in line)


def has_red(drawn: str) -> bool:
    return any(int(r) > 150 and max(int(g), int(b)) < 120 for r, g, b in LOWER_PIXEL.findall(drawn))


@pytest.mark.slow
def test_generate_play_and_refine_with_the_model_that_is_shipped(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with terminal(t2v_tui("--workspace", str(work)), cwd=work, size=(80, 24), env={"HOME": str(tmp_path)}) as shown:
        shown.wait_for("demo", "local engine")
        shown.press("4")
        shown.wait_for("what the video shows", "shipped")
        shown.type("a red circle moving left")
        shown.press("Enter")
        shown.wait_for("✓ a-red-circle")
        made = work / "outputs" / "a-red-circle-moving-left-0.mp4"
        assert json.loads(made.with_suffix(".json").read_text())["checkpoint"]["preset"] == "tiny"

        shown.escape()
        shown.press("3")
        shown.wait_for("videos · 1", "a red circle mov")
        shown.resize(120, 40)
        shown.wait_for("64×64 · 8 frames at 8 fps")
        shown.press("Space")
        frames: set[str] = set()
        shown.wait_until(lambda: frames.add(picture(shown)) or len(frames) > 3)
        assert all(map(has_red, frames - {""}))

        shown.press("r")
        shown.wait_for("before", "about 15 of 50 steps")
        shown.press("Enter")
        shown.wait_for("✓ a-red")
        refined = work / "outputs" / "a-red-circle-moving-left-0-refined.mp4"
        said = json.loads(refined.with_suffix(".json").read_text())
        assert (said["verb"], said["spec"]["strength"]) == ("refine", 0.3)
        shown.wait_until(lambda: has_red(picture(shown)))
        shown.escape()
        shown.press("q")
        shown.wait_for("ended with 0")
