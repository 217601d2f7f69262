"""Command groups that know each command's name and one line of help, and import it only when it is asked for.

`t2v --help` is typed often and must be quick: pydantic and the specs alone would cost more than all the rest of it.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

# Typer's own is 80 columns, on the widest terminal.
WIDTH = {"max_content_width": 100}
# Of a command that is given another command: what stands behind its name is that one's.
REST_IS_ANOTHERS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@dataclass(frozen=True)
class Entry:
    """Where a command lies, `module:function` below t2v_tui.cli, and its line in the list.

    takes_a_command: its arguments are a command of their own, with options
    """

    target: str
    summary: str
    takes_a_command: bool = False


class LazyGroup(TyperGroup):
    """A group whose commands stand in `entries`; those that were added in the usual way come after them.

    Typer keeps the type of its own contexts private, hence Any.
    """

    entries: ClassVar[dict[str, Entry]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of `entries`, then of those that were added in the usual way."""
        return [*self.entries, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a stand-in with name and summary, which is all that a list of commands shows."""
        if cmd_name in self.entries:
            return TyperCommand(cmd_name, help=self.entries[cmd_name].summary)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command itself, imported now. Raises UnknownCommand, with the nearest name there is."""
        name = args[0]
        if name in self.entries:
            return name, load(name, self.entries[name]), args[1:]
        if super().get_command(ctx, name) is None and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            ask = f"did you mean '{near[0]}'?" if near else f"see {ctx.command_path} --help"
            raise UnknownCommand(f"there is no command '{name}'; {ask}", ctx)
        return super().resolve_command(ctx, args)


class UnknownCommand(typer.BadParameter):
    """A command that does not exist."""

    def format_message(self) -> str:
        """Return the sentence as it is, without the parser's words around it."""
        return self.message


def function_of(entry: Entry) -> Callable[..., None]:
    """Import a command's module and return its function."""
    module, _, function = entry.target.partition(":")
    found: Callable[..., None] = getattr(importlib.import_module(f"t2v_tui.cli.{module}"), function)
    return found


def load(name: str, entry: Entry) -> Any:
    """Import a command's function and make a command of it."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    settings = WIDTH | REST_IS_ANOTHERS if entry.takes_a_command else WIDTH
    app.command(name, context_settings=settings)(function_of(entry))
    return typer.main.get_command(app)
