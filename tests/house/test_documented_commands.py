"""Every command in the documents is one that the program reads: no unknown command, option or value.

Here none is run; tests/house/test_documented_commands_run.py runs them.
"""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from t2v_core.settings import values_for
from t2v_core.specs import SPECS
from t2v_core.workspace import Workspace
from t2v_tui.cli.main import app
from t2v_tui.cli.options import as_meant_there
from t2v_tui.main import _parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "TERMINAL_COMMANDS.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"^(?:\w+=\S+ )*(?:t2v|t2v-tui|make)(?: .*)?$")
# Names that the documents use for what the reader has.
STANDS_FOR = {"COMMAND": "train", "JOB": "3f2a"}


def documented() -> Iterator[tuple[str, str]]:
    """Page and command: each line of a shell block, and each piece of code in a sentence, that is one of ours."""
    for file in PAGES:
        text = file.read_text(encoding="utf-8")
        blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = [part for block in blocks for line in block.splitlines() for part in _parts_of(line)]
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        spans = [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose)]
        for found in itertools.chain(lines, *map(ways_to_read, spans)):
            if COMMAND.match(found):
                yield str(file.relative_to(ROOT)), found


def _parts_of(line: str) -> list[str]:
    """The commands of one line as a shell would split it, comments left out."""
    words: list[list[str]] = [[]]
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&;")
    lexer.whitespace_split = True
    for word in lexer:
        if word in ("&&", ";"):
            words.append([])
        else:
            words[-1].append(word)
    return [shlex.join(part).replace("'='", "=") for part in words if part]


def ways_to_read(synopsis: str) -> list[str]:
    """`vm start | stop` as `vm start`, `vm stop`; `trash [--back | --empty]` as three; `A|B` as A."""
    if "[" in synopsis and not re.search(r"'[^']*\[", synopsis):
        head, _, rest = synopsis.partition("[")
        choices, _, tail = rest.partition("]")
        return [way for one in ["", *choices.split(" | ")] for way in ways_to_read(f"{head}{one}{tail}".strip())]
    first, *others = synopsis.split(" | ")
    return [re.sub(r"\|\w+", "", first), *(f"{first.rsplit(' ', 1)[0]} {other}" for other in others)]


def parse(command: str, tmp_path: Path) -> None:
    """Read a command as the program does, up to its door: nothing is run. Raises what the parser raises."""
    words = [STANDS_FOR.get(word, word) for word in shlex.split(command)]
    while "=" in words[0]:
        words.pop(0)
    program, *arguments = words
    if program == "make":
        subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, check=True, capture_output=True)
    elif program == "t2v-tui":
        _parser().parse_args(arguments)
    else:
        _parse_t2v(arguments, tmp_path)


def _parse_t2v(arguments: list[str], tmp_path: Path) -> None:
    """By the real parser, group by group; what goes to the engine is checked as a spec's values as well."""
    command: Any = typer.main.get_command(app)
    context, rest, name = None, arguments, "t2v"
    while True:
        is_asking = "--help" in rest or "--version" in rest
        own = [word for word in rest if word not in ("--help", "--version")]
        context = command.make_context(name, own if own or context is None else [], parent=context)
        if not hasattr(command, "list_commands"):
            break
        left = [*context._protected_args, *context.args] if hasattr(context, "_protected_args") else context.args
        if not left:
            assert is_asking or name in ("t2v", "data", "host", "vm", "runs", "models", "slurm", "sky")
            return
        name, command, rest = command.resolve_command(context, list(left))
    verb = name if name in SPECS else ""
    if verb:
        fields = SPECS[verb].model_fields
        given = as_meant_there({key: value for key, value in context.params.items() if key in fields})
        values_for(verb, Workspace(tmp_path), {}, given)
        missing = [key for key, field in fields.items() if field.is_required() and key not in given]
        assert not rest or not missing or context.params["settings_"], f"{missing} is missing"


COMMANDS = sorted({(page, command) for page, command in documented()})


@pytest.mark.parametrize("page", sorted({page for page, _ in COMMANDS}))
def test_every_command_of_a_page_is_one_that_the_program_reads(page: str, tmp_path: Path) -> None:
    wrong = []
    for command in [command for where, command in COMMANDS if where == page]:
        try:
            parse(command, tmp_path)
        except BaseException as error:  # noqa: BLE001 - argparse exits, click and ours raise; each is a wrong line
            if type(error).__name__ == "MissingParameter" and "-" not in command and len(command.split()) <= 3:
                continue  # a sentence speaks of the command by its name
            wrong.append(f"{command}: {error or type(error).__name__}")
    assert wrong == []


@pytest.mark.parametrize(
    "line", ["t2v trian", "t2v train --epoch-count 3", "t2v train --epochs many", "t2v train --preset huge",
             "t2v vm restart", "t2v-tui --colour", "make tea"],
)  # fmt: skip
def test_a_line_that_is_wrong_is_found(line: str, tmp_path: Path) -> None:
    with pytest.raises((Exception, SystemExit)):
        parse(line, tmp_path)


def test_the_documents_are_really_read() -> None:
    assert len(COMMANDS) > 250
    verbs = {shlex.split(command)[1] for _, command in COMMANDS if re.match(r"t2v \w", command)}
    missing = set(app_commands()) - verbs
    assert missing == set()


def app_commands() -> list[str]:
    group: Any = typer.main.get_command(app)
    return list(group.list_commands(group.make_context("t2v", [], resilient_parsing=True)))
