"""The site's reference, written from what the program itself reads, so that the two cannot differ.

python docs/make_reference.py FOLDER     writes commands.md, settings.md, keys.md and exit-codes.md into FOLDER

Commands come from the command line's parser, settings from the specs and from `[host.NAME]` and `[tui]`, keys from the
terminal UI's table, exit codes from `t2v --help` and the classes of errors.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import typer
from pydantic.fields import FieldInfo

from remote.hosts.settings import HostSettings
from t2v_core.presets import PRESET_TRAINING
from t2v_core.settings import variable_name
from t2v_core.specs import SPECS, Preset
from t2v_tui.cli.main import ABOUT, app
from t2v_tui.cli.options import allowed_range, default_words, metavar
from t2v_tui.keys import EVERYWHERE, KEYS
from t2v_tui.settings import ABOUT as TUI_SETTINGS
from t2v_tui.settings import Tui

ROOT = Path(__file__).parents[1]
PACKAGES = ("t2v_core", "remote", "t2v_tui")
NOTE = "This page is written by `docs/make_reference.py` from the program itself."
PANES = {
    EVERYWHERE: "Everywhere", "log-pane": "In a log", "curve-pane": "In a curve", "chart-pane": "In a chart",
    "compare": "Screen Runs", "player-pane": "In a player",
    "lists": "In the lists of checkpoints, videos, data sets and jobs",
    "marks": "In the lists of checkpoints and videos", "drawing": "Screens Generate and Vid2Vid",
    "launch": "While a training is started", "runs": "In the list of runs of screen Train", "vm": "Screen VM",
}  # fmt: skip


@cache
def pages() -> dict[str, str]:
    """Name of the file → its Markdown."""
    return {
        "commands.md": commands(),
        "settings.md": settings(),
        "keys.md": keys(),
        "exit-codes.md": exit_codes(),
    }


def commands() -> str:
    """What `--help` prints of every command, under the names people type."""
    parts = ["# Every command", NOTE, "What each prints with `--help`."]
    for path, context in _commands(typer.main.get_command(app), None, "t2v"):
        parts.append(f"## {path}\n\n```text\n{context.command.get_help(context).replace(chr(0xA0), ' ')}\n```")
    return "\n\n".join(parts) + "\n"


def _commands(command: Any, parent: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Each command with its context, groups before what is in them. Nothing is run."""
    context = type(command).context_class(command, parent=parent, info_name=name, max_content_width=100)
    yield context.command_path, context
    if not hasattr(command, "list_commands"):
        return
    for child in command.list_commands(context):
        _, found, _ = command.resolve_command(context, [child])
        yield from _commands(found, context, child)


def settings() -> str:
    """Every key of t2v.toml, with what it means, its default and what it may be."""
    parts = ["# Settings in t2v.toml", NOTE, _order()]
    for verb, spec in SPECS.items():
        about = (spec.__doc__ or "").strip()
        rows = [
            (f"`{name}`", _cell(field.description), _may_be(field), _default(verb, name, field))
            for name, field in spec.model_fields.items()
        ]
        parts.append(f"## [{verb}]\n\n{about}\n\n" + _table(("setting", "what it is", "value", "default"), rows))
    parts.append(_presets())
    parts.append(_host())
    parts.append(_tui())
    return "\n\n".join(parts) + "\n"


def _order() -> str:
    for_one, for_all = variable_name("train", "epochs"), variable_name(None, "epochs")
    return (
        "A key at the top of the file holds for every command that has such a setting, a section for one command. What "
        "goes before what: a flag (`--batch-size` for `batch_size`), `[COMMAND.NAME]` chosen by `--settings NAME`, a "
        f"variable (`{for_one}`, or `{for_all}` for every command), the file, the default.\n\n"
        "An unknown key is refused with file, line and the nearest name. Paths are relative to the file. `estimate` "
        "also reads `[train]` and `[preprocess]`. Where a default is empty, the description says what then holds; "
        "`required` is what a command must be given."
    )


def _may_be(field: FieldInfo) -> str:
    limits = allowed_range(field)
    return f"`{metavar(field)}`" + (f", {limits}" if limits else "")


def _default(verb: str, name: str, field: FieldInfo) -> str:
    """Without what presets say otherwise, which has a table of its own."""
    first = default_words(verb, name, field).split("; ", maxsplit=1)[0]
    said = f"`{first.removeprefix('default: ')}`" if first.startswith("default: ") else ""
    return "required" if field.is_required() else said


def _presets() -> str:
    names = Preset.__args__  # type: ignore[attr-defined]  # a Literal's
    changed = sorted({key for own in PRESET_TRAINING.values() for key in own})
    fields = SPECS["train"].model_fields
    rows = [
        (f"`{key}`", *(_value(PRESET_TRAINING.get(name, {}).get(key, fields[key].default)) for name in names))
        for key in changed
    ]
    return "## What a preset sets\n\nUnless something else is asked.\n\n" + _table(("setting", *names), rows)


def _host() -> str:
    rows = [
        (f"`{name}`", _cell(field.description), _value(field.default))
        for name, field in HostSettings.model_fields.items()
    ]
    return (
        f"## [host.NAME]\n\nA machine that work can be sent to.\n\n{_table(('setting', 'what it is', 'default'), rows)}"
    )


def _tui() -> str:
    rows = [
        (f"`{name}`", _cell(about), "" if name == "keys" else _value(getattr(Tui, name)))
        for name, about in TUI_SETTINGS.items()
    ]
    return f"## [tui]\n\nThe terminal UI.\n\n{_table(('setting', 'what it is', 'default'), rows)}"


def keys() -> str:
    """Every key of the terminal UI, by the place in which it holds."""
    parts = [
        "# Keys of the terminal UI",
        NOTE,
        'The name is what `[tui.keys]` of t2v.toml takes: `start = "ctrl+t"`. Keys marked ✎ start, end, change or cost '
        "something; `t2v-tui --read-only` leaves them out.",
    ]
    for where in dict.fromkeys(key.where for key in KEYS):
        rows = [
            (
                " ".join(f"`{shown}`" for shown in key.all_shown),
                _cell(key.what) + (" ✎" if key.writes else ""),
                f"`{key.id}`",
            )
            for key in KEYS
            if key.where == where
        ]
        title = PANES.get(where, f"Screen {where.capitalize()}")
        parts.append(f"## {title}\n\n" + _table(("key", "does", "name"), rows))
    return "\n\n".join(parts) + "\n"


def exit_codes() -> str:
    """What a command ends with, and which errors end it so."""
    said = exit_words()
    by_code = classes_by_exit_code()
    rows = [(f"`{code}`", said[code], ", ".join(f"`{name}`" for name in by_code.get(code, ()))) for code in said]
    table = _table(("code", "means", "errors"), rows)
    about = (
        "With `--host`, and of `t2v attach`, it is the job's own. What each error means stands under Troubleshooting."
    )
    return f"# Exit codes\n\n{NOTE}\n{about}\n\n{table}\n"


def exit_words() -> dict[int, str]:
    """Exit code → what `t2v --help` says of it."""
    (line,) = re.findall(r"^Exit codes: (.*)\.$", ABOUT, re.MULTILINE)
    return {int(code): words for code, words in re.findall(r"(\d+) ([^,]+?)(?:, |$)", line)}


@cache
def error_classes() -> dict[str, dict[str, str]]:
    """Every class of error in the packages → its parents, file, and the exit code if it says one. Imports nothing."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                parents = [base.id for base in node.bases if isinstance(base, ast.Name)]
                found[node.name] = {"parents": " ".join(parents), "file": str(file.relative_to(ROOT)), **_code_of(node)}
    return {name: about for name, about in found.items() if _is_error(name, found)}


def _code_of(node: ast.ClassDef) -> dict[str, str]:
    for line in node.body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "exit_code":
            said = ast.unparse(line.value)
            return {"exit_code": "3" if said == "UNREACHABLE" else said}
    return {}


def _is_error(name: str, found: Mapping[str, Mapping[str, str]]) -> bool:
    return name == "EngineError" or any(
        parent in found and parent != name and _is_error(parent, found) for parent in found[name]["parents"].split()
    )


def classes_by_exit_code() -> dict[int, list[str]]:
    """Exit code → the classes of errors that end a command with it."""
    found = error_classes()
    by_code: dict[int, list[str]] = {}
    for name in found:
        for code in (4, 130) if name == "Stopped" else (_inherited_code(name, found),):
            by_code.setdefault(code, []).append(name)
    return by_code


def _inherited_code(name: str, found: Mapping[str, Mapping[str, str]]) -> int:
    """As Python looks it up here: depth first is enough, since no class has two parents that say different codes."""
    if "exit_code" in found[name]:
        return int(found[name]["exit_code"])
    codes = [_inherited_code(parent, found) for parent in found[name]["parents"].split() if parent in found]
    return next((code for code in codes if code != 1), 1)


def _value(value: object) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_safe(row)) + " |" for row in rows]
    return "\n".join(lines)


def _safe(row: tuple[str, ...]) -> tuple[str, ...]:
    """A bar in code would end the cell."""
    return tuple(
        re.sub(r"`([^`]*)`", lambda code: "`" + re.sub(r"(?<!\\)\|", r"\\|", code[1]) + "`", cell) for cell in row
    )


def main() -> int:
    """Write the pages into the folder that was named."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
