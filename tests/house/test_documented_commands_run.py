"""The commands of the documents do what they are documented for, run as they are written there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
from support.screen.documented_world import World, documented_world
from test_documented_commands import COMMANDS

# Run by .ci/run, or by a test of their own.
ELSEWHERE = {
    "make check", "make demo", "make docs", "make test", "make tui", "t2v demo",
    "t2v export shared/style --format comfyui", "t2v train --log-with trackio",
    "WANDB_MODE=offline t2v train --log-with wandb", "t2v train --log-with wandb", "t2v-tui --web",
    "t2v train --lora --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers --data data/mine --quantize int8",
    "t2v train --lora --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers --data data/mine --optimizer adamw8bit "
    "--checkpoints checkpoints/packed",
    "t2v train --hosts a,b", "t2v jobs --host b", "t2v logs PART --host b",
    "t2v train --hosts a,b --processes auto", "t2v train --hosts a,b --min-hosts 1 --detach",
    "t2v train --latents gs://my-bucket/t2v/data/msr-vtt --latents-cache-gb 200",
    "t2v ask beside 3f2a", "t2v ask beside 3f2a --anyway",
}  # fmt: skip
# With a hub, in tests/core/sharing/.
WITH_HUB = ("t2v models fetch ", "t2v publish ")
# Nothing in a test listens beyond this machine.
STANDS_FOR = {
    "NAME": "a100-golden", "OLD_DIR": "data/msr-vtt", "DIR": "imported", "…": "a dog", "0.0.0.0": "127.0.0.1",
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": "models/wan", "832x480x81,480x832x81,832x480x41": "32x32x9,48x32x5",
}  # fmt: skip
# A sentence speaks of these by their names: what is missing is said, and nothing is done.
BARE = {
    "t2v add-noise", "t2v bootstrap", "t2v data import-latents", "t2v export", "t2v generate", "t2v host trust",
    "t2v import-checkpoint", "t2v models fetch", "t2v publish", "t2v pull", "t2v refine", "t2v runs name", "t2v sheet",
}  # fmt: skip
ON_HOST = re.compile(
    r"t2v (--json )?(attach|bootstrap|jobs|logs|ls|pull|push|status|stop|vm|watch|host trust)\b"
    r"|--(host|forward|after|all)"
)
OLD = re.compile(r"checkpoint_epoch_100\.pt|final_model|epoch100|import-|OLD|^t2v ls|checkpoints --last")
TRAINED = re.compile(
    r"^t2v (add-noise|evaluate|export|generate|refine|sheet|trash|pull|web|attach|jobs|"
    r"estimate --checkpoint|train --(resume|distill|lora --base))"
)
WITH_JOB = re.compile(r"3f2a|^t2v (attach|jobs|logs|status|stop|watch)")
# Presets of 170 million and more parameters, of which a step takes long here: what they start with is enough.
LARGE = {"base", "seed", "unet3d"}


def distinct() -> list[str]:
    """All of docs/agents.md; of the rest so many that each option, preset and kind of file of each verb is in one.

    Here and on a host, cheap ones first.
    The others differ from these in their values only; tests/house/test_documented_commands.py reads every one.
    """
    commands = sorted({command for _, command in COMMANDS if not command.startswith(WITH_HUB)} - ELSEWHERE)
    chosen = [command for page, command in COMMANDS if page == "docs/agents.md"]
    covered = {one for command in chosen for one in features(command)}
    for command in sorted(commands, key=lambda one: (bool(LARGE & set(one.split())), -len(features(one)), one)):
        if not features(command) <= covered:
            covered |= features(command)
            chosen.append(command)
    return sorted(set(chosen))


def features(command: str) -> set[tuple[object, ...]]:
    """What is particular to a command, each with its verb."""
    words = shlex.split(command)
    names = [word for word in words[1:3] if word.isalpha()]
    is_group = names[:1] in (["data"], ["vm"], ["host"], ["runs"], ["models"])
    verb = (*names[: 2 if is_group else 1], "--host" in words or "--after" in words)
    particular = {*options(words), *(word for word in words if word in LARGE or word.endswith(".gif"))}
    is_bare = "bare" if command in BARE else "with words"
    return {(verb, one) for one in {*particular, kind_of(command), is_bare}}


def options(words: list[str]) -> list[str]:
    return [word for word in words if word.startswith("-")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with documented_world(tmp_path_factory.mktemp("documented")) as world:
        yield world


def sky_of(world: World) -> dict[str, str]:
    """A program in the place of SkyPilot, which asks clouds."""
    program = world.vm.gce.home / "sky"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    return {"T2V_SKY": str(program)}


def kind_of(command: str) -> str:
    if command.startswith(("t2v runs", "t2v report")):
        return "compared"
    if "--model" in command:
        return "open"
    return "old" if OLD.search(command) else "trained" if TRAINED.search(command) else "new"


def words_of(command: str, world: World) -> tuple[dict[str, str], list[str]]:
    """The variables before it, and its words behind `t2v`."""
    words = [STANDS_FOR.get(word, word) for word in shlex.split(command)]
    variables = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    home = str(world.vm.gce.home)
    return variables, [world.job if word == "3f2a" else re.sub(r"^~(?=/)", home, word) for word in words[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("command", distinct())
def test_a_command_of_the_documents_does_what_it_is_documented_for(world: World, command: str) -> None:
    has_job = bool(WITH_JOB.search(command))
    is_up = has_job or (bool(ON_HOST.search(command)) and "vm start" not in command)
    world.prepare(kind_of(command), is_up=is_up, has_job=has_job)
    if command.startswith("t2v ask"):
        world.begin_job("train")  # one that has not ended
    variables, words = words_of(command, world)
    verb = " ".join(words[:2])
    if command.startswith("t2v-tui"):
        world.in_terminal(words)
    elif verb.startswith("web"):
        world.begin([*words, "--port", "0"], lambda _, said: "http://" in said, **variables)
    elif words[:1] == ["verify-resume"] and LARGE & set(words):
        world.begin(words, lambda here, _: here.says('"kind":"stage"'), **variables)
    elif words[:1] in (["slurm"], ["sky"]):
        code, said = world.run(words, **variables | sky_of(world))
        assert code == 0, said
    elif verb.startswith("train") and not {"--detach", "--help"} & set(words):
        sign = '"name":"estimate"' if LARGE & set(words) else '"kind":"step"'
        world.begin(words, lambda here, _: here.says(sign), **variables)
    elif "--watch" in words:
        world.begin(words, lambda _, said: "watch" in said, **variables)
    else:
        code, said = world.run(words, in_folder="empty" if verb.startswith("init") else ".", **variables)
        assert code == (2 if command in BARE else 0), said
