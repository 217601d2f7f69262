"""Runs on a host as the job `web`, in t2v's own environment: installs what the page needs, once, and becomes it."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence

from remote.setup.install_on_host import Install, told

NEEDED = ("fastapi", "gradio", "uvicorn")


def main(flags: Sequence[str]) -> int:
    """Become `t2v web` with these flags. Returns only when the packages cannot be installed."""
    is_missing = any(importlib.util.find_spec(name) is None for name in NEEDED)
    if is_missing and (code := told(Install.add_page)) != 0:
        return code
    return os.execv(sys.executable, [sys.executable, "-m", "t2v_tui.cli.main", "web", *flags])  # noqa: S606 - it takes over


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
