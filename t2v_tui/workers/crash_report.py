"""A fault of our own in a thread is said, and kept with its traceback; a thread that only ended would be silence."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable

from t2v_core.disk.private import make_folder
from t2v_core.workspace import Workspace
from t2v_tui.messages import Failed


def kept_in(workspace: Workspace, say: Callable[[Failed], object]) -> Callable[[threading.ExceptHookArgs], None]:
    """Return a hook for `threading.excepthook`: it keeps the traceback in faults.log, then says what ended.

    say: called from the thread that ended
    """
    file = workspace.root / ".t2v" / "tui" / "faults.log"

    def keep(ended: threading.ExceptHookArgs) -> None:
        if ended.exc_type is SystemExit:
            return
        name = ended.thread.name if ended.thread is not None else "a thread"
        lines = traceback.format_exception(ended.exc_type, ended.exc_value, ended.exc_traceback)
        hint = f"a bug in t2v; the details are in {file}"
        try:
            make_folder(file.parent)
            with file.open("a") as log:
                log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {name}\n{''.join(lines)}\n")
        except OSError as error:
            hint = f"a bug in t2v, which could not be written to {file}: {error.strerror}"
        say(Failed(f"{name} ended: {lines[-1].strip()}", hint))

    return keep
