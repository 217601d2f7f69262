"""Brackets in a prompt, a file's name, a host's name or an error are text on every screen, and never markup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.engine.results_world import NOW, add_checkpoint, add_video, state_of, with_job
from support.screen.in_terminal import eventually, on_screen

from remote.steps import Status, StepState
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.messages import Failed, Notice
from t2v_tui.registry import SCREENS
from t2v_tui.screens.bases.base import Cockpit
from t2v_tui.store.state import JobKey, JobView, LaunchPhase, LaunchView, RunView, Sample, State, TransferView

# Not one of them can be read as Textual's markup.
HOSTILE = "[red]x[/] [/nothing] [link='y'"


def hostile_state(workspace: Workspace) -> State:
    state = state_of(workspace)
    vm = state.hosts["vm"]
    hosts = {
        **state.hosts, "vm": replace(vm, address=HOSTILE, link=replace(vm.link, why=HOSTILE, hint=HOSTILE)),
    }  # fmt: skip
    state = replace(state, hosts=hosts)
    for verb, how in (("train", "running"), ("generate", "failed"), ("refine", "failed"), ("preprocess", "failed")):
        state, key = with_job(state, verb, how, reason=HOSTILE, hint=HOSTILE)
        run = RunView(
            HOSTILE, HOSTILE, 1, 2, HOSTILE, warnings=(HOSTILE,), link_why=HOSTILE if verb == "train" else "",
            samples=(Sample(f"outputs/{HOSTILE}.mp4", HOSTILE, 3),),
        )  # fmt: skip
        state = replace(state, runs={**state.runs, key: run}, shown=key if verb == "train" else state.shown)
    odd = JobKey("local", HOSTILE)
    row = replace(state.jobs[key].row, job=HOSTILE, verb=HOSTILE, state="running", queued_t=NOW)
    transfer = TransferView("1", "vm", HOSTILE, is_pull=True, state="failed", why=HOSTILE)
    return replace(state, jobs={odd: JobView(odd, row, NOW), **state.jobs}, transfers=(transfer,))


@pytest.mark.parametrize("name", [entry.name for entry in SCREENS])
@on_screen
async def test_hostile_names_are_text_on(tmp_path: Path, name: str) -> None:
    workspace = Workspace(tmp_path)
    add_checkpoint(tmp_path, 15, loss=0.1).rename(tmp_path / "checkpoints/[red]x[]")
    add_video(tmp_path, "[red]x[].mp4", HOSTILE, checkpoint="checkpoints/[red]x[]")
    (tmp_path / "data" / "[red]x[]" / "videos").mkdir(parents=True)
    app = CockpitApp(workspace, services=None, state=hostile_state(workspace), now=lambda: NOW, first=name)
    async with app.run_test(size=(120, 40)) as pilot:
        await eventually(pilot, lambda: isinstance(app.screen, Cockpit) and name == app.screen.NAME)
        await eventually(pilot, lambda: all(worker.is_finished for worker in app.workers))
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, Cockpit)
        screen.show(app.state, NOW)
        steps = (StepState("launch", Status.FAILED, HOSTILE, HOSTILE),)
        launch = LaunchView("train", "vm", LaunchPhase.FAILED, NOW, HOSTILE, (HOSTILE,), steps, (HOSTILE,))
        app.live.state = replace(app.state, launch=launch)
        screen.show(app.state, NOW)
        app.post_message(Failed(HOSTILE, HOSTILE))
        app.post_message(Notice(HOSTILE))
        await eventually(pilot, lambda: len(app._notifications) == 2)
        await pilot.pause()
        assert app.return_code is None
        assert app._exception is None
