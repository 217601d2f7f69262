"""Refining a video of this machine on another one: it goes there first, over real SSH, as part of the same press."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.engine.results_world import add_video
from support.hosts.far_host import Far, far_host
from support.hosts.far_services import FarServices
from support.screen.in_terminal import eventually, on_screen
from textual.pilot import Pilot
from textual.widgets import Input

from remote.errors import Refused
from remote.jobs.client import HostJobs, RemoteJob
from remote.steps import Status, StepState
from t2v_core.specs import RefineSpec, Spec
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.screens.vid2vid import Vid2VidScreen
from t2v_tui.widgets.entries import Choice
from t2v_tui.workers.upload_input import brought_in


class Asked(FarServices):
    """Hosts that take everything but the job itself, which is kept."""

    def __init__(self, workspace: Workspace, far: Far) -> None:
        super().__init__(workspace, far)
        self.asked: list[tuple[str, str, RefineSpec]] = []

    def jobs(self, name: str) -> HostJobs:
        jobs = super().jobs(name)

        def submit(verb: str, spec: Spec, **_: object) -> RemoteJob:
            assert isinstance(spec, RefineSpec)
            self.asked.append((verb, name, spec))
            raise Refused("no job in this test", "look at what was asked")

        jobs.submit = submit  # type: ignore[method-assign]
        return jobs


@asynccontextmanager
async def on_vid2vid(app: CockpitApp) -> AsyncIterator[tuple[Pilot[str], Vid2VidScreen]]:
    """The screen, with the far host chosen."""
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await eventually(pilot, lambda: "vm" in app.state.hosts and isinstance(app.screen, Vid2VidScreen))
            app.choose_host("vm")
            screen = app.screen
            assert isinstance(screen, Vid2VidScreen)
            screen.show(app.state, app.now())
            screen.query_one("#host", Choice).choose("vm")
            yield pilot, screen
    finally:
        if app.services is not None:
            app.services.close()


async def refine(pilot: Pilot[str], screen: Vid2VidScreen, path: str) -> None:
    screen.path.value = path
    screen.prompt.value = "a red square, sharper"
    screen.prompt.focus()
    await pilot.press("enter")


@on_screen
async def test_a_video_of_here_is_there_before_the_job_is_asked_for(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        video = add_video(far.here.root, "a.mp4", "a red square")
        services = Asked(far.here, far)
        app = CockpitApp(far.here, services=services, first="vid2vid")
        async with on_vid2vid(app) as (pilot, screen):
            await refine(pilot, screen, "outputs/a.mp4")
            await eventually(pilot, lambda: bool(services.asked))
            assert (far.there / "outputs/a.mp4").read_bytes() == video.read_bytes()
            verb, host, spec = services.asked[0]
            assert (verb, host, str(spec.input)) == ("refine", "vm", "outputs/a.mp4")
            await eventually(
                pilot, lambda: [(one.is_pull, one.state) for one in app.state.transfers] == [(False, "done")]
            )
            await eventually(pilot, lambda: "no job in this test" in str(screen.result.said.render()))
            await refine(pilot, screen, "outputs/a.mp4")
            await eventually(pilot, lambda: len(services.asked) == 2)
            assert app.state.transfers[-1].why == "it already exists there"


@on_screen
async def test_a_dropped_file_from_elsewhere_gets_a_place_in_both_workspaces(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        dropped = add_video(tmp_path / "desktop", "my holiday.mp4", "a red square")
        services = Asked(far.here, far)
        app = CockpitApp(far.here, services=services, first="vid2vid")
        async with on_vid2vid(app) as (pilot, screen):
            await refine(pilot, screen, str(dropped))
            await eventually(pilot, lambda: bool(services.asked))
            assert str(services.asked[0][2].input) == "outputs/inputs/my holiday.mp4"
            assert (far.there / "outputs/inputs/my holiday.mp4").read_bytes() == dropped.read_bytes()


@on_screen
async def test_another_video_of_that_name_there_is_left_alone_and_nothing_starts(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        add_video(far.here.root, "a.mp4", "a red square")
        theirs = add_video(far.there, "a.mp4", "a blue square").read_bytes()
        services = Asked(far.here, far)
        app = CockpitApp(far.here, services=services, first="vid2vid")
        async with on_vid2vid(app) as (pilot, screen):
            await refine(pilot, screen, "outputs/a.mp4")
            await eventually(pilot, lambda: "did not reach vm" in str(screen.result.said.render()))
            assert app.state.launch is not None
            assert app.state.launch.failed_step == StepState(
                "video",
                Status.FAILED,
                "a.mp4 did not reach vm",
                "outputs/a.mp4 on vm: there is another file of that name, not pushed. "
                "t2v push outputs/a.mp4 --replace, or another name here",
            )
            assert not services.asked
            assert (far.there / "outputs/a.mp4").read_bytes() == theirs


@on_screen
async def test_a_host_that_is_not_heard_is_said_and_nothing_starts(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        add_video(far.here.root, "a.mp4", "a red square")
        services = Asked(far.here, far)
        app = CockpitApp(far.here, services=services, first="vid2vid")
        async with on_vid2vid(app) as (pilot, screen):
            await eventually(pilot, lambda: app.state.chosen.link.seen_t is not None)
            far.proxy.rules.is_stalled = True
            await refine(pilot, screen, "outputs/a.mp4")
            await eventually(pilot, lambda: "starting" in str(screen.result.said.render()))
            screen.queue.focus()
            await pilot.press("x")
            far.proxy.rules.is_stalled = False
            await eventually(pilot, lambda: "nothing was started" in str(screen.result.said.render()))
            assert not services.asked


@pytest.mark.slow
@on_screen
async def test_one_press_sends_refines_and_brings_back(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        add_video(far.here.root, "a.mp4", "a red square")
        app = CockpitApp(far.here, services=FarServices(far.here, far), first="vid2vid")
        async with on_vid2vid(app) as (pilot, screen):
            screen.query_one("#in-checkpoint", Choice).choose("embedded")
            screen.query_one("#in-steps", Input).value = "4"
            await refine(pilot, screen, "outputs/a.mp4")
            home = far.here.root / "outputs/a-refined.mp4"
            await eventually(pilot, lambda: screen.result.path == home and screen.result.film is not None)
            assert json.loads(home.with_suffix(".json").read_text())["spec"]["input"] == "outputs/a.mp4"


def test_a_file_from_outside_is_copied_once_and_another_of_its_name_beside_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    for folder, content in (("one", b"1"), ("two", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.mp4").write_bytes(content)
    assert brought_in(workspace, tmp_path / "one/a.mp4") == "outputs/inputs/a.mp4"
    assert brought_in(workspace, tmp_path / "two/a.mp4") == "outputs/inputs/a-2.mp4"
    assert brought_in(workspace, tmp_path / "one/a.mp4") == "outputs/inputs/a.mp4"
    assert brought_in(workspace, workspace.root / "outputs/inputs/a-2.mp4") == "outputs/inputs/a-2.mp4"
    assert (workspace.root / "outputs/inputs/a-2.mp4").read_bytes() == b"2"
