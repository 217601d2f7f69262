"""The page and another machine, over real SSH: the work there and the page here, or both there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.hosts.agent_here import wait_until
from support.hosts.far_host import Far, far_host
from support.screen.browser import Served, needs_browser, served
from test_web import User

pytestmark = [needs_browser, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    with far_host(tmp_path) as one:
        one.write_settings()
        yield one


@contextmanager
def page_of(far: Far, browser: Any, *flags: str) -> Iterator[tuple[Served, User]]:
    variables = {"XDG_CONFIG_HOME": str(far.config), "HOME": str(far.config)}
    with served(far.here.root, *flags, **variables) as up:
        user = User(browser, up.url)
        yield up, user
        user.context.close()


def all_ended(far: Far) -> bool:
    jobs = list((far.there / "jobs").glob("2*"))
    return bool(jobs) and all((job / "exit.json").exists() for job in jobs)


def test_the_work_runs_there_the_video_comes_here_and_nothing_goes_on_when_the_page_ends(
    far: Far, browser: Any
) -> None:
    with page_of(far, browser, "--host", "vm") as (_, user):
        user.generate("a red circle moving right")
        path = user.wait_for("#status", "done").splitlines()[-1]
        assert user.plays("#video")
    for suffix in (".mp4", ".json"):
        here, there = ((root / path).with_suffix(suffix).read_bytes() for root in (far.here.root, far.there))
        assert here == there
    assert not list(far.here.root.glob("jobs/2*"))
    wait_until(lambda: all_ended(far))


def test_a_page_that_runs_there_is_seen_here_and_ends_with_the_command(far: Far, browser: Any) -> None:
    with page_of(far, browser, "--forward", "vm") as (_, user):
        user.generate("a blue square growing")
        path = user.wait_for("#status", "done").splitlines()[-1]
        assert user.plays("#video")
    assert (far.there / path).is_file()
    assert not (far.here.root / path).exists()
    wait_until(lambda: all_ended(far))
