"""Screenshots for the README, exported by the app itself from the workspace of a demo whose training has come some way.

python docs/make_screens.py DEMO     writes docs/tui-*.svg; DEMO is the folder of `t2v-tui --demo`
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.demo_vm import DEMO_MEMORY, DemoServices
from t2v_tui.memory import recall
from t2v_tui.settings import Tui
from t2v_tui.state import State

DOCS = Path(__file__).parent
# What is shown at each size, by the key that leads there.
SHOWN = {"train": "1", "checkpoints": "2", "videos": "3", "generate": "4", "jobs": "7"}
SIZE, SMALL = (120, 40), (80, 24)
SETTLED_S = 4.0


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
            await pilot.press(key)
            await pilot.pause(SETTLED_S)
            app.save_screenshot(str(DOCS / f"tui-{name}{ending}.svg"))


def main() -> None:
    demo = Path(sys.argv[1])
    asyncio.run(export(demo, SIZE, SHOWN, ""))
    asyncio.run(export(demo, SMALL, {"train": "1"}, "-small"))


if __name__ == "__main__":
    main()
