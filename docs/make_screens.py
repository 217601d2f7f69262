"""Screenshots for the README, exported by the app itself from the workspace of a demo whose training has come some way.

python docs/make_screens.py DEMO     writes docs/tui-*.svg; DEMO is the folder of `t2v-tui --demo`, best while it trains

One video is made on the way, once the training has ended.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from textual.pilot import Pilot

from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.settings import Tui
from t2v_tui.store.session import recall
from t2v_tui.store.state import State
from t2v_tui.workers.demo_vm import DEMO_MEMORY, DemoServices

DOCS = Path(__file__).parent
# What is shown, by the key that leads there.
SHOWN = {"train": "1", "checkpoints": "2", "videos": "3", "jobs": "7", "generate": "4"}
PROMPT = "a red circle moving left"
SIZE, SMALL = (120, 40), (80, 24)
SETTLED_S = 4.0
DEADLINE_S = 600.0


async def export(demo: Path, size: tuple[int, int], screens: dict[str, str], ending: str) -> None:
    workspace = Workspace(demo.resolve())
    memory = recall(workspace)
    app = CockpitApp(
        workspace,
        services=DemoServices(workspace),
        settings=Tui(),
        state=State(workspace.root, is_demo=True),
        memory=memory if memory.hosts else DEMO_MEMORY,
        first="train",
    )
    async with app.run_test(size=size) as pilot:
        await pilot.pause(SETTLED_S)
        for name, key in screens.items():
            await pilot.press("escape", key)  # a field takes digits for text
            await pilot.pause(SETTLED_S)
            if name == "generate":
                await make_video(app, pilot)
            app.save_screenshot(str(DOCS / f"tui-{name}{ending}.svg"))


async def make_video(app: CockpitApp, pilot: Pilot[str]) -> None:
    """From the prompt that is on the screen, to the end."""
    deadline, before = time.monotonic() + DEADLINE_S, videos_made(app)
    await pilot.press(*("space" if glyph == " " else glyph for glyph in PROMPT), "enter")
    while videos_made(app) == before:
        if time.monotonic() > deadline:
            sys.exit(f"no video was made within {DEADLINE_S:.0f} s; 7 shows the jobs of {app.workspace.root}")
        await pilot.pause(SETTLED_S)


def videos_made(app: CockpitApp) -> int:
    return sum(job.row.verb == "generate" and job.row.state == "succeeded" for job in app.state.jobs.values())


def main() -> None:
    demo = Path(sys.argv[1])
    asyncio.run(export(demo, SMALL, {"train": "1"}, "-small"))
    asyncio.run(export(demo, SIZE, SHOWN, ""))


if __name__ == "__main__":
    main()
