"""A verb of the engine as a command: its flags come from the spec's fields, and some that every verb has."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from remote.hosts.settings import LOCAL
from t2v_core.errors import InvalidRequest
from t2v_core.specs import SPECS
from t2v_tui.cli.engine.run import Tell, run_verb
from t2v_tui.cli.main import Common
from t2v_tui.cli.narrate import Narrator
from t2v_tui.cli.options import as_meant_here, as_meant_there, parameters, with_signature
from t2v_tui.find_workspace import find_workspace
from t2v_tui.library.prompts import prompts_of


@dataclass(frozen=True)
class Verb:
    """What a spec does not say of a command.

    name:       the engine's
    about:      what it does
    examples:   commands to copy
    result:     where the result goes
    positional: fields that are arguments, in order
    short:      the narrator of its short lines, if it has any: what it says in a pipe and with --quiet
    """

    name: str
    about: str
    examples: tuple[str, ...]
    result: str
    positional: tuple[str, ...] = ()
    short: Callable[..., Narrator | None] | None = None

    @property
    def help(self) -> str:
        """Return the help text of its command: what it does, examples, and where the result goes."""
        examples = "\n".join(f"  {example}" for example in self.examples)
        return f"{self.about}\n\n\b\nExamples:\n{examples}\n\n{self.result}"


_COMMON = (
    inspect.Parameter(
        "workspace_",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Path | None,
        default=typer.Option(None, "--workspace", metavar="DIR", help="Workspace to use.", show_default=False),
    ),
    inspect.Parameter(
        "json_",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=bool,
        default=typer.Option(False, "--json", help="Write the result to stdout as JSON."),
    ),
    inspect.Parameter(
        "verbose_",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=bool,
        default=typer.Option(False, "--verbose", help="Show the engine's log as well."),
    ),
    inspect.Parameter(
        "host_",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=str | None,
        default=typer.Option(
            None,
            "--host",
            metavar="NAME",
            help="Run it there, as a job that outlives this terminal; paths are those of its workspace. NAME as in "
            "t2v.toml; 'local' is this machine.",
            show_default=False,
        ),
    ),
    inspect.Parameter(
        "detach_",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=bool,
        default=typer.Option(False, "--detach", help="Start the job and write its id to stdout, without watching it."),
    ),
    inspect.Parameter(
        "after_",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=str | None,
        default=typer.Option(
            None, "--after", metavar="JOB", help="Start once that job has succeeded.", show_default=False
        ),
    ),
    inspect.Parameter(
        "settings_",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=str | None,
        default=typer.Option(
            None,
            "--settings",
            metavar="NAME",
            help="Use the settings under [COMMAND.NAME] in t2v.toml, such as [refine.epoch100]; flags override them.",
            show_default=False,
        ),
    ),
)
_QUIET = inspect.Parameter(
    "quiet_",
    inspect.Parameter.KEYWORD_ONLY,
    annotation=bool,
    default=typer.Option(False, "--quiet", help="Write one short line for each step, as when stdout is a pipe."),
)

_HOSTS = (
    inspect.Parameter(
        "hosts_",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=str | None,
        default=typer.Option(
            None,
            "--hosts",
            metavar="A,B",
            help="Train on several hosts together, with --processes on each; the first one keeps the checkpoints.",
            show_default=False,
        ),
    ),
    inspect.Parameter(
        "min_hosts_",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=int | None,
        default=typer.Option(
            None,
            "--min-hosts",
            metavar="N",
            min=1,
            help="With --hosts: when one is lost and does not come back soon, continue with this many (default: all).",
            show_default=False,
        ),
    ),
)


def command(verb: Verb, tell: Tell | None = None) -> Callable[..., int]:
    """Return a function that Typer can read, for one verb.

    tell: how to say its result, where it is more than paths and figures
    """

    def run(ctx: typer.Context, **given: Any) -> int:
        common: Common = ctx.obj
        asked_workspace, as_json, is_verbose, host, is_detached, after, named = (given.pop(p.name) for p in _COMMON)
        as_json = as_json or common.as_json
        is_quiet = given.pop(_QUIET.name, False)
        hosts, fewest = (given.pop(one.name, None) for one in _HOSTS)
        _require_arguments(verb, given, named, ctx.command_path)
        if hosts is not None or fewest is not None:
            return _run_on_hosts(
                given,
                hosts,
                fewest,
                host,
                after,
                ctx.obj,
                asked_workspace=asked_workspace,
                is_detached=is_detached,
                as_json=as_json,
                is_verbose=is_verbose,
                named=named,
            )
        host = host or (LOCAL if is_detached or after else None)
        if verb.name == "sheet" and given["prompts"] is not None:
            given["prompts"] = prompts_of(given["prompts"])
        flags = as_meant_here(verb.name, given) if host in (None, LOCAL) else as_meant_there(given)
        told: dict[str, Any] = {
            "workspace": find_workspace(asked_workspace or common.workspace, os.environ),
            "flag_names": {name: name.upper() for name in verb.positional},
            "as_json": as_json,
            "is_verbose": is_verbose,
            "tell": tell,
            "named": named,
            "teller": verb.short(is_quiet=is_quiet, as_json=as_json) if verb.short and not is_detached else None,
        }
        if host is None:
            return run_verb(verb.name, flags, **told)
        from t2v_tui.cli.engine.on_host import run_there  # what runs here needs no host

        return run_there(verb.name, flags, host, after=after, is_detached=is_detached, **told)

    run.__doc__ = verb.help
    beside = [*([_QUIET] if verb.short else []), *(_HOSTS if verb.name == "train" else [])]
    return with_signature(run, [*parameters(verb.name, verb.positional), *_COMMON, *beside])


def _run_on_hosts(
    given: Mapping[str, Any], hosts: str | None, fewest: int | None, host: str | None, after: str | None,
    common: Common, *, asked_workspace: Path | None, **told: Any,
) -> int:  # fmt: skip
    from t2v_tui.cli.engine.on_hosts import require_alone, run_on_hosts  # what runs here needs no host

    if hosts is None:
        raise InvalidRequest("--min-hosts goes with --hosts", "--hosts a,b,c --min-hosts 2")
    require_alone(host, after)
    workspace = find_workspace(asked_workspace or common.workspace, os.environ)
    return run_on_hosts(as_meant_there(given), hosts, fewest, workspace=workspace, flag_names={}, **told)


def _require_arguments(verb: Verb, given: Mapping[str, Any], named: str | None, command_path: str) -> None:
    """Raise InvalidRequest for an argument that is not there, unless named settings may hold it."""
    fields = SPECS[verb.name].model_fields
    missing = [name for name in verb.positional if fields[name].is_required() and given[name] is None]
    if missing and named is None:
        raise InvalidRequest(f"{missing[0].upper()} is missing", hint=f"see {command_path} --help")
