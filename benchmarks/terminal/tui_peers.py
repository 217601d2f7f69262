"""How soon the terminal UI stands there, beside toolong, posting and harlequin and the smallest Textual app, in turns.

for APP in toolong posting harlequin; do python -m venv DIR/$APP && DIR/$APP/bin/pip install $APP; done
DIR/posting/bin/pip install tree-sitter==0.25.2    # with a newer one it crashes at its start
python benchmarks/terminal/tui_peers.py DIR [--rounds 5]

Each in an environment of its own, for they ask for different Textuals, and with something small to show: a log of 2,000
lines, an empty collection, an empty database. CPU seconds are of the process that draws.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tui import Paint, first_paint, minimal_app, print_paints, tui

PROGRAMS = {"toolong": "tl", "posting": "posting", "harlequin": "harlequin"}


def shown_by_peers(folder: Path) -> dict[str, list[str]]:
    """What each is started with."""
    (folder / "some.log").write_text("".join(f"2026-01-01 00:00:00 step {step} loss 0.5\n" for step in range(2000)))
    (folder / "collection").mkdir()
    return {
        "toolong": [str(folder / "some.log")],
        "posting": ["--collection", str(folder / "collection")],
        "harlequin": [str(folder / "some.db")],
    }


def measure(folder: Path, environments: Path, rounds: int) -> dict[str, list[Paint]]:
    arguments = shown_by_peers(folder)
    homes = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")}
    found: dict[str, list[Paint]] = {name: [] for name in ("minimal", "t2v-tui", *PROGRAMS)}
    for _ in range(rounds + 1):
        found["minimal"].append(first_paint(minimal_app(folder), env=homes))
        found["t2v-tui"].append(first_paint(tui(folder), env=homes))
        for name, program in PROGRAMS.items():
            there = environments / name / "bin"
            argv = [str(there / program), *arguments[name]]
            found[name].append(first_paint(argv, env=homes, python=str(there / "python")))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environments", type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    for name, program in PROGRAMS.items():
        if not (asked.environments / name / "bin" / program).exists():
            sys.exit(f"there is no {asked.environments / name / 'bin' / program}: make it as --help says")
    with tempfile.TemporaryDirectory() as folder:
        print_paints(measure(Path(folder), asked.environments.absolute(), asked.rounds))


if __name__ == "__main__":
    main()
