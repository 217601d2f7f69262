"""No verb ends in a traceback, hangs, or loses anything, whatever it is given: each field and each place is tried once.

The commands, their fields and the places come from the command tree and from a workspace that the commands made, so a
new one is here at once. `python benchmarks/faults/hostile_verbs.py` tries every value in each; this is one of each,
drawn by a seed that stands still.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from support.hostile.hostile_cases import (
    cases_of_stdout,
    one_of_each_field,
    one_of_each_host_setting,
    one_of_each_place,
    reads_workspace,
    words_with,
)
from support.hostile.hostile_files import FORMS
from support.hostile.hostile_run import Case, made_world, run, tried
from support.hostile.hostile_world import World
from support.screen.command_tree import Command, commands

SEED = 14
EVERY = commands()
# Both hosts of the world are closed ports.
UNREACHABLE = 3


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return made_world(tmp_path_factory.mktemp("hostile"))


def require_well_answered(cases: Iterable[Case], world: World) -> None:
    wrong = [f"{case.about}\n  {said}" for case in cases for said in tried(case, world)]
    assert not wrong, f"seed {SEED}\n" + "\n\n".join(wrong)


@pytest.mark.parametrize("command", [one for one in EVERY if reads_workspace(one)], ids=str)
def test_what_is_not_hostile_is_done_by(command: Command, world: World) -> None:
    """Otherwise a refusal would say nothing about what is hostile."""
    answer = run(Case("", words_with(command), ()), world)
    world.restore()
    asks_a_host = {"host_", "host"} & {field.name for field in command.fields} or command.words[0] in ("vm", "host")
    if command.words[0] == "ask":  # every job of this workspace has ended
        assert (answer.code, "has ended already" in answer.stderr) == (2, True), answer.stderr
        return
    assert answer.code == 0 or (asks_a_host and answer.code == UNREACHABLE), answer.stderr


@pytest.mark.parametrize("command", [one for one in EVERY if one.fields], ids=str)
def test_every_field_once_of(command: Command, world: World) -> None:
    require_well_answered(one_of_each_field(command, random.Random(f"{SEED} {command}")), world)


@pytest.mark.parametrize("form", FORMS)
def test_in_one_place_or_another_lies(form: str, world: World) -> None:
    require_well_answered(one_of_each_place(form, world.places, random.Random(f"{SEED} {form}")), world)


def test_every_setting_of_a_host_once(world: World) -> None:
    require_well_answered(one_of_each_host_setting(random.Random(SEED)), world)


@pytest.mark.parametrize("words", ["ls", "jobs", "data shapes"])
def test_a_stdout_that_takes_nothing_is_said_by(words: str, world: World) -> None:
    [command] = [one for one in EVERY if one.words == tuple(words.split())]
    require_well_answered(cases_of_stdout(command), world)


def test_what_is_wrong_is_seen(world: World) -> None:
    """A refusal without a name, a file that is gone: by what looks for it."""
    nameless = Case("", ("ls", "--patience=-1"), ("a name that nobody says",))
    [said] = tried(nameless, world)
    assert said.startswith("it names none of")
    run(Case("", ("trash", "--empty"), ()), world)
    assert any(path.startswith(".t2v/trash/") for path in world.lost())
    world.restore()
    assert world.lost() == []
