"""Whatever starts work takes one road: with the demo's VM off, each screen names its price, starts it, and runs."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.engine.results_world import add_video
from support.screen.in_terminal import eventually, on_screen
from support.screen.tui_states import NOW, live, stopped
from textual.pilot import Pilot
from textual.widgets import Input

from remote.hosts.settings import LOCAL
from remote.power.state import Power
from remote.steps import Status, StepState
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.screens.bases.sampling_screen import SamplingScreen
from t2v_tui.screens.generate import GenerateScreen
from t2v_tui.screens.vid2vid import Vid2VidScreen
from t2v_tui.screens.videos import VideosScreen
from t2v_tui.store.events import LaunchBegun, LaunchQueued, LaunchTurned, News
from t2v_tui.store.reducer import reduce
from t2v_tui.store.state import JobKey, LaunchPhase, LaunchView, State
from t2v_tui.widgets.entries import Choice
from t2v_tui.widgets.launch_panel import LaunchDrawer, text_of
from t2v_tui.workers import demo_vm
from t2v_tui.workers.demo_vm import DEMO_MEMORY, NAME, DemoServices
from t2v_tui.workers.launch_controller import Launcher
from t2v_tui.workers.launch_worker import Wanted


@asynccontextmanager
async def demo(
    folder: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Pilot[str], CockpitApp]]:
    """The demo with its VM off, on one screen; at the end nothing of it runs."""
    monkeypatch.setattr(demo_vm, "COMES_UP_S", 0.05)
    monkeypatch.setattr(demo_vm, "GOES_DOWN_S", 0.05)
    services = DemoServices(Workspace(folder))
    app = CockpitApp(Workspace(folder), services=services, memory=DEMO_MEMORY, first=first)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await eventually(pilot, lambda: is_known(app.state) and app.screen.is_mounted)
            if isinstance(app.screen, SamplingScreen):
                app.screen.show(app.state, app.now())
                app.screen.query_one("#host", Choice).choose(NAME)
            yield pilot, app
    finally:
        if services.machine.look().vm.power is Power.RUNNING:
            for row in services.jobs(NAME).rows():
                services.stop(JobKey(NAME, row.job), grace_s=0.0)
        services.close()


def is_known(state: State) -> bool:
    host = state.hosts.get(NAME)
    return host is not None and host.vm is not None and host.vm.power is Power.STOPPED and host.cost is not None


async def takes_the_road(pilot: Pilot[str], app: CockpitApp, verb: str) -> JobKey:
    """From the question with its price to a job that runs."""
    await eventually(pilot, lambda: app.state.launch is not None)
    launch, services = app.state.launch, app.services
    assert launch is not None
    assert services is not None
    drawer = app.screen.query_one(LaunchDrawer)
    await eventually(pilot, lambda: drawer.display and drawer.has_focus_within)
    assert (launch.verb, launch.phase, launch.screen) == (verb, LaunchPhase.ASKING, app.current_mode)
    assert f"{verb} on {NAME} · ~$3.69/h" in launch.title
    assert f"y starts {NAME}, which then costs $3.69/h" in str(drawer.query_one("#launch-now").render())
    assert not is_up(app)
    await pilot.press("y")
    await eventually(pilot, lambda: app.state.launch is None or app.state.launch.job is not None)
    assert app.state.launch is not None
    assert next(step.name for step in app.state.launch.steps if step.status is not Status.DOING) == "VM"
    job = app.state.launch.job
    assert job is not None
    await eventually(pilot, lambda: job in app.state.jobs and app.state.jobs[job].row.state != "queued")
    assert app.state.jobs[job].row.state in ("starting", "running", "succeeded")
    await eventually(pilot, lambda: not drawer.display)
    return job


def is_up(app: CockpitApp) -> bool:
    assert isinstance(app.services, DemoServices)
    return app.services.machine.look().vm.power is not Power.STOPPED


@on_screen
async def test_generate_starts_the_vm_after_a_yes_and_shows_the_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with demo(tmp_path, "generate", monkeypatch) as (pilot, app):
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        screen.query_one("#in-checkpoint", Choice).choose("embedded")
        screen.query_one("#in-steps", Input).value = "4"
        await pilot.press(*"a red circle", "enter")
        job = await takes_the_road(pilot, app, "generate")
        assert (screen.drawing.watched, screen.prompt.has_focus) == (job, True)
        await eventually(pilot, lambda: screen.result.path is not None)
        assert screen.result.path == tmp_path / "vm/outputs/a-red-circle-0.mp4"


@on_screen
async def test_vid2vid_starts_the_vm_and_sends_its_video_before_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = add_video(tmp_path, "a.mp4", "a red square")
    async with demo(tmp_path, "vid2vid", monkeypatch) as (pilot, app):
        screen = app.screen
        assert isinstance(screen, Vid2VidScreen)
        screen.query_one("#in-checkpoint", Choice).choose("embedded")
        screen.path.value, screen.prompt.value = "outputs/a.mp4", "a red square, sharper"
        screen.prompt.focus()
        await pilot.press("enter")
        job = await takes_the_road(pilot, app, "refine")
        assert screen.drawing.watched == job
        assert (tmp_path / "vm/outputs/a.mp4").read_bytes() == video.read_bytes()


@on_screen
async def test_data_starts_the_vm_for_its_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with demo(tmp_path, "data", monkeypatch) as (pilot, app):
        await pilot.press("b")
        await takes_the_road(pilot, app, "shapes")


@on_screen
async def test_videos_starts_the_vm_to_make_one_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_video(tmp_path / "vm", "a.mp4", "a red square", checkpoint="embedded")
    async with demo(tmp_path, "videos", monkeypatch) as (pilot, app):
        screen, services = app.screen, app.services
        assert isinstance(screen, VideosScreen)
        assert isinstance(services, DemoServices)
        services.machine.start(lambda _: None, threading.Event())  # what it has was seen while it ran
        app.listening.wake(NAME)
        await eventually(pilot, lambda: bool(screen.videos) and bool(screen.videos[0].prompt))
        services.machine.stop()
        app.listening.wake(NAME)
        await eventually(pilot, lambda: is_known(app.state))
        await pilot.press("a")
        await takes_the_road(pilot, app, "generate")


@on_screen
async def test_a_no_leaves_the_vm_off_and_gives_the_prompt_its_focus_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with demo(tmp_path, "generate", monkeypatch) as (pilot, app):
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        await pilot.press(*"a red circle", "enter")
        drawer = screen.query_one(LaunchDrawer)
        await eventually(pilot, lambda: drawer.display and drawer.has_focus_within)
        await pilot.press("escape")
        await eventually(pilot, lambda: "cancelled; nothing was started" in str(screen.result.said.render()))
        await pilot.press("escape")
        await eventually(pilot, lambda: not drawer.display and screen.prompt.has_focus)
        assert (is_up(app), list((tmp_path / "vm").glob("jobs/*"))) == (False, [])


@on_screen
async def test_here_it_is_quick_and_esc_takes_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with demo(tmp_path, "data", monkeypatch) as (pilot, app):
        app.choose_host(LOCAL)
        await pilot.press("b")
        await eventually(pilot, lambda: app.state.launch is not None and app.state.launch.job is not None)
        assert app.state.launch is not None
        assert [step.name for step in app.state.launch.steps] == ["disk", "launch"]
        job = app.state.launch.job
        assert job is not None
        await pilot.press("escape")
        await eventually(pilot, lambda: job in app.state.jobs and app.state.jobs[job].row.has_ended)
        assert app.state.jobs[job].row.state != "succeeded"


# One after another


class Begins:
    """A launcher that starts no thread, over the state that it makes."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.told: list[News] = []
        self.launcher = Launcher(None, self.take, self.take)

    def take(self, news: News) -> None:
        self.told.append(news)
        self.state = reduce(self.state, news)

    def begin(self, wanted: Wanted) -> None:
        self.launcher.begin(wanted, self.state, NOW)

    def turn(self, phase: LaunchPhase, job: JobKey | None = None) -> None:
        self.take(LaunchTurned(phase, job))

    @property
    def launch(self) -> LaunchView:
        assert self.state.launch is not None
        return self.state.launch


VM = next(name for name in stopped().hosts if name != LOCAL)


def prompt(text: str, host: str = VM) -> Wanted:
    return Wanted("generate", host, {"prompt": text}, "generate")


def test_what_is_asked_for_while_a_vm_comes_up_comes_after_it_and_asks_nothing_more() -> None:
    one = Begins(stopped())
    one.begin(prompt("one"))
    one.launcher.agree(one.state)
    one.begin(prompt("one"))  # the same key twice
    one.begin(prompt("two"))
    one.begin(prompt("three", LOCAL))
    assert [news for news in one.told if isinstance(news, LaunchQueued)] == [LaunchQueued(1), LaunchQueued(2)]
    for text, waiting in (("two", 1), ("three", 0)):
        one.turn(LaunchPhase.WORKING, JobKey(one.launch.host, text))
        one.launcher.go_on(one.state, NOW)
        assert f"prompt {text}" in one.launch.title
        assert (one.launch.phase, one.launch.job, one.launch.waiting) == (LaunchPhase.WORKING, None, waiting)


def test_what_fails_keeps_the_others_waiting_and_who_leaves_it_leaves_them() -> None:
    one = Begins(live())
    one.begin(prompt("one"))
    one.begin(prompt("two"))
    one.turn(LaunchPhase.FAILED)
    one.launcher.again(one.state, NOW)
    assert (one.launch.phase, one.launch.waiting) == (LaunchPhase.WORKING, 1)
    assert one.launcher.leave(one.state, NOW)
    assert (one.launch.phase, one.launcher.waiting) == (LaunchPhase.CANCELLED, [])


def test_only_a_training_waits_for_its_first_loss() -> None:
    launch = LaunchView("generate", VM, LaunchPhase.WORKING, NOW, steps=(StepState("VM", Status.DOING),))
    state = reduce(live(), LaunchBegun(replace(launch, screen="generate")))
    assert "first loss" not in text_of(state, launch, 80).plain
