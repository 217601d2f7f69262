"""What keys do is kept as lines that do the same: each is read by the command line itself, and by a shell."""

from __future__ import annotations

import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from support.screen.in_terminal import eventually, on_screen
from support.screen.tui_states import NOW, OLD, RUN, live

from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.cli.main import app as commands
from t2v_tui.controllers.command_log import MOST_BYTES, CommandLog
from t2v_tui.messages import CommandRan, StartWork
from t2v_tui.screens.panels.commands import CommandsPanel
from t2v_tui.text import command_lines
from t2v_tui.workers import launch_controller
from t2v_tui.workers.services import Services

STARTED: list[tuple[str, dict[str, Any]]] = [
    ("train", {"preset": "tiny", "epochs": "5", "resume": "True", "gradient_checkpointing": False}),
    ("generate", {"prompt": "it's a dog; rm -rf ~", "guidance_scale": "-1", "checkpoint": "checkpoints/a b"}),
    ("generate", {"prompt": "-v", "seed": "7"}),
    ("sheet", {"prompts": "a\nb 'c' \\ é", "seeds": "3", "guidance_scales": "1,2,4"}),
    ("refine", {"input": "outputs/a.mp4", "prompt": "a cat", "strength": "0.3", "output": "outputs/b.mp4"}),
    ("preprocess", {"data": "data/shapes", "vae": "embedded"}),
    ("check", {"data": "data/mine"}),
    ("shapes", {}),
]


def parsed(line: str) -> tuple[list[str], dict[str, Any]]:
    """The words of the command, and what the command line reads out of the rest; a shell splits it first."""
    said = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line.removeprefix('t2v ')}"], capture_output=True, check=True, timeout=60
    )
    words = said.stdout.decode().split("\0")[:-1]
    command: Any = typer.main.get_command(commands)
    context, names = command.make_context("t2v", [], resilient_parsing=True), []
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, words)
        names.append(name)
    return names, command.make_context(names[-1], words).params


@pytest.mark.parametrize(("verb", "values"), STARTED)
@pytest.mark.parametrize("host", ["local", "a100-golden"])
def test_the_line_of_a_start_is_read_as_what_was_started(verb: str, values: dict[str, Any], host: str) -> None:
    names, given = parsed(command_lines.start(verb, {**values, "preview": True}, host))
    assert " ".join(names) == command_lines.COMMANDS.get(verb, verb)
    assert given.pop("detach_") is True
    assert given.pop("host_") == (None if host == "local" else host)
    said = {name: value for name, value in given.items() if value not in (None, False, [], ())}
    assert {name: str(value) for name, value in said.items()} == {
        name: str(value) for name, value in values.items() if str(value) != "False"
    }


def test_a_refinement_whose_name_was_left_to_the_engine_gets_one() -> None:
    _, given = parsed(command_lines.start("refine", {"input": "outputs/a.mp4", "prompt": "-a"}, "local"))
    assert (given["output"], given["prompt"]) == ("outputs/a-refined.mp4", "-a")


@pytest.mark.parametrize(
    ("line", "names", "given"),
    [
        (command_lines.stop_job(RUN), ["stop"], {"job": RUN.job, "host": RUN.host}),
        (command_lines.ask("pause", OLD), ["ask"], {"request": "pause", "job": OLD.job, "host": OLD.host}),
        (
            command_lines.pull(["outputs/a b.mp4", "x"], "vm"),
            ["pull"],
            {"what": ["outputs/a b.mp4", "x"], "host": "vm"},
        ),
        (command_lines.push("outputs/a.mp4", "vm"), ["push"], {"what": ["outputs/a.mp4"], "host": "vm"}),
        (command_lines.vm("keep 2h", "vm"), ["vm", "keep"], {"how_long": "2h", "host": "vm"}),
        (command_lines.vm("stop", "vm"), ["vm", "stop"], {"host": "vm"}),
        (command_lines.bring_back("checkpoints/a"), ["trash"], {"paths": ["checkpoints/a"], "is_back": True}),
        (
            command_lines.put_away(["outputs/a b.mp4", "outputs/c.mp4"]),
            ["trash"],
            {"paths": ["outputs/a b.mp4", "outputs/c.mp4"]},
        ),
        (command_lines.label("note", "3f2a", "no better"), ["runs", "note"], {"run": "3f2a", "text": "no better"}),
        (command_lines.doctor(), ["doctor"], {}),
    ],
)
def test_the_other_lines_are_commands_as_well(line: str, names: list[str], given: dict[str, Any]) -> None:
    found, params = parsed(line)
    assert found == names
    assert {name: getattr(params[name], "value", params[name]) for name in given} == {
        name: tuple(value) if isinstance(value, list) and isinstance(params[name], tuple) else value
        for name, value in given.items()
    }


def test_a_word_is_one_line_whatever_is_in_it() -> None:
    word = command_lines.word("a\nb\x1b]52;c;x\x07'é")
    assert word.isprintable()
    said = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True, timeout=60)
    assert said.stdout.decode() == "a\nb\x1b]52;c;x\x07'é"


def test_they_are_kept_for_their_owner_only_and_within_a_bound(tmp_path: Path) -> None:
    file = tmp_path / ".t2v/tui/commands.jsonl"
    log = CommandLog(file)
    for number in range(900):
        log.note(f"t2v generate {shlex.quote('x' * 300)} --seed {number}", NOW + number)
        assert file.stat().st_size <= MOST_BYTES
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with file.open("a") as torn:
        torn.write('{"t": 1, "li')
    again = CommandLog(file).newest_first()
    assert again[0].line.endswith("--seed 899")
    assert 100 < len(again) < 900
    assert log.newest_first()[0] == again[0]


@on_screen
async def test_a_start_is_in_the_list_and_enter_copies_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Launched:
        def __init__(self, *_: object) -> None: ...

        def start(self) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setattr(launch_controller, "Launch", Launched)
    monkeypatch.setenv("HOME", str(tmp_path))
    app = CockpitApp(Workspace(tmp_path), services=None, state=live(), now=lambda: NOW, first="jobs")
    app.launches._launcher.services = Services(Workspace(tmp_path))
    async with app.run_test(size=(120, 40)) as pilot:
        app.screen.post_message(StartWork("shapes", {}, "local"))
        app.screen.post_message(CommandRan("t2v vm keep 2h --host vm"))
        await eventually(pilot, lambda: len(app.commands.newest_first()) == 2)
        await pilot.press("at")
        await eventually(pilot, lambda: isinstance(app.screen, CommandsPanel) and bool(app.screen.line))
        assert app.screen.line == "t2v data shapes --detach"
        await pilot.press("j", "enter")
        await eventually(pilot, (tmp_path / "t2v-copied.txt").is_file)
        assert (tmp_path / "t2v-copied.txt").read_text() == "t2v vm keep 2h --host vm"
