"""Nothing here waits longer than it may: a program that hangs is killed and left, a call that hangs is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

Result = TypeVar("Result")
KILLED_WITHIN_S = 1.0
# What a machine says that has no more disk or memory to give, and what nothing of the guard's may end by.
FAILURES = (OSError, MemoryError)


def ran(
    argv: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a program as subprocess.run does, but never wait much longer than `timeout_s`.

    subprocess.run waits for ever for a program that cannot be killed or left its output to a child.

    Raises OSError, subprocess.TimeoutExpired.
    """
    child = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env=environment,
    )  # fmt: skip
    try:
        out, err = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError, PermissionError):  # it is gone, or it is root's
            os.killpg(child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            child.wait(KILLED_WITHIN_S)
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
        raise
    return subprocess.CompletedProcess(argv, child.returncode, out, err)


def within(timeout_s: float, work: Callable[[], Result]) -> Result:
    """Return or raise what `work` does; TimeoutError when it does not come back, as from a disk that is gone.

    Where no thread can be begun it is called as it is.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def called() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - it goes to whoever waits
            errors.append(error)

    thread = threading.Thread(target=called, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        return work()
    thread.join(timeout_s)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {timeout_s:g} s")
    return results[0]
