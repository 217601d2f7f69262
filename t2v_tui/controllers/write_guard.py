"""Whether anything may be started, ended or written: not with `--read-only`, nor once the workspace is gone."""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from textual.app import App

from t2v_tui.controllers.live_state import LiveState
from t2v_tui.messages import Failed


class WriteGuard:
    """is_gone: the workspace was moved or deleted while the app was open"""

    def __init__(self, app: App[Any], live: LiveState, root: Path) -> None:
        self.app, self.live, self.root, self.is_gone = app, live, root, False
        self._was: tuple[int, int] | None = None
        self._know()

    def _know(self) -> None:
        """Hold the folder open: else the next one of its name is given its number by most file systems."""
        self._was = identity_of(self.root)
        with suppress(OSError):
            held = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK)
            weakref.finalize(self, os.close, held)

    def may_change(self) -> bool:
        """Tell whether anything may be started, ended or written; else say why not."""
        if self.live.state.is_read_only:
            self.say_read_only()
        elif self.is_gone:
            self._say_gone()
        return not self.live.state.is_read_only and not self.is_gone

    def say_read_only(self) -> None:
        """Show a notice that this app changes nothing."""
        self.app.notify("this app is read-only: it was opened with --read-only", timeout=4)

    def find_gone(self) -> bool:
        """Look for the workspace, and say so when it is gone; True once, the first time that it is."""
        if self._was is None:
            self._know()
        elif identity_of(self.root) != self._was and not self.is_gone:
            self.is_gone = True
            self._say_gone()
            return True
        return False

    def _say_gone(self) -> None:
        self.app.post_message(
            Failed(
                f"the workspace {self.root} is no longer there",
                "it was moved or deleted while this app was open: nothing is saved, started or listened to any more. "
                "Put it back, or press q and open another; jobs on hosts go on",
            )
        )


def identity_of(folder: Path) -> tuple[int, int] | None:
    """Return which folder it is (device, inode), whatever its name; None when it is not there."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
