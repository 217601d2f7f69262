"""A report in a real browser without a network: it plays, draws and shows, and nothing in it does anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.screen.browser import needs_browser
from support.screen.reported_runs import HOSTILE, add_run

from t2v_tui.cli.main import main

pytestmark = [needs_browser, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Of two runs with hostile names and prompts, alone in a folder."""
    root = tmp_path / "workspace"
    root.mkdir()
    (root / "t2v.toml").touch()
    jobs = [
        add_run(root, 0xAAAA, "<script>hacked = 1</script>"),
        add_run(root, 0xBBBB, '"><img src=x onerror=alert(1)>', learning_rate=5e-3),
    ]
    file = tmp_path / "alone/both.html"
    assert main(["--workspace", str(root), "report", *jobs, "--to", str(file)]) == 0
    return file


@pytest.mark.parametrize("width", [1280, 390])
def test_it_plays_and_draws_without_a_network_and_runs_nothing(browser: Any, report: Path, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    page = context.new_page()
    asked: list[str] = []
    told: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: told.append(dialog.message))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("console", lambda message: told.append(message.text))
    page.goto(report.as_uri())
    videos = page.locator("video")
    assert videos.count() == 12
    for number in range(12):  # a browser begins to play what is in sight
        videos.nth(number).scroll_into_view_if_needed()
        page.wait_for_function(f"() => document.querySelectorAll('video')[{number}].currentTime > 0.02")
    drawn = page.evaluate(
        "[...document.querySelectorAll('.charts svg')].map(one => one.getBoundingClientRect().height)"
    )
    assert len(drawn) >= 4
    assert min(drawn) > 50
    assert page.evaluate("typeof hacked === 'undefined' && typeof window.hacked === 'undefined'")
    assert page.locator("section").count() == 9
    assert HOSTILE in page.inner_text("#samples-through-training")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert told == []
    assert [url for url in asked if not url.startswith(("data:", report.as_uri()))] == []
    context.close()
