"""Every command with every field and every hostile value for it; and with something hostile in every place it reads."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from remote.hosts.settings import HostSettings
from support.hostile.hostile_files import FORMS, NAMED
from support.hostile.hostile_run import Case
from support.hostile.hostile_values import NUMBERS, TEXTS, TOML
from support.hostile.hostile_world import with_setting
from support.screen.command_tree import Command, Field, commands
from t2v_core.disk.plain_text import for_terminal
from t2v_core.settings import variable_name

# What stands for a field that is not the hostile one; by its name, or by its kind.
MEANT = {
    "output": "out.mp4", "old": "old.pt", "old_dir": "old", "how_long": "1h", "what": "videos", "name": "closed",
    "path": "in.mp4", "text": "a red circle", "host": "closed", "number": "0.5", "run": "baseline", "to": "out.svg",
    "words": "train", "job": "3f2a", "request": "save",
    "id": "owner/name", "folder": "shared",
}  # fmt: skip
SEVERAL = {"runs": ("baseline", "wider")}
PLACE = "placed"
SUFFIXES = (".mp4", ".pt", "")


def values_for(field: Field) -> dict[str, str]:
    """Values of that field, by name. Those of PLACE are made before."""
    match field.kind:
        case "flag":
            return {"a value": "hostile", "an empty value": ""}
        case "number":
            return TEXTS | NUMBERS
        case "choice":
            return TEXTS | {"capitals": "AUTO", "a number": "1"}
        case "host":
            return TEXTS | {"a closed host": "closed", "a VM": "vm", "this machine": "local"}
        case "job":
            return TEXTS
        case _:
            return TEXTS | NAMED | dict.fromkeys(FORMS, PLACE)


def cases_of(command: Command, field: Field, draw: random.Random) -> Iterator[Case]:
    """All of one field: as it is typed, as a variable, and as t2v.toml says it."""
    is_setting = field.of_spec and (field.flag or not field.is_required)  # what is required has to be typed
    for name, wanted in values_for(field).items():
        place = (PLACE + draw.choice(SUFFIXES), name) if wanted == PLACE else None
        value = place[0] if place else wanted
        about = f"{command} {field.shown} = {name}"
        yield Case(about, words_with(command, field, value), names_of(field, value), place=place)
        if is_setting and value:
            variable = variable_name(command.verb, field.name)
            names = (variable, *names_of(field, value))
            yield Case(f"{variable} = {name}: {command}", words_with(command), names, ((variable, value),), place=place)
    if is_setting:
        for name, value in TOML.items():
            settings = with_setting(command.verb, field.name, value)
            names = ("t2v.toml", *names_of(field, value))
            yield Case(f"t2v.toml {field.name} = {name}: {command}", words_with(command), names, settings=settings)


def names_of(field: Field, value: str) -> tuple[str, ...]:
    """What a refusal of it can call it by."""
    said = for_terminal(value)
    value = value.strip('"')
    last = value.rstrip("/").rpartition("/")[2]
    # Any folder may be a workspace, with nothing in it; and of these the whole path is said.
    where = ("there is no job",) if field.name.startswith("workspace") else ("/",) if value in ("..", "/", ".") else ()
    parts = (said.split("\n")[0][:20], repr(value)[1:20], last)
    names = (value, said, *parts, field.flag, field.name.upper(), field.name, field.name.replace("_", " "))
    return tuple(name for name in (*names, *where) if name.strip(".") or name == value)


def words_with(command: Command, field: Field | None = None, value: str = "") -> tuple[str, ...]:
    """The command line; arguments that come before the hostile one, and what is required, as they are meant."""
    arguments: list[str] = []
    options: list[str] = []
    wanted = command.arguments.index(field) if field is not None and field in command.arguments else -1
    for at, one in enumerate(command.arguments):
        if one == field:
            arguments.append(value)
        elif at < wanted or one.is_required or one.name == "what":
            arguments += SEVERAL.get(one.name) or [meant(one)]
    for one in command.fields:
        if one.flag and one == field:
            options.append(one.flag if one.kind == "flag" and value is None else f"{one.flag}={value}")
        elif one.flag and (one.is_required or (one.name == "host" and command.verb in ("pull", "push"))):
            options.append(f"{one.flag}={meant(one)}")
    if not command.words:
        return (*options, "jobs")
    # A negative number is no option; what tries to be one is left to try.
    is_number = any(word.startswith("-") and word not in ("--", "--no-such-option") for word in arguments)
    return (*command.words, *options, *(["--"] if is_number else []), *arguments)


def meant(field: Field) -> str:
    return MEANT.get(field.name) or MEANT[field.kind]


def reads_workspace(command: Command) -> bool:
    """The demo makes one of its own; the page looks when it is asked; two need a hub, which there is none."""
    return command.verb not in ("", "demo", "web", "verify-resume", "fetch", "publish")


def case_of_place(path: str, form: str, command: Command) -> Case:
    """Something else in a place of the workspace."""
    folder, _, name = path.rpartition("/")
    names = (path, name, folder or path, path.split("/", maxsplit=1)[0])
    if command.words[:1] == ("ask",):  # of the job that is there, which is over, nothing can be asked in any workspace
        names += ("has ended already",)
    return Case(f"{form} in {path}: {command}", words_with(command), names, place=(path, form))


def cases_of_hosts() -> Iterator[Case]:
    """Each setting of a host."""
    for key in HostSettings.model_fields:
        for name, value in TOML.items():
            for words in (("host", "list"), ("ls", "--host=odd"), ("vm", "status", "--host=odd")):
                settings = with_setting("host.odd", key, value)
                about = f"t2v.toml [host.odd] {key} = {name}: t2v {' '.join(words)}"
                yield Case(about, words, ("t2v.toml", key, "odd", "127.0.0.1"), settings=settings)


def cases_of_stdout(command: Command) -> Iterator[Case]:
    """A stdout that takes nothing, as on a full disk."""
    yield Case(f"stdout = /dev/full: {command}", words_with(command), ("stdout",), stdout="/dev/full")


def every_case(places: Sequence[str], draw: random.Random) -> Iterator[Case]:
    """The whole product, command by command."""
    every = commands()
    for command in every:
        for field in command.fields:
            yield from cases_of(command, field, draw)
        yield from cases_of_stdout(command)
        for path in places if reads_workspace(command) else ():
            yield from (case_of_place(path, form, command) for form in FORMS)
    yield from cases_of_hosts()


def one_of_each_field(command: Command, draw: random.Random) -> Iterator[Case]:
    """Each field of a command with one value of its own."""
    for field in command.fields:
        yield draw.choice(list(cases_of(command, field, draw)))


def one_of_each_place(form: str, places: Sequence[str], draw: random.Random) -> Iterator[Case]:
    """One form in its share of the places, so that all forms together are in each."""
    readers = [command for command in commands() if reads_workspace(command)]
    for path in places[list(FORMS).index(form) :: len(FORMS)]:
        yield case_of_place(path, form, draw.choice(readers))


def one_of_each_host_setting(draw: random.Random) -> Iterator[Case]:
    hosts = list(cases_of_hosts())
    for key in HostSettings.model_fields:
        yield draw.choice([case for case in hosts if f" {key} = " in case.about])
