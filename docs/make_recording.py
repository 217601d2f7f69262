"""Records docs/tui.gif: the real `t2v-tui` on its demo, in a real terminal, with the keys that a user presses.

python docs/make_recording.py FOLDER     FOLDER is made, and holds the demo afterwards; takes five minutes or so

Needs t2v with its engine in the Python that runs this (`make tui` makes one), tmux, the font DejaVu Sans Mono, and a
machine with nothing else to do; no network. Waiting is sped up or left out, and the line under the screen says how much
faster it is. What was filmed lies in FOLDER.jsonl, screen by screen: while it is there, the picture is only drawn anew.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from terminal_picture import HEIGHT, INK, PAPER, WIDTH, Cell, cells, font, tile

COLUMNS, ROWS = 120, 40
MARGIN, CAPTION = 8, 34
DEADLINE_S = 600.0
TYPES_EVERY_S = 0.06
# One place is for what does not change from one frame to the next.
MOST_COLOURS = 255
SCREEN = Path(__file__).parent / "tui.gif"
ACCENT, MUTED, KEYCAP = (86, 180, 233), (140, 140, 150), (44, 44, 52)


@dataclass(frozen=True)
class Shot:
    """One look at the screen, with what is said under it and how long it stays."""

    screen: str
    shown_s: float
    key: str
    words: str
    speed: int


@dataclass
class Film:
    """A terminal that is typed at and filmed."""

    folder: Path
    shots: list[Shot] = field(default_factory=list)
    key: str = ""
    words: str = ""

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", str(self.folder.with_suffix(".socket")), "-f", os.devnull, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    def open(self) -> None:
        """A shell with a bare prompt, in the folder."""
        path = f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"
        settings = [path, "TERM=tmux-256color", "COLORTERM=truecolor", "OMP_NUM_THREADS=1", "PS1=$ "]
        unset = ["env", "-u", "COLUMNS", "-u", "LINES", "-u", "T2V_WORKSPACE", "-u", "ENV"]
        size = ["-x", str(COLUMNS), "-y", str(ROWS), "-c", str(self.folder)]
        self.tmux("new-session", "-d", "-s", "t2v", *size, *unset, *settings, "sh")

    def press(self, key: str, words: str) -> None:
        self.key, self.words = ("esc" if key == "Escape" else key.lower()), words
        self.tmux("send-keys", "-t", "t2v", key)

    def type(self, text: str, words: str = "") -> None:
        self.key, self.words = "", words or self.words
        for glyph in text:
            self.tmux("send-keys", "-t", "t2v", "-l", glyph)
            self.roll(TYPES_EVERY_S, every_s=TYPES_EVERY_S)

    def sees(self, pattern: str) -> bool:
        return re.search(pattern, self.tmux("capture-pane", "-p", "-t", "t2v")) is not None

    def skip_to(self, pattern: str) -> None:
        """Wait, and film nothing of it."""
        deadline = time.monotonic() + DEADLINE_S
        while not self.sees(pattern):
            if time.monotonic() > deadline:
                sys.exit(f"{pattern} is not on the screen:\n{self.tmux('capture-pane', '-p', '-t', 't2v')}")
            time.sleep(0.1)

    def roll(self, seconds: float, *, until: str = "", every_s: float = 0.125, speed: int = 1) -> None:
        """Film for so long, or until a pattern is seen."""
        end = time.monotonic() + (DEADLINE_S if until else seconds)
        while time.monotonic() < end and not (until and self.sees(until)):
            began = time.monotonic()
            screen = self.tmux("capture-pane", "-e", "-N", "-p", "-t", "t2v")
            self.shots.append(Shot(screen, every_s / speed, self.key, self.words, speed))
            time.sleep(max(0.0, began + every_s - time.monotonic()))


def play(film: Film) -> None:
    """The story: one key from nothing to a training that runs, then what it made, then leaving."""
    film.roll(0.8)
    film.type("t2v-tui", "your own text-to-video model, from the terminal")
    film.roll(0.4)
    film.press("Enter", film.words)
    film.skip_to("is everything here")
    film.roll(2.6, every_s=0.2)
    film.press("d", "the demo: a simulated VM, real training")
    film.skip_to("No training yet")
    film.roll(1.6, every_s=0.2)
    film.press("t", "train: every step and its price first")
    film.skip_to("y starts")
    film.roll(2.0, every_s=0.2)
    film.press("y", "yes to what it costs: the VM starts, the steps tick")
    film.roll(0, until="it runs", every_s=0.2)
    film.roll(1.2, every_s=0.2)
    film.key = ""
    film.roll(0, until=r"step \d+/", every_s=2.0, speed=20)
    film.words = "the loss, the machine, the last sample and the log, live"
    film.roll(0, until="done after", every_s=4.0, speed=20)
    film.words = "every checkpoint's sample plays"
    film.roll(2.4)
    film.press("2", "checkpoints, there and here")
    film.roll(1.8, every_s=0.2)
    film.press("p", "one comes home, verified")
    film.roll(0, until=r"✓ whole +✓ whole", every_s=0.2)
    film.roll(1.8, every_s=0.2)
    film.press("4", "a prompt becomes a video")
    film.skip_to("what the video shows")
    film.roll(0.8, every_s=0.2)
    film.type("a red circle moving left")
    film.press("Enter", film.words)
    film.roll(0, until="✓ a-red", every_s=0.25, speed=2)
    film.roll(2.0)
    film.press("Escape", "videos, played in the terminal")
    time.sleep(0.4)
    film.press("3", film.words)
    film.skip_to("videos · ")
    film.roll(0.8, every_s=0.2)
    film.press("p", film.words)
    film.roll(0, until="● both", every_s=0.2)
    film.roll(0.6, every_s=0.2)
    film.press("Space", film.words)
    film.roll(2.6)
    film.press("q", "the app owns nothing: what goes on, what it costs, how to come back")
    film.skip_to(r"\$\s*$")
    film.roll(4.0, every_s=1.0)


def draw(shots: list[Shot]) -> Iterator[tuple[Image.Image, float]]:
    """Pictures with how long each stays, in seconds; those that do not differ are one."""
    canvas = Image.new("RGB", (COLUMNS * WIDTH + 2 * MARGIN, ROWS * HEIGHT + 2 * MARGIN + CAPTION), PAPER)
    before: list[list[Cell | None]] = [[None] * COLUMNS for _ in range(ROWS)]
    said, stays_s = ("", "", 0), 0.0
    for shot in shots:
        grid, says = cells(shot.screen, COLUMNS, ROWS), (shot.key, shot.words, shot.speed)
        if stays_s and (grid != before or says != said):
            yield canvas.copy(), stays_s
            stays_s = 0.0
        stays_s += shot.shown_s
        for y, row in enumerate(grid):
            for x, cell in enumerate(row):
                if cell != before[y][x]:
                    canvas.paste(tile(*cell), (MARGIN + x * WIDTH, MARGIN + y * HEIGHT))
        _caption(canvas, *says)
        before, said = [list(row) for row in grid], says
    yield canvas.copy(), stays_s


def _caption(canvas: Image.Image, key: str, words: str, speed: int) -> None:
    """Under the screen: the key that was pressed, what it does, and how much faster than it was this is."""
    draw, top = ImageDraw.Draw(canvas), canvas.height - CAPTION
    draw.rectangle((0, top, canvas.width, canvas.height), fill=(10, 10, 13))
    x, middle = MARGIN + WIDTH, top + CAPTION // 2
    if key:
        width = font(14, True).getlength(key) + 16
        draw.rounded_rectangle((x, middle - 11, x + width, middle + 11), 4, fill=KEYCAP, outline=ACCENT)
        draw.text((x + width / 2, middle), key, fill=INK, font=font(14, True), anchor="mm")
        x += round(width) + 12
    draw.text((x, middle), words, fill=INK, font=font(14), anchor="lm")
    if speed > 1:
        draw.text((canvas.width - MARGIN - WIDTH, middle), f"×{speed}", fill=MUTED, font=font(14), anchor="rm")


def palette_of(pictures: list[Image.Image]) -> Image.Image:
    """The colours that are on the screen longest, for all frames: text keeps its own whatever a sample shows."""
    seen: Counter[int] = Counter()
    for picture in pictures:
        red, green, blue = np.moveaxis(np.asarray(picture, dtype=np.int64), 2, 0)
        values, counts = np.unique(red << 16 | green << 8 | blue, return_counts=True)
        seen.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    chosen = [colour for colour, _ in seen.most_common(MOST_COLOURS)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in chosen for part in (colour >> 16, colour >> 8 & 255, colour & 255)])
    return palette


def write(shots: list[Shot]) -> None:
    pictures, stay = zip(*draw(shots), strict=True)
    palette = palette_of(list(pictures))
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    durations = [max(20, round(seconds * 100) * 10) for seconds in stay]
    frames[0].save(SCREEN, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)
    print(f"{SCREEN}: {len(frames)} frames, {sum(durations) / 1000:.1f} s, {SCREEN.stat().st_size / 1e6:.2f} MB")


def record(folder: Path) -> list[Shot]:
    folder.mkdir(parents=True)
    film = Film(folder)
    film.open()
    try:
        play(film)
    finally:
        film.tmux("kill-server")
        folder.with_suffix(".jsonl").write_text("".join(json.dumps(asdict(shot)) + "\n" for shot in film.shots))
    return film.shots


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    filmed = folder.with_suffix(".jsonl")
    if filmed.exists():
        write([Shot(**json.loads(line)) for line in filmed.read_text().splitlines()])
    else:
        write(record(folder))


if __name__ == "__main__":
    main()
