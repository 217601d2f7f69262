"""A terminal that is gone ends the app, also where the system sends it no SIGHUP, as `docker exec` does not.

Without that, reading from what is no more would keep a core busy for ever.
"""

from __future__ import annotations

import os
import select
import signal
import threading


def end_with_terminal(descriptor: int) -> None:
    """Send this process the SIGHUP of a terminal that hangs up, when it does. It takes a thread that sleeps."""
    threading.Thread(target=_wait, args=(descriptor,), name="hang-up", daemon=True).start()


def _wait(descriptor: int) -> None:
    poller = select.poll()
    poller.register(descriptor, 0)  # asked for nothing, it still tells of this
    if any(said & select.POLLHUP for _, said in poller.poll()):
        os.kill(os.getpid(), signal.SIGHUP)
