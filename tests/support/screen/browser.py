"""A real browser and a real `t2v web`; what a test of the page needs, or the line that mends it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.house.needs import PROGRAMS, find
from support.warm.python import warm

CHROMIUM = find("chromium")
TIMEOUT_S = 240.0
LACKING = next((name for name in ("chromium", "libatomic") if find(name) is None), None)
needs_browser = pytest.mark.skipif(bool(LACKING), reason=f"needs {LACKING}: {PROGRAMS[LACKING or 'chromium'].mend}")


@dataclass
class Served:
    """A page that is up."""

    url: str
    root: Path
    process: subprocess.Popen[str]

    @property
    def jobs(self) -> list[Path]:
        return sorted((self.root / "jobs").glob("2*"))

    def jobs_of(self, verb: str) -> list[Path]:
        return [path for path in self.jobs if f"-{verb}-" in path.name]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "GRADIO_"))}
    return kept | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@contextmanager
def served(root: Path, *flags: str, prefix: tuple[str, ...] = (), **variables: str) -> Iterator[Served]:
    """`t2v web` on a free port, ended as Ctrl-C ends it; the engine that it kept has then ended as well."""
    root.mkdir(parents=True, exist_ok=True)
    command = [*prefix, warm(), "-m", "t2v_tui.cli.main", "web", "--port", "0", "--device", "cpu", *flags]
    with (root / "web.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=root, env=environment() | variables, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http"), (root / "web.log").read_text()
    page = Served(url, root, process)
    try:
        yield page
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(TIMEOUT_S)
        process.stdout.close()


@contextmanager
def chromium(**options: Any) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its own sandbox needs rights that a container's root has not got; it opens nothing but our page.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], **options)
        try:
            yield browser
        finally:
            browser.close()
