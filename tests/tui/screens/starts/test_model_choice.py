"""The model is a choice: open models of the host that does the work, with their sizes, beside checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.engine.results_world import add_checkpoint
from support.hosts.far_host import far_host
from support.hosts.far_services import FarServices
from support.screen.in_terminal import eventually, on_screen
from support.screen.watched_app import Watched
from textual.pilot import Pilot

from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.screens.bases.sampling_screen import SamplingScreen
from t2v_tui.screens.panels.train_settings import TrainSettings
from t2v_tui.widgets.entries import Choice
from t2v_tui.workers.services import Services

WAN = "models/wan"


def save_model(root: Path) -> None:
    """The files of a model by their names, which is all that a list of them looks at."""
    for part in ("transformer", "vae"):
        (root / WAN / part).mkdir(parents=True)
        (root / WAN / part / "model.safetensors").write_bytes(bytes(2_000_000))
    index = {"_class_name": "WanPipeline", "transformer": ["diffusers", "T"], "vae": ["diffusers", "V"]}
    (root / WAN / "model_index.json").write_text(json.dumps(index))


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


async def offered(pilot: Pilot[Any], screen: SamplingScreen) -> Choice:
    entry = screen.form.query_one("#in-model", Choice)
    await eventually(pilot, lambda: len(entry.choices) > 1)
    return entry


@on_screen
async def test_an_open_model_that_is_chosen_takes_the_checkpoint_s_place(tmp_path: Path) -> None:
    save_model(tmp_path)
    services = Services(Workspace(tmp_path))
    app = Watched(Workspace(tmp_path), services=services, first="generate")
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            screen = app.screen
            assert isinstance(screen, SamplingScreen)
            entry = await offered(pilot, screen)
            assert entry.choices[1] == (WAN, "wan · 4.0 MB")
            screen.form.query_one("#in-checkpoint", Choice).choose("embedded")
            entry.focus()
            await pilot.press("right")
            screen.prompt.focus()
            await pilot.press(*"a cat", "enter")
            await eventually(pilot, lambda: len(app.asked) == 1)
            assert app.asked[0].values["model"] == WAN
            assert "checkpoint" not in app.asked[0].values
    finally:
        services.close()


@on_screen
async def test_each_host_offers_what_it_has_itself(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        save_model(far.there)
        services = FarServices(far.here, far)
        app = CockpitApp(far.here, services=services, first="vid2vid")
        try:
            async with app.run_test(size=(120, 40)) as pilot:
                await eventually(pilot, lambda: "vm" in app.state.hosts)
                screen = app.screen
                assert isinstance(screen, SamplingScreen)
                screen.query_one("#host", Choice).offer([("local", "local"), ("vm", "vm")])
                screen.query_one("#host", Choice).choose("vm")
                app.choose_host("vm")
                entry = await offered(pilot, screen)
                assert [value for value, _ in entry.choices] == ["", WAN]
                screen.query_one("#host", Choice).choose("local")
                screen.redraw()
                assert [value for value, _ in entry.choices] == [""]
        finally:
            services.close()
            shutil.rmtree(far.there / "models")


@on_screen
async def test_a_training_goes_on_from_a_model_or_a_checkpoint_that_is_offered(tmp_path: Path) -> None:
    save_model(tmp_path)
    add_checkpoint(tmp_path, 15, loss=0.1)
    services = Services(Workspace(tmp_path))
    app = Watched(Workspace(tmp_path), services=services, first="train")
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("p")
            await eventually(pilot, lambda: isinstance(app.screen, TrainSettings))
            panel = app.screen
            assert isinstance(panel, TrainSettings)
            await eventually(pilot, lambda: bool(panel.query("#in-model")))
            assert WAN in dict(panel.query_one("#in-model", Choice).choices)
            bases = dict(panel.query_one("#in-base", Choice).choices)
            assert bases["checkpoints/checkpoint_epoch_15"] == "epoch 15 · 121 kB"
            await eventually(pilot, lambda: panel.values == {})
            panel.query_one("#in-model", Choice).choose(WAN)
            panel.query_one("#in-lora", Choice).choose("True")
            await pilot.press("ctrl+t")
            await eventually(pilot, lambda: len(app.asked) == 1)
            assert {name: app.asked[0].values[name] for name in ("model", "lora")} == {"model": WAN, "lora": "True"}
    finally:
        services.close()
