"""The app that keeps what is asked of it in place of starting it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import t2v_tui.app
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.workers.launch_worker import Wanted


class Watched(CockpitApp):
    """asked: what was to be started, in that order"""

    CSS_PATH = str(Path(t2v_tui.app.__file__).parent / CockpitApp.CSS_PATH)

    def __init__(self, workspace: Workspace, **options: Any) -> None:
        self.asked: list[Wanted] = []
        super().__init__(workspace, **options)
        self.launches.begin = self.asked.append  # type: ignore[method-assign]
