"""What is done from the screens of results, on real workspaces: removed, pulled, asked for, watched, refined."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from support.engine.results_world import NOW, add_checkpoint, add_video, results, state_of
from support.hosts.far_host import far_host
from support.hosts.far_services import FarServices
from support.screen.in_terminal import eventually, on_screen
from textual.pilot import Pilot
from textual.widgets import Button, Input

import t2v_tui.app
from remote.hosts.host import LocalHost
from remote.jobs.client import HostJobs
from remote.replies.questions import REMOVE
from t2v_core.disk.files import incompleteness
from t2v_core.errors import EngineError
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.library.data_sets import data_sets_here, data_sets_there
from t2v_tui.library.local import checkpoints_here, scores_here, videos_here
from t2v_tui.library.on_host import checkpoints_there, described_there, videos_there
from t2v_tui.library.prompts import file_of, read_prompts, remember_prompt
from t2v_tui.library.views import (
    CheckpointPair,
    CheckpointView,
    both_places,
    checkpoint_asked,
    info_of_checkpoint,
    side_by_side,
)
from t2v_tui.screens.checkpoints import CheckpointsScreen
from t2v_tui.screens.data import DataScreen
from t2v_tui.screens.generate import GenerateScreen
from t2v_tui.screens.panels.dialogs import Confirm
from t2v_tui.screens.vid2vid import Vid2VidScreen, noise_in_words, output_for, path_in
from t2v_tui.screens.videos import VideosScreen
from t2v_tui.widgets.entries import Choice, PromptInput
from t2v_tui.workers.launch_worker import Wanted
from t2v_tui.workers.services import Services


class Watched(CockpitApp):
    """Keeps what is asked of it instead of starting it."""

    CSS_PATH = str(Path(t2v_tui.app.__file__).parent / CockpitApp.CSS_PATH)

    def __init__(self, workspace: Workspace, **options: Any) -> None:
        self.asked: list[Wanted] = []
        super().__init__(workspace, **options)
        self.launches.begin = self.asked.append  # type: ignore[method-assign]


# Reading


def test_what_the_agent_says_of_a_workspace_is_what_reading_it_says(tmp_path: Path) -> None:
    workspace = results(tmp_path)
    with HostJobs(LocalHost(workspace), workspace) as jobs:
        there, here = checkpoints_there(jobs), checkpoints_here(workspace)
        assert [(v.name, v.step, v.loss, v.files, v.is_complete) for v in there] == [
            (v.name, v.step, v.loss, v.files, v.is_complete) for v in here
        ]
        videos = {video.path: video for video in videos_there(jobs)}
        assert list(videos) == [video.path for video in videos_here(workspace)]
        refined = described_there(jobs, videos["outputs/refined.mp4"])
        assert (refined.prompt, refined.settings["strength"]) == ("a red square, sharper", 0.3)
        known = {view.name: view for view in there}
        (tmp_path / "checkpoints/checkpoint_epoch_15/trainer.json").unlink()
        again = {view.name: view for view in checkpoints_there(jobs, known)}
        assert again["checkpoint_epoch_10"] is known["checkpoint_epoch_10"]
        assert (again["checkpoint_epoch_15"].step, again["checkpoint_epoch_15"].is_complete) == (None, False)


def test_a_workspace_without_anything_is_no_error(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with HostJobs(LocalHost(workspace), workspace) as jobs:
        assert (checkpoints_there(jobs), videos_there(jobs)) == ((), ())
    assert (checkpoints_here(workspace), videos_here(workspace), scores_here(workspace)) == ((), (), {})


@pytest.mark.parametrize("said", [b"", b"[]", b'{"spec": 3, "step": "x", "held_out_loss": "nan"}', b"\xff"])
def test_a_broken_trainer_json_leaves_a_checkpoint_that_is_only_less_known(tmp_path: Path, said: bytes) -> None:
    folder = add_checkpoint(tmp_path, 5, loss=0.1)
    (folder / "trainer.json").write_bytes(said)
    (view,) = checkpoints_here(Workspace(tmp_path))
    assert (view.step, view.loss, view.is_complete) == (None, None, False)


def whole(name: str, *files: tuple[str, int]) -> CheckpointView:
    return info_of_checkpoint(CheckpointView(name, 1, files=files), {"step": 3})


def test_only_a_copy_with_the_same_files_is_another_copy() -> None:
    one, other = whole("a", ("model", 3)), whole("a", ("model", 4))
    assert CheckpointPair("a", one, None).is_only_copy(here=True)
    assert not CheckpointPair("a", one, one).is_only_copy(here=True)
    assert CheckpointPair("a", one, other).is_only_copy(here=True)
    torn = CheckpointView("a", 1, "no manifest.json", files=(("model", 3),))
    assert CheckpointPair("a", one, torn).is_only_copy(here=True)
    assert not CheckpointPair("a", one, torn).is_only_copy(here=False)


def test_videos_belong_to_the_checkpoint_that_made_them(tmp_path: Path) -> None:
    workspace = results(tmp_path)
    videos = videos_here(workspace)
    pairs = side_by_side(checkpoints_here(workspace), (), scores_here(workspace), videos)
    assert [(pair.name, len(pair.samples)) for pair in pairs] == [
        ("checkpoint_epoch_20", 0), ("checkpoint_epoch_15", 4), ("checkpoint_epoch_10", 1), ("checkpoint_epoch_5", 0),
    ]  # fmt: skip
    assert dict(pairs[1].scores) == {"all_obeyed_seen": 0.9312, "clip_generated": 0.2710}
    assert [video.is_there for video in both_places(videos[:1], videos)] == [True] * 5


def test_a_checkpoint_is_asked_for_as_every_workspace_has_it() -> None:
    assert checkpoint_asked("/far/away/checkpoints/checkpoint_epoch_5") == "checkpoints/checkpoint_epoch_5"
    assert checkpoint_asked("/site-packages/t2v_core/embedded/denoiser") == "embedded"
    assert checkpoint_asked("embedded") == "embedded"


# Removing


def test_the_agent_removes_results_and_nothing_else(tmp_path: Path) -> None:
    workspace = results(tmp_path / "work")
    outside = tmp_path / "outside"
    outside.mkdir()
    (workspace.root / "outputs" / "link").symlink_to(outside)
    (outside / "kept").write_text("kept")
    with HostJobs(LocalHost(workspace), workspace) as jobs:
        said = jobs.ask(REMOVE, paths=["checkpoints/checkpoint_epoch_5", "outputs/refined.mp4", "outputs/none.mp4"])
        assert said.removed == ("checkpoints/checkpoint_epoch_5", "outputs/refined.mp4")
        for path in ("t2v.toml", "checkpoints", "checkpoints/../data/x", "/etc/passwd", "outputs/link/kept", "~/x", ""):
            with pytest.raises(EngineError):
                jobs.ask(REMOVE, paths=[path])
        jobs.ask(REMOVE, paths=["outputs/link"])
    assert (outside / "kept").exists()
    assert not (workspace.root / "outputs" / "link").is_symlink()
    names = sorted(path.name for path in workspace.checkpoints.iterdir())
    assert names == ["checkpoint_epoch_10", "checkpoint_epoch_15", "checkpoint_epoch_20"]


@on_screen
async def test_a_checkpoint_goes_only_after_another_key_than_the_one_that_asked(tmp_path: Path) -> None:
    workspace = results(tmp_path)
    services = Services(workspace)
    app = CockpitApp(workspace, services=services, state=state_of(workspace, host="local"), now=lambda: NOW)
    app._first_screen = "checkpoints"
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await eventually(pilot, lambda: isinstance(app.screen, CheckpointsScreen) and len(app.screen.pairs) == 4)
            await pilot.press("j", "D")
            await eventually(pilot, lambda: isinstance(app.screen, Confirm))
            assert isinstance(app.screen, Confirm)
            assert "ONLY COPY" in app.screen.question.lines[1]
            assert "Z brings it back within 24 h; its 121 kB is freed after that" in app.screen.question.lines[2]
            assert app.screen.query_one("#cancel", Button).has_focus
            await pilot.press("D", "enter")
            await eventually(pilot, lambda: isinstance(app.screen, CheckpointsScreen))
            assert (workspace.checkpoints / "checkpoint_epoch_15").is_dir()
            await pilot.press("D")
            await eventually(pilot, lambda: isinstance(app.screen, Confirm))
            await pilot.press("y")
            await eventually(pilot, lambda: not (workspace.checkpoints / "checkpoint_epoch_15").exists())
            await eventually(pilot, lambda: isinstance(app.screen, CheckpointsScreen) and len(app.screen.pairs) == 3)
            await pilot.press("Z")
            await eventually(pilot, lambda: isinstance(app.screen, CheckpointsScreen) and len(app.screen.pairs) == 4)
            assert incompleteness(workspace.checkpoints / "checkpoint_epoch_15") is None
    finally:
        services.close()


# Pulling


@on_screen
async def test_a_checkpoint_of_the_host_is_pulled_whole_and_then_both_are_the_same(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        add_checkpoint(far.there, 25, loss=0.0954, size=3_000_000)
        add_video(far.there, "a-red-square-7.mp4", "a red square", seed=7)
        services = FarServices(far.here, far)
        app = CockpitApp(far.here, services=services, first="checkpoints")
        try:
            async with app.run_test(size=(120, 40)) as pilot:
                await eventually(pilot, lambda: "vm" in app.state.hosts)
                app.choose_host("vm")
                screen = app.screen
                assert isinstance(screen, CheckpointsScreen)
                screen.read_anew()
                await eventually(pilot, lambda: [pair.name for pair in screen.pairs] == ["checkpoint_epoch_25"])
                assert screen.pairs[0].is_only_copy(here=False)
                await pilot.press("p")
                await eventually(pilot, lambda: bool(screen.pairs) and screen.pairs[0].is_same)
                await eventually(pilot, lambda: any(one.state == "done" for one in app.state.transfers))
                await pilot.press("3")
                await eventually(pilot, lambda: isinstance(app.screen, VideosScreen) and bool(app.screen.videos))
                videos = app.screen
                assert isinstance(videos, VideosScreen)
                await eventually(pilot, lambda: videos.videos[0].prompt == "a red square")
                await pilot.press("p")
                await eventually(pilot, lambda: videos.videos[0].is_here and bool(videos.player.film))
        finally:
            services.close()


@pytest.mark.slow
@on_screen
async def test_a_video_that_a_host_has_drawn_comes_here_by_itself_and_plays(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        services = FarServices(far.here, far)
        app = CockpitApp(far.here, services=services, first="generate")
        try:
            async with app.run_test(size=(120, 40)) as pilot:
                await eventually(pilot, lambda: "vm" in app.state.hosts)
                app.choose_host("vm")
                screen = app.screen
                assert isinstance(screen, GenerateScreen)
                screen.show(app.state, app.now())
                screen.query_one("#host", Choice).choose("vm")
                screen.query_one("#in-checkpoint", Choice).choose("embedded")
                screen.query_one("#in-steps", Input).value = "4"
                await pilot.press(*"a red circle moving left", "enter")
                await eventually(pilot, lambda: screen.result.path is not None and screen.result.film is not None)
                assert screen.result.path == far.here.root / "outputs" / "a-red-circle-moving-left-0.mp4"
                assert screen.result.is_playing
                assert (far.there / "outputs" / "a-red-circle-moving-left-0.mp4").is_file()
                said = json.loads(screen.result.path.with_suffix(".json").read_text())
                assert said["spec"]["steps"] == 4
        finally:
            services.close()


# Asking


def start_keys(pilot: Pilot[Any]) -> PromptInput:
    screen = pilot.app.screen
    assert isinstance(screen, GenerateScreen | Vid2VidScreen)
    return screen.prompt


@on_screen
async def test_a_prompt_and_settings_become_what_the_engine_is_asked(tmp_path: Path) -> None:
    app = Watched(results(tmp_path), services=None, state=state_of(Workspace(tmp_path), host="local"), first="generate")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        await eventually(pilot, lambda: screen.here.is_read)
        screen.query_one("#in-steps", Input).value = "30"
        screen.query_one("#in-checkpoint", Choice).choose("checkpoints/checkpoint_epoch_15")
        await pilot.press(*"a red square", "enter")
        await eventually(pilot, lambda: bool(app.asked))
        assert (app.asked[0].verb, app.asked[0].host) == ("generate", "local")
        assert app.asked[0].values == {
            "prompt": "a red square", "steps": "30", "checkpoint": "checkpoints/checkpoint_epoch_15", "preview": True,
        }  # fmt: skip
        assert read_prompts(app.workspace) == ["a red square"]
        screen.prompt.value = ""
        await pilot.press("up")
        assert screen.prompt.value == "a red square"


@on_screen
async def test_a_setting_that_cannot_be_is_said_where_it_stands_and_nothing_starts(tmp_path: Path) -> None:
    app = Watched(
        Workspace(tmp_path), services=None, state=state_of(Workspace(tmp_path), host="local"), first="generate"
    )
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        await pilot.press(*"a red square")
        steps = screen.query_one("#in-steps", Input)
        steps.focus()
        await pilot.press(*"2000")
        await eventually(pilot, lambda: steps.has_class("-invalid"))
        assert "less than or equal to 1000" in str(screen.query_one("#about").render())
        await pilot.press("ctrl+g")
        await pilot.pause()
        assert not app.asked


@on_screen
async def test_a_video_is_made_again_with_another_seed_and_its_own_settings(tmp_path: Path) -> None:
    app = Watched(results(tmp_path), services=None, state=state_of(Workspace(tmp_path), host="local"), first="videos")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, VideosScreen)
        await eventually(pilot, lambda: len(screen.videos) == 5)
        await pilot.press("j", "a")
        await eventually(pilot, lambda: bool(app.asked))
        values = dict(app.asked[0].values)
        assert values.pop("seed") != 3
        assert values == {
            "prompt": "a blue circle growing", "steps": 20, "guidance_scale": 2.0,
            "checkpoint": "checkpoints/checkpoint_epoch_10",
        }  # fmt: skip


@on_screen
async def test_refine_goes_from_a_video_to_a_new_file_beside_it(tmp_path: Path) -> None:
    app = Watched(results(tmp_path), services=None, state=state_of(Workspace(tmp_path), host="local"), first="videos")
    async with app.run_test(size=(120, 40)) as pilot:
        videos = app.screen
        assert isinstance(videos, VideosScreen)
        await eventually(pilot, lambda: len(videos.videos) == 5)
        await pilot.press("j", "j", "r")
        await eventually(pilot, lambda: isinstance(app.screen, Vid2VidScreen))
        screen = app.screen
        assert isinstance(screen, Vid2VidScreen)
        await eventually(pilot, lambda: screen.before.film is not None and screen.here.is_read)
        await pilot.press("enter")
        await eventually(pilot, lambda: bool(app.asked))
        assert app.asked[0].verb == "refine"
        assert app.asked[0].values["input"] == "outputs/a-red-square-moving-right-7.mp4"
        assert app.asked[0].values["output"] == "outputs/a-red-square-moving-right-7-refined.mp4"
        assert app.asked[0].values["prompt"] == "a red square moving right"


# Data


def add_data_set(root: Path, name: str, *, is_world: bool = False, has_captions: bool = True) -> Path:
    data = root / "data" / name
    for folder in ("videos", "annotations"):
        (data / folder).mkdir(parents=True)
    for number in range(3):
        (data / "videos" / f"video{number}.mp4").write_bytes(b"a clip")
    if has_captions:
        (data / "annotations" / "train_9k.json").write_text("[]")
    if is_world:
        (data / "shapes.json").write_text("{}")
    return data


def test_data_sets_are_told_with_what_is_missing(tmp_path: Path) -> None:
    prepared = add_data_set(tmp_path, "done")
    for kind in ("latents", "text_embeddings"):
        split = prepared / kind / "train"
        split.mkdir(parents=True)
        (split / "shard-00000.safetensors").write_bytes(bytes(100))
        (split / "manifest.json").write_text('{"clips": [{}, {}, {}]}')
    add_data_set(tmp_path, "empty", has_captions=False)
    add_data_set(tmp_path, "new", is_world=True)
    (tmp_path / "data" / "bare").mkdir()
    told = {one.name: (one.clips, one.needs, one.is_world) for one in data_sets_here(Workspace(tmp_path))}
    assert told == {
        "bare": (0, "no clips in videos/", False),
        "done": (3, "", False),
        "empty": (3, "no captions in annotations/", False),
        "new": (3, "not prepared: p does it", True),
    }
    (done,) = [one for one in data_sets_here(Workspace(tmp_path)) if one.name == "done"]
    assert [(part.split, part.clips, part.shards, part.size_bytes) for part in done.latents] == [("train", 3, 1, 100)]
    with HostJobs(LocalHost(Workspace(tmp_path)), Workspace(tmp_path)) as jobs:
        assert data_sets_there(jobs)[:2] == ("bare (empty)", "done (annotations, latents, text_embeddings, videos)")


@on_screen
async def test_the_built_in_world_is_prepared_for_the_models_that_are_shipped(tmp_path: Path) -> None:
    add_data_set(tmp_path, "clips", has_captions=False)
    add_data_set(tmp_path, "shapes", is_world=True)
    app = Watched(Workspace(tmp_path), services=None, state=state_of(Workspace(tmp_path), host="local"), first="data")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, DataScreen)
        await eventually(pilot, lambda: screen.chosen is not None)
        await pilot.press("p", "b")  # no captions; and the world is there already
        await pilot.press("c", "j", "p")
        await eventually(pilot, lambda: len(app.asked) == 2)
        assert [(one.verb, one.values) for one in app.asked] == [
            ("check", {"data": "data/clips"}),
            (
                "preprocess",
                {"data": "data/shapes", "vae": "embedded", "text_encoder": "embedded", "frames": 8, "size": 64},
            ),
        ]


@pytest.mark.parametrize(
    ("dropped", "path"),
    [
        ("/a/b.mp4", "/a/b.mp4"),
        ("'/a/b c.mp4' ", "/a/b c.mp4"),
        ("/a/b\\ c.mp4\n", "/a/b c.mp4"),
        ("file:///a/b%20c.mp4\nfile:///d.mp4", "/a/b c.mp4"),
        ("/a/b c.mp4", "/a/b c.mp4"),
        ("it's.mp4", "it's.mp4"),
    ],
)
def test_a_dropped_file_is_its_path_however_the_terminal_quotes_it(dropped: str, path: str) -> None:
    assert path_in(dropped) == path


def test_what_is_refined_twice_gets_another_name() -> None:
    known = {"outputs/a-refined.mp4", "outputs/a-refined-2.mp4"}
    assert output_for("outputs/a.mp4", known) == "outputs/a-refined-3.mp4"
    assert output_for("outputs/a-refined-2.mp4", set()) == "outputs/a-refined.mp4"


def test_strength_is_said_as_steps() -> None:
    assert noise_in_words("0.3", "50").startswith("about 15 of 50 steps  ██████░")
    assert noise_in_words("much", "50") == ""
    assert noise_in_words(7, 50).startswith("about 50 of 50 steps")


def test_prompts_are_kept_once_the_newest_first(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for prompt in ("one", "two", "one"):
        remember_prompt(workspace, prompt)
    assert read_prompts(workspace) == ["one", "two"]
    file_of(workspace).write_text("[1, {}]")
    assert read_prompts(workspace) == []
    file_of(workspace).write_text("no JSON")
    assert read_prompts(workspace) == []


def test_reading_results_loads_no_tensors() -> None:
    import subprocess

    program = (
        "import sys, json; from t2v_tui.registry import SCREENS, load; [load(entry) for entry in SCREENS];"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert loaded & {"torch", "numpy", "av", "PIL", "paramiko", "google", "diffusers"} == set()


@on_screen
async def test_a_prompt_with_brackets_is_text_and_no_markup(tmp_path: Path) -> None:
    add_checkpoint(tmp_path, 15, loss=0.1)
    add_video(tmp_path, "odd.mp4", "[/] a [red] square [link='x']", epoch=15)
    app = Watched(
        Workspace(tmp_path), services=None, state=state_of(Workspace(tmp_path), host="local"), first="checkpoints"
    )
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, CheckpointsScreen)
        await eventually(pilot, lambda: screen.player.film is not None)
        await pilot.press("3")
        await eventually(pilot, lambda: isinstance(app.screen, VideosScreen) and bool(app.screen.videos))
        await eventually(pilot, lambda: "[/] a [red] square" in str(app.screen.query_one("#facts").render()))
